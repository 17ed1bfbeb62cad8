//! What a training run can be told besides its `CLLMTrainingConfig`, and the end of its schedule.

use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::schedule;
use crate::headers::cllm_training::state::{self, narrow, with_training};
use cllm_engine::error::{Error, Result};
use cllm_engine::train::{Schedule, ShortWindows, TrainerConfig, TrainingPrecision};
use cllm_kernels::bf16::Bfloat16;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::mem::offset_of;

/// `precision` of training: matrix products in f32.
pub const CLLM_PRECISION_F32: c_int = 0;
/// `precision` of training: matrix products of values that are rounded to bfloat16, with sums in f32.
pub const CLLM_PRECISION_BF16: c_int = 1;

/// What a training run is told besides its `config`. All zero, but for `struct_size`, it trains as a
/// run without options does.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CLLMTrainingOptions {
    /// `sizeof(CLLMTrainingOptions)`, which the program sets before the call: the fields that it
    /// knows of.
    pub struct_size: usize,
    /// What the order of the windows and the choices of dropout follow from.
    pub seed: u64,
    /// β₂ of Adam, 0 to below 1: how much of the mean square of the gradients each update keeps; 0:
    /// 0.999. Small batches want more of it, short runs less.
    pub beta2: f32,
    /// The share of the values that a step leaves out of the embedded input and of what the
    /// sublayers add (Srivastava et al., "Dropout", 2014), 0 to below 1; 0: none.
    pub dropout: f32,
    /// Not 0: an epoch is windows of `sequence_length` tokens in random order, which begin at another
    /// place in each epoch, no token twice; 0: batches in the order of the text.
    pub shuffle: c_int,
    /// Not 0: the schedules end at 0, whatever `min_lr` says; 0: at `min_lr`, or 1e-6.
    pub decay_to_zero: c_int,
    /// What the matrix products of a step take: CLLM_PRECISION_F32, or CLLM_PRECISION_BF16 where
    /// cllm_precision_support() finds it. Weights, moments, norms, attention and loss are f32 in
    /// either case. `use_mixed_precision` of the configuration is another field: it changes no result.
    pub precision: c_int,
    /// Tokens of the windows in the first part of the schedule, a divisor of `sequence_length`; a batch has
    /// then more of them, as many as come to as many tokens. 0: none. A model learns sooner from short
    /// windows, and what stands far apart from long ones at the end.
    pub short_windows: c_int,
    /// The part of the schedule's `max_steps` that has them, 0 to 1.
    pub short_part: f32,
}

const SIZE: usize = size_of::<CLLMTrainingOptions>();
const LEAST: usize = offset_of!(CLLMTrainingOptions, short_windows);
const NAMES: [&str; 3] = ["options", "options->struct_size", "sizeof(CLLMTrainingOptions)"];

impl CLLMTrainingOptions {
    /// Trains as the library always did.
    pub(crate) const NONE: Self = Self {
        struct_size: SIZE,
        seed: 0,
        beta2: 0.0,
        dropout: 0.0,
        shuffle: 0,
        decay_to_zero: 0,
        precision: CLLM_PRECISION_F32,
        short_windows: 0,
        short_part: 0.0,
    };

    /// What the program says; a struct of an older one ends before the short windows.
    ///
    /// # Safety
    /// `options` is NULL or points to a struct as large as its first field says.
    unsafe fn of(options: *const Self) -> Result<Self> {
        let known = ffi::sized(options, Self::NONE, LEAST, NAMES)?;
        Ok(Self { struct_size: SIZE, ..known })
    }

    /// `precision` as the engine has it.
    pub(crate) fn training_precision(&self) -> TrainingPrecision {
        match self.precision {
            CLLM_PRECISION_BF16 => TrainingPrecision::Bf16,
            _ => TrainingPrecision::F32,
        }
    }

    /// The same options with a precision of the engine's.
    pub(crate) fn with_precision(self, precision: TrainingPrecision) -> Self {
        let precision = match precision {
            TrainingPrecision::F32 => CLLM_PRECISION_F32,
            TrainingPrecision::Bf16 => CLLM_PRECISION_BF16,
        };
        Self { precision, ..self }
    }

    /// Into the engine's settings.
    pub(crate) fn apply(&self, config: TrainerConfig) -> TrainerConfig {
        let beta2 = if self.beta2 > 0.0 { self.beta2 } else { config.beta2 };
        let precision = self.training_precision();
        let positions = usize::try_from(self.short_windows).unwrap_or(0);
        let short_windows = ShortWindows { positions, part: self.short_part };
        TrainerConfig {
            beta2,
            dropout: self.dropout,
            seed: self.seed,
            precision,
            short_windows,
            ..config
        }
    }

    /// Into a schedule.
    pub(crate) fn schedule(&self, schedule: Schedule) -> Schedule {
        match self.decay_to_zero {
            0 => schedule,
            _ => Schedule { floor: 0.0, ..schedule },
        }
    }

    /// What a checkpoint keeps of them: seed, β₂, dropout, shuffle, decay to zero, short windows and their part,
    /// of 8 and 4 bytes each; nothing where none is set. The precision is an entry of its own.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        if self.with_precision(TrainingPrecision::F32) == Self::NONE {
            return Vec::new();
        }
        let mut bytes = self.seed.to_le_bytes().to_vec();
        bytes.extend(self.beta2.to_le_bytes());
        bytes.extend(self.dropout.to_le_bytes());
        bytes.extend(self.shuffle.to_le_bytes());
        bytes.extend(self.decay_to_zero.to_le_bytes());
        bytes.extend(self.short_windows.to_le_bytes());
        bytes.extend(self.short_part.to_le_bytes());
        bytes
    }

    /// The reverse; `None` for what is no such bytes. A later version may have written more, an earlier one
    /// wrote no short windows.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::NONE);
        }
        let (seed, rest) = bytes.split_first_chunk::<8>()?;
        let word = |i: usize| rest.as_chunks::<4>().0.get(i).copied();
        let options = Self {
            struct_size: SIZE,
            seed: u64::from_le_bytes(*seed),
            beta2: f32::from_le_bytes(word(0)?),
            dropout: f32::from_le_bytes(word(1)?),
            shuffle: c_int::from_le_bytes(word(2)?),
            decay_to_zero: c_int::from_le_bytes(word(3)?),
            precision: CLLM_PRECISION_F32,
            short_windows: word(4).map_or(0, c_int::from_le_bytes),
            short_part: word(5).map_or(0.0, f32::from_le_bytes),
        };
        options.check().ok().map(|()| options)
    }

    fn check(&self) -> Result<()> {
        for (name, value) in [("options->beta2", self.beta2), ("options->dropout", self.dropout)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::argument(name, value, "0 to below 1"));
            }
        }
        ffi::len(self.short_windows, "options->short_windows")?;
        if !(0.0..=1.0).contains(&self.short_part) {
            return Err(Error::argument("options->short_part", self.short_part, "0 to 1"));
        }
        check_precision(self.precision, "options->precision").map(drop)
    }
}

pub(super) fn check_precision(precision: c_int, name: &'static str) -> Result<TrainingPrecision> {
    match precision {
        CLLM_PRECISION_F32 => Ok(TrainingPrecision::F32),
        CLLM_PRECISION_BF16 => Ok(TrainingPrecision::Bf16),
        other => Err(Error::argument(name, other, "CLLM_PRECISION_F32 or CLLM_PRECISION_BF16")),
    }
}

/// Has a run train with these options from its next batch on. They are not part of `config`, and like
/// it they are not restored from a checkpoint: cllm_checkpoint_options() says what they were. A run
/// that goes on with the same ones goes on bit for bit, for any number of threads.
///
/// Shuffled windows are those of cllm_train(), cllm_train_epoch(), cllm_train_epoch_mt() and
/// cllm_train_steps(); the others say how they go through the text. Passes that a program makes one by one
/// (cllm_forward_training(), cllm_backward_training() and what goes with them) leave nothing out and are f32,
/// whatever the options say.
///
/// @param training  made by cllm_training_init.
/// @param options   copied; its `struct_size` set before.
/// @return 0; -1 for NULL, an object not made by cllm_training_init, a number out of its range, or a
///         precision that this processor lacks: nothing has changed then.
///
/// ```c
/// CLLMTrainingOptions options = {.struct_size = sizeof options, .seed = 7, .beta2 = 0.99f,
///                                .dropout = 0.1f, .shuffle = 1, .decay_to_zero = 1};
/// if (cllm_training_set_options(training, &options) != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init; `options` is NULL or as large as its
/// `struct_size` says.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_set_options(
    training: *mut CLLMTraining,
    options: *const CLLMTrainingOptions,
) -> c_int {
    let options = CLLMTrainingOptions::of(options)?;
    options.check()?;
    options.training_precision().bfloat16()?;
    with_training(training, |_, state| {
        state.options = options;
        Ok(0)
    })
}

/// The options of a run: those that were set, or all zero.
///
/// @param training  made by cllm_training_init.
/// @param options   receives them, its `struct_size` set before.
/// @return 0; -1 for NULL, or an object not made by cllm_training_init: `options` is left alone.
///
/// ```c
/// CLLMTrainingOptions options = {.struct_size = sizeof options};
/// if (cllm_training_options(training, &options) == 0) {
///     options.dropout = 0;
///     cllm_training_set_options(training, &options);
/// }
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init; `options` is NULL or writable, as large as
/// its `struct_size` says.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_options(
    training: *const CLLMTraining,
    options: *mut CLLMTrainingOptions,
) -> c_int {
    let state = state::state(training)?;
    let found = lock(&state).options;
    ffi::set_sized(options, found, LEAST, NAMES)?;
    Ok(0)
}

/// The options of the run whose checkpoint this object was restored from, as cllm_checkpoint_config()
/// says its configuration.
///
/// @param training  made by cllm_training_init.
/// @param options   receives them, its `struct_size` set before.
/// @return 1; 0 where no checkpoint was loaded, or one that does not say it: `options` is left
///         alone; -1 for NULL, or an object not made by cllm_training_init.
///
/// ```c
/// CLLMTrainingOptions saved = {.struct_size = sizeof saved};
/// if (cllm_load_checkpoint(training, "run.cllm") == 0 &&
///     cllm_checkpoint_options(training, &saved) == 1)
///     cllm_training_set_options(training, &saved);
/// ```
///
/// # Safety
/// As cllm_training_options().
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_checkpoint_options(
    training: *const CLLMTraining,
    options: *mut CLLMTrainingOptions,
) -> c_int {
    let state = state::state(training)?;
    CLLMTrainingOptions::of(options)?;
    let Some(saved) = lock(&state).saved_options else { return Ok(0) };
    ffi::set_sized(options, saved, LEAST, NAMES)?;
    Ok(1)
}

/// What this processor has for matrix products of a precision, within what `CLLM_SIMD` allows. For
/// CLLM_PRECISION_BF16 it looks for AMX, whose instruction does 16 times the work of one for f32 in the same
/// time, then for AVX512_BF16, whose instruction does twice the work and takes, on some processors, four
/// times as long: which of them this is, is measured once in a process, in less than a millisecond.
/// Linux gives AMX to whole processes: from the first call with CLLM_PRECISION_BF16 on, here or where it is
/// set, `sigaltstack` refuses stacks of less than about 12 KB in this process.
///
/// @param precision  CLLM_PRECISION_F32 or CLLM_PRECISION_BF16.
/// @return 2 if it has it, and faster than f32; 1 if it has it (f32: always); 0 if it lacks it; -1 for
///         another number.
///
/// ```c
/// CLLMTrainingOptions options = {.struct_size = sizeof options};
/// if (cllm_precision_support(CLLM_PRECISION_BF16) == 2)
///     options.precision = CLLM_PRECISION_BF16;
/// cllm_training_set_options(training, &options);
/// ```
#[unsafe(no_mangle)]
#[c_api(-1)]
pub extern "C" fn cllm_precision_support(precision: c_int) -> c_int {
    check_precision(precision, "precision")?;
    if precision == CLLM_PRECISION_F32 {
        return Ok(1);
    }
    Ok(Bfloat16::found().map_or(0, |bfloat16| 1 + c_int::from(bfloat16.is_faster())))
}

/// Moves the end of the schedule, for a run that learns how many steps it will have: `max_steps`
/// becomes `steps`. A linear schedule goes on from the rate of the current step in a straight line
/// to the new end, for which `initial_learning_rate` changes too; the others take the end as if they
/// had always had it. Both fields are part of a checkpoint. May be called from a progress callback.
///
/// @param training  made by cllm_training_init.
/// @param steps     steps of the whole run, those done included; 0 or more. One that is over ends
///                  the schedule here.
/// @return 0; -1 for NULL, an object not made by cllm_training_init, or a negative number.
///
/// ```c
/// double left = seconds - elapsed, each = elapsed / training->current_step;
/// cllm_training_set_end(training, training->current_step + (int)(left / each));
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_set_end(training: *mut CLLMTraining, steps: c_int) -> c_int {
    let end = ffi::len(steps, "steps")?;
    let end = u32::try_from(end).map_err(|_| Error::argument("steps", end, "below 2^31"))?;
    with_training(training, |t, state| {
        let planned = state.options.schedule(schedule::schedule(&t.config));
        let moved = planned.ending(state::count(t.current_step), end);
        t.config.initial_learning_rate = moved.base;
        t.config.max_steps = narrow(end);
        Ok(0)
    })
}
