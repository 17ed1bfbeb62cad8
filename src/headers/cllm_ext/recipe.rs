//! The one dial: from the length of a text and the time to everything that training is told.

use super::options::check_precision;
use super::tokens::{CLLM_TOKENS_BYTES, CLLM_TOKENS_SUBWORDS, CLLM_TOKENS_WORDS};
use super::training::pool_of;
use crate::border::ffi;
use cllm_engine::error::{Error, Result};
use cllm_engine::recipe::{self, Fixed, Recipe, Task, Tokens};
use cllm_engine::train::TrainingPrecision;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::mem::offset_of;

/// What a run should be told. cllm_recipe() fills the fields that are 0 and leaves the others, which
/// the program chose itself, as they are.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMRecipe {
    /// `sizeof(CLLMRecipe)`, which the program sets before the call: the fields that it knows of.
    pub struct_size: usize,
    /// Tokens of the training text, where they are known; 0: estimated from its bytes.
    pub training_tokens: u64,
    /// Tokens of the held-out text, likewise; 0: a ninth of the training text's.
    pub held_out_tokens: u64,
    /// How often the run goes through the text. Read where no seconds are given.
    pub epochs: f64,
    /// Steps of the run: `config.max_steps`, the end of the schedule.
    pub steps: c_int,
    /// How text becomes tokens: CLLM_TOKENS_SUBWORDS (byte-level BPE) or CLLM_TOKENS_BYTES. Whole words,
    /// CLLM_TOKENS_WORDS, are never chosen: a program that wants them says so.
    pub tokenizer: c_int,
    /// V: tokens of the vocabulary.
    pub vocab_size: c_int,
    /// d: a multiple of `2*num_heads`, for cllm_create_modern_model().
    pub embedding_dim: c_int,
    /// L.
    pub num_layers: c_int,
    /// Attention heads.
    pub num_heads: c_int,
    /// F: width of the feed-forward sublayers.
    pub ff_dim: c_int,
    /// S: tokens of a window; also `max_seq_len` of the model.
    pub sequence_length: c_int,
    /// B: windows of a batch.
    pub batch_size: c_int,
    /// Steps of linear warm-up; less than 0: none.
    pub warmup_steps: c_int,
    /// The rate at its peak, from which a straight line falls to 0: `lr_scheduler` "linear" with
    /// `decay_to_zero` of the options.
    pub learning_rate: f32,
    /// λ of AdamW; less than 0: none.
    pub weight_decay: f32,
    /// Largest norm of a gradient. Not read.
    pub gradient_clip: f32,
    /// β₂ of Adam, below 1.
    pub beta2: f32,
    /// The share of the values that is left out, below 1; less than 0: none.
    pub dropout: f32,
    /// A held-out evaluation after every so many steps: cllm_training_evaluate(). Not read.
    pub evaluate_every: c_int,
    /// Held-out tokens of an evaluation, at most. Not read.
    pub evaluate_tokens: u64,
    /// Training tokens in a second that `speed` comes to; 0 without. Not read.
    pub tokens_per_second: f64,
    /// What was chosen and why: three lines, without the last line's end. Not read.
    pub text: [c_char; 640],
    /// Tokens of the windows in the first part of the run, for `short_windows` of the options; less than 0:
    /// none. A program whose struct ends before it has none.
    pub short_windows: c_int,
    /// The part of the run that has them, for `short_part` of the options. Not read.
    pub short_part: f32,
}

const LEAST: usize = offset_of!(CLLMRecipe, short_windows);
const NAMES: [&str; 3] = ["recipe", "recipe->struct_size", "sizeof(CLLMRecipe)"];

/// Chooses the tokenizer, the model and how it is trained from the length of the text, the time and
/// the speed of the machine. A pure function of its arguments and of the fields that the program set:
/// the same ones give the same choice anywhere. docs/GUIDE.md says by which rules.
///
/// @param bytes    length of the training text, without what is held out; 1 or more.
/// @param seconds  how long training may take; 0: as long as `epochs`, or `steps`, take. With none of them,
///                 but `embedding_dim`, a run is as many whole epochs as give each weight three tokens.
/// @param speed    what cllm_measure_speed() found, or cllm_measure_speed_in() for a run in bfloat16; without
///                 seconds only `text` has it, and it may be 0.
/// @param recipe   its `struct_size` set before; other fields that are not 0 stay.
/// @return 0; -1 for NULL, no text, nothing that says how long, a number out of its range, sizes that
///         make no model, or a `sequence_length` or `batch_size` of which the text, by its tokens or
///         else its bytes, holds no batch: `recipe` is left alone then.
///
/// ```c
/// CLLMRecipe recipe = {.struct_size = sizeof recipe};
/// if (cllm_recipe(1000000, 300, cllm_measure_speed(0), &recipe) == 0)
///     puts(recipe.text);
/// ```
///
/// # Safety
/// `recipe` is NULL or writable, as large as its `struct_size` says.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_recipe(
    bytes: u64,
    seconds: f64,
    speed: f64,
    recipe: *mut CLLMRecipe,
) -> c_int {
    // Who can't be told of short windows gets none.
    let none = CLLMRecipe { short_windows: -1, ..std::mem::zeroed() };
    let wanted = &ffi::sized(recipe, none, LEAST, NAMES)?;
    let given = |seconds: f64| (seconds != 0.0).then_some(seconds);
    let task = Task {
        bytes,
        tokens: Some(wanted.training_tokens).filter(|&n| n > 0),
        held_out: Some(wanted.held_out_tokens).filter(|&n| n > 0),
        seconds: given(seconds),
        epochs: given(wanted.epochs).filter(|_| seconds == 0.0),
        speed,
        fixed: fixed(wanted)?,
    };
    let found = filled(&Recipe::new(&task)?, wanted)?;
    ffi::set_sized(recipe, found, LEAST, NAMES)?;
    Ok(0)
}

/// What the program chose itself.
fn fixed(r: &CLLMRecipe) -> Result<Fixed> {
    let size = |n, name| ffi::len(n, name).map(|n| Some(n).filter(|&n| n > 0));
    let real = |x: f32| (x != 0.0).then_some(x);
    // Where none is a choice, too, it is said by a negative number.
    let or_none = |x: f32| real(x).map(|x| x.max(0.0));
    Ok(Fixed {
        tokens: match r.tokenizer {
            0 => None,
            CLLM_TOKENS_SUBWORDS => Some(Tokens::Subwords),
            CLLM_TOKENS_BYTES => Some(Tokens::Bytes),
            CLLM_TOKENS_WORDS => Some(Tokens::Words),
            other => {
                return Err(Error::argument(
                    "recipe->tokenizer",
                    other,
                    "0, CLLM_TOKENS_WORDS, CLLM_TOKENS_SUBWORDS or CLLM_TOKENS_BYTES",
                ));
            }
        },
        vocab: size(r.vocab_size, "recipe->vocab_size")?,
        dim: size(r.embedding_dim, "recipe->embedding_dim")?,
        layers: size(r.num_layers, "recipe->num_layers")?,
        heads: size(r.num_heads, "recipe->num_heads")?,
        hidden: size(r.ff_dim, "recipe->ff_dim")?,
        context: size(r.sequence_length, "recipe->sequence_length")?,
        batch: size(r.batch_size, "recipe->batch_size")?,
        short_windows: (r.short_windows != 0)
            .then(|| usize::try_from(r.short_windows).unwrap_or(0)),
        rate: real(r.learning_rate),
        warmup: (r.warmup_steps != 0).then(|| u32::try_from(r.warmup_steps).unwrap_or(0)),
        dropout: or_none(r.dropout),
        beta2: real(r.beta2),
        weight_decay: or_none(r.weight_decay),
        steps: size(r.steps, "recipe->steps")?.and_then(|n| u32::try_from(n).ok()),
    })
}

fn filled(found: &Recipe, wanted: &CLLMRecipe) -> Result<CLLMRecipe> {
    let int =
        |n: usize, name| c_int::try_from(n).map_err(|_| Error::argument(name, n, "below 2^31"));
    let (model, trainer) = (&found.model, &found.trainer);
    let mut recipe = CLLMRecipe {
        training_tokens: found.task.tokens.unwrap_or(0),
        held_out_tokens: found.task.held_out.unwrap_or(0),
        epochs: found.epochs,
        steps: int(found.steps as usize, "steps")?,
        tokenizer: match found.tokens {
            Tokens::Subwords => CLLM_TOKENS_SUBWORDS,
            Tokens::Bytes => CLLM_TOKENS_BYTES,
            Tokens::Words => CLLM_TOKENS_WORDS,
        },
        vocab_size: int(model.vocab, "vocab_size")?,
        embedding_dim: int(model.dim, "embedding_dim")?,
        num_layers: int(model.layers, "num_layers")?,
        num_heads: int(model.heads, "num_heads")?,
        ff_dim: int(model.hidden, "ff_dim")?,
        sequence_length: int(model.context, "sequence_length")?,
        batch_size: int(found.batch, "batch_size")?,
        warmup_steps: int(trainer.schedule.warmup as usize, "warmup_steps")?,
        learning_rate: trainer.schedule.base,
        weight_decay: trainer.weight_decay,
        gradient_clip: trainer.clip,
        beta2: trainer.beta2,
        dropout: trainer.dropout,
        evaluate_every: int(found.evaluate_every as usize, "evaluate_every")?,
        evaluate_tokens: found.evaluate_tokens,
        tokens_per_second: found.tokens_per_second(),
        short_windows: match trainer.short_windows.positions {
            0 => -1,
            short => int(short, "short_windows")?,
        },
        short_part: trainer.short_windows.part,
        ..*wanted
    };
    ffi::set_field(&mut recipe.text, found.to_string().as_bytes());
    Ok(recipe)
}

/// How fast this machine trains: floating-point operations in a second, for cllm_recipe(). Trains a
/// small model of its own for about half a second. What it finds depends on the moment.
///
/// @param threads  0: as cllm_set_threads() says.
/// @return the speed, more than 0; 0 for a negative number, or no memory.
///
/// ```c
/// double speed = cllm_measure_speed(0);
/// printf("%.0f billion operations a second\n", speed / 1e9);
/// ```
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn cllm_measure_speed(threads: c_int) -> f64 {
    recipe::measure(&*pool_of(threads)?, TrainingPrecision::F32)
}

/// cllm_measure_speed() with the matrix products of a precision, for a run that is to have them.
///
/// @param threads    0: as cllm_set_threads() says.
/// @param precision  CLLM_PRECISION_F32, or CLLM_PRECISION_BF16 where cllm_precision_support() finds it.
/// @return as there; 0 for another number, too, or a precision that this processor lacks.
///
/// ```c
/// int precision = cllm_precision_support(CLLM_PRECISION_BF16) == 2 ? CLLM_PRECISION_BF16 : CLLM_PRECISION_F32;
/// double speed = cllm_measure_speed_in(0, precision);
/// printf("%.0f billion operations a second\n", speed / 1e9);
/// ```
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn cllm_measure_speed_in(threads: c_int, precision: c_int) -> f64 {
    recipe::measure(&*pool_of(threads)?, check_precision(precision, "precision")?)
}

/// How many steps a run that is to end on time should still make, for cllm_training_set_end(): as many
/// as planned, unless that would miss the time that is left by a hundredth of it; then as many as fit.
/// A pure function: the program looks at the clock.
///
/// @param done          steps that this process has made; 0 or more.
/// @param elapsed       seconds that they took, evaluations included.
/// @param planned       steps that are still to come; 0 or more.
/// @param seconds_left  until the run should end.
/// @return the steps, 0 or more: `planned` where nothing was done or measured; -1 for a negative
///         number of steps.
///
/// ```c
/// int planned = training->config.max_steps - training->current_step;
/// int left = cllm_steps_left(done, elapsed, planned, seconds - elapsed);
/// if (left >= 0 && left != planned)
///     cllm_training_set_end(training, training->current_step + left);
/// ```
#[unsafe(no_mangle)]
#[c_api(-1)]
pub extern "C" fn cllm_steps_left(
    done: c_int,
    elapsed: f64,
    planned: c_int,
    seconds_left: f64,
) -> c_int {
    let steps = |n, name| ffi::len(n, name).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let (done, planned) = (steps(done, "done")?, steps(planned, "planned")?);
    let left = recipe::steps_left(done, elapsed, planned, seconds_left);
    Ok(c_int::try_from(left).unwrap_or(c_int::MAX))
}
