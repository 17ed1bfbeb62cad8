//! The private state of training objects, and what passes between it and the public fields.

use super::schedule::schedule;
use super::updates::configured_optimizer;
use super::weights::{Buffers, TrainingView};
use super::{CLLMTraining, CLLMTrainingConfig};
use crate::border::ffi;
use crate::border::registry::{Registry, lock};
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_ext::CLLMProgressCallback;
use crate::headers::cllm_ext::options::CLLMTrainingOptions;
use crate::model::words;
use cllm_engine::error::Result;
use cllm_engine::log;
use cllm_engine::text::{Ids, TokenFile};
use cllm_engine::train::checkpoint::{DataMark, Notes};
use cllm_engine::train::tokens::Foreign;
use cllm_engine::train::{Best, Corpus, Counters, Trainer, TrainerConfig, TrainingPrecision};
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex};

/// The training objects that `cllm_training_init` made.
pub(crate) static TRAININGS: Registry<TrainingState> = Registry::new("training");

/// What a `CLLMTraining` keeps besides its public fields.
pub(crate) struct TrainingState {
    pub trainer: Trainer,
    pub buffers: Buffers,
    /// Rows (T) and positions of a sequence (S) that the public buffers hold.
    pub rows: usize,
    pub positions: usize,
    /// The configuration of the run whose checkpoint was loaded.
    pub saved_config: Option<CLLMTrainingConfig>,
    /// Likewise, its options.
    pub saved_options: Option<CLLMTrainingOptions>,
    pub options: CLLMTrainingOptions,
    /// The weights that had the lowest held-out loss.
    pub best: Best,
    /// Input of the latest forward pass whose activations are still there; empty without.
    pub input: Vec<u32>,
    /// Address of the token block that the library allocated for `tokens`.
    pub own_tokens: usize,
    /// The file that the ids are read from while `tokens` is NULL.
    pub file: Option<Arc<TokenFile>>,
    /// Address and number of the ids that were checked, and what was warned of them.
    pub checked_tokens: Option<(usize, usize)>,
    pub foreign_tokens: Option<Foreign>,
    pub progress: Option<(CLLMProgressCallback, UserData)>,
    pub data: Data,
}

/// What the loops train on, as far as it is known.
#[derive(Default)]
pub(crate) struct Data {
    /// Address and number of the ids that were looked at.
    seen: (usize, usize),
    /// Their mark.
    pub mark: Option<DataMark>,
    /// The mark in the checkpoint that was restored.
    restored: Option<DataMark>,
    /// The precision of its run, by which arithmetic, and whether its sums were rounded.
    precision: Option<(TrainingPrecision, String, bool)>,
    /// Whether another run was warned of.
    warned: bool,
}

impl Data {
    /// After a checkpoint with these notes.
    pub(crate) fn restored(notes: &Notes) -> Self {
        let precision = Some((notes.precision, notes.arithmetic.clone(), notes.bfloat16_sums));
        Self { seen: (0, 0), mark: notes.data, restored: notes.data, precision, warned: false }
    }

    /// What differs between the checkpoint that was restored and these ids, in words, or that
    /// nothing does; `None` where there is no such checkpoint. The ids and the model's words are
    /// looked at once: those that a program changes in their place count as the old ones.
    ///
    /// # Safety
    /// As [`words::strings`].
    pub(crate) unsafe fn compare(
        &mut self,
        corpus: &Corpus,
        model: *const CLLMModel,
    ) -> Option<Result<(), String>> {
        let ids = corpus.ids();
        let seen = (ids.place(), ids.len());
        let (checksum, words) = match self.mark.filter(|_| self.seen == seen) {
            Some(mark) => (mark.checksum, mark.words),
            None => (ids.checksum(), words::checksum(model)),
        };
        let mark = DataMark { words, ..DataMark::new(corpus, checksum) };
        (self.seen, self.mark) = (seen, Some(mark));
        Some(self.restored?.difference(&mark).map_or(Ok(()), Err))
    }

    /// Takes note of the ids, the precision and the sums of a run. That they are others than the checkpoint's is
    /// said once.
    ///
    /// # Safety
    /// As [`words::strings`].
    pub(crate) unsafe fn note(
        &mut self,
        corpus: &Corpus,
        model: *const CLLMModel,
        precision: TrainingPrecision,
        rounded: bool,
    ) {
        let data = self.compare(corpus, model).and_then(Result::err);
        let other = || {
            let (then, by, were_rounded) = self.precision.as_ref()?;
            if *then != precision {
                let (then, now) = (then.name(), precision.name());
                return Some(format!("its products were in {then}, these are in {now}"));
            }
            let now = precision.arithmetic();
            if !by.is_empty() && *by != now {
                return Some(format!(
                    "its products were {by}, these are {now}, which rounds otherwise"
                ));
            }
            let of = |rounded| if rounded { "bf16" } else { "f32" };
            let (then, now) = (of(*were_rounded), of(rounded));
            (then != now).then(|| format!("its gradients were added in {then}, these are in {now}"))
        };
        if let Some(difference) = data.or_else(other)
            && !std::mem::replace(&mut self.warned, true)
        {
            log::warn(&format!("the checkpoint is of another run: {difference}"));
        }
    }
}

/// Where the ids of a training are.
pub(crate) enum Source<'a> {
    /// In `tokens`.
    Memory(&'a [u32]),
    /// In its file.
    File(Arc<TokenFile>),
}

impl Source<'_> {
    pub(crate) fn ids(&self) -> Ids<'_> {
        match self {
            Self::Memory(ids) => Ids::Memory(ids),
            Self::File(file) => Ids::File(file),
        }
    }
}

/// The pointer that a callback gets back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserData(pub *mut c_void);
// SAFETY: only handed back to the program, which says what it is.
unsafe impl Send for UserData {}
// SAFETY: likewise.
unsafe impl Sync for UserData {}

/// The state of a library-made training object.
pub(crate) fn state(training: *const CLLMTraining) -> Result<Arc<Mutex<TrainingState>>> {
    TRAININGS.get(training)
}

/// B and S of the configuration, both at least 1.
pub(crate) fn batch_shape(config: &CLLMTrainingConfig) -> Result<(usize, usize)> {
    Ok((
        ffi::positive(config.batch_size, "config.batch_size")?,
        ffi::positive(config.sequence_length, "config.sequence_length")?,
    ))
}

/// The engine's settings of a configuration.
fn settings(config: &CLLMTrainingConfig, options: &CLLMTrainingOptions) -> TrainerConfig {
    options.apply(TrainerConfig {
        optimizer: configured_optimizer(config),
        schedule: options.schedule(schedule(config)),
        weight_decay: config.weight_decay,
        clip: config.gradient_clip,
        window: count(config.gradient_accumulation_steps),
        ..TrainerConfig::default()
    })
}

/// A number from C; negative ones count as 0.
pub(crate) fn count(n: c_int) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

/// A number for C; what is beyond its range stays at the end of it.
pub(crate) fn narrow(n: impl TryInto<c_int>) -> c_int {
    n.try_into().unwrap_or(c_int::MAX)
}

/// Reads the public fields into counters.
pub(super) fn read_counters(t: &CLLMTraining, c: &mut Counters) {
    c.epoch = count(t.current_epoch);
    c.step = count(t.current_step);
    c.accumulated = count(t.accumulation_step);
    c.learning_rate = t.config.learning_rate;
    c.loss = t.current_loss;
    c.best_loss = t.best_loss;
    // A place beyond the field's range stays known as long as the program does not set another.
    if narrow(c.offset) != t.current_batch_offset {
        c.offset = usize::try_from(t.current_batch_offset).unwrap_or(0);
    }
}

/// Writes counters into the public fields.
pub(super) fn write_counters(t: &mut CLLMTraining, c: &Counters) {
    t.current_epoch = narrow(c.epoch);
    t.current_step = narrow(c.step);
    t.accumulation_step = narrow(c.accumulated);
    t.config.learning_rate = c.learning_rate;
    t.current_loss = c.loss;
    t.best_loss = c.best_loss;
    t.current_batch_offset = narrow(c.offset);
}

impl TrainingState {
    /// Has the trainer work on the training object as its public fields are now: configuration,
    /// counters, buffers. The model and the buffers are looked at once.
    ///
    /// # Safety
    /// As [`Buffers::view`].
    pub(crate) unsafe fn train<R>(
        &mut self,
        t: &mut CLLMTraining,
        work: impl FnOnce(&mut Trainer, &mut TrainingView) -> Result<R>,
    ) -> Result<R> {
        let Self { trainer, buffers, options, .. } = self;
        let bfloat16_sums = trainer.config.bfloat16_sums; // which comes with the communicator
        trainer.config = TrainerConfig { bfloat16_sums, ..settings(&t.config, options) };
        read_counters(t, &mut trainer.counters);
        let done = work(trainer, &mut buffers.view(t)?);
        // Also after an error: the window may have been filled by then.
        t.accumulation_step = narrow(trainer.counters.accumulated);
        done
    }
}

/// Runs `work` on a library-made training object and its state.
///
/// # Safety
/// `training` is NULL or points to a `CLLMTraining` that no other thread uses.
pub(crate) unsafe fn with_training<R>(
    training: *mut CLLMTraining,
    work: impl FnOnce(&mut CLLMTraining, &mut TrainingState) -> Result<R>,
) -> Result<R> {
    let state = state(training)?;
    let mut state = lock(&state);
    let training = ffi::get_mut(training, "training")?;
    work(training, &mut state)
}
