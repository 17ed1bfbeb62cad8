//! The recipe of a run: from how much text there is and how long the run may take to everything else
//! that training is told.
//!
//! [`Recipe::new`] is a pure function of its [`Task`]: the same text size, seconds and speed give the
//! same choice on every machine. Only [`measure`] looks at the clock, and [`steps_left`] is told what
//! the clock says. All numbers that were found by trying stand in [`constants`].
//!
//! They were found with windows at random places ([`Corpus::shuffled`](crate::train::Corpus::shuffled)); in order
//! the same run learns less. A text whose tokens were only estimated may turn out to hold no batch of its recipe:
//! [`Corpus::batches`](crate::train::Corpus::batches) says.
//!
//! ```
//! use cllm_engine::recipe::{Fixed, Recipe, Task};
//!
//! let task = Task { bytes: 1_000_000, seconds: Some(180.0), speed: 3e11, ..Task::default() };
//! let recipe = Recipe::new(&task)?;
//! assert!(recipe.model.dim >= 128 && recipe.vocab() >= 320);
//! assert_eq!(recipe.to_string().lines().count(), 3);
//! // What the program fixed stays, and the rest is chosen around it.
//! let fixed = Fixed { dim: Some(64), ..Fixed::default() };
//! assert_eq!(Recipe::new(&Task { fixed, ..task })?.model.dim, 64);
//! # Ok::<(), cllm_engine::Error>(())
//! ```

pub mod constants;
mod shown;
mod speed;
mod time;

pub use speed::{measure, work};
pub use time::{evaluations, steps_left};

use crate::error::{Error, Result};
use crate::limits::MAX_BATCH_POSITIONS;
use crate::model::ModelConfig;
use crate::train::{Optimizer, Schedule, ShortWindows, TrainerConfig};
use cllm_kernels::functions;
use constants as c;

/// How text becomes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Parts of words: byte-level BPE.
    Subwords,
    /// Single bytes.
    Bytes,
    /// Whole words. Never chosen: only where they are asked for.
    Words,
}

/// What is there to choose from: the text, the time, the machine, and what is chosen already.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Task {
    /// Length of the training text; 1 or more.
    pub bytes: u64,
    /// Tokens of the training text, where they are known; otherwise estimated.
    pub tokens: Option<u64>,
    /// Tokens of the held-out text, likewise; otherwise a ninth of the training text's, and half as much
    /// again, so that an evaluation leaves no end of it out.
    pub held_out: Option<u64>,
    /// How long training may take; `None`: as long as `epochs` take.
    pub seconds: Option<f64>,
    /// How often the run goes through the text, where no seconds are given. With none of seconds, epochs and
    /// steps, but a width, the model says how long: whole epochs that have [`c::TOKENS_PER_WEIGHT`] tokens
    /// for each weight of its blocks.
    pub epochs: Option<f64>,
    /// Floating-point operations of training in a second, as [`measure`] counts them; needed with
    /// `seconds`, otherwise only for saying how long it will take.
    pub speed: f64,
    /// What the program chose itself.
    pub fixed: Fixed,
}

/// What the program chose itself; `None`: to be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fixed {
    /// How text becomes tokens.
    pub tokens: Option<Tokens>,
    /// V.
    pub vocab: Option<usize>,
    /// d.
    pub dim: Option<usize>,
    /// L.
    pub layers: Option<usize>,
    /// Attention heads.
    pub heads: Option<usize>,
    /// F.
    pub hidden: Option<usize>,
    /// S: tokens of a window.
    pub context: Option<usize>,
    /// Tokens of the windows in the first part of the run; 0: none.
    pub short_windows: Option<usize>,
    /// B: windows of a batch.
    pub batch: Option<usize>,
    /// The rate at its peak.
    pub rate: Option<f32>,
    /// Steps of the warm-up.
    pub warmup: Option<u32>,
    /// The share left out.
    pub dropout: Option<f32>,
    /// β₂.
    pub beta2: Option<f32>,
    /// λ.
    pub weight_decay: Option<f32>,
    /// Steps of the run, whatever the time.
    pub steps: Option<u32>,
}

/// Everything that a run is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// How text becomes tokens.
    pub tokens: Tokens,
    /// The model, of the modern block, with V, d, L, heads, F and S.
    pub model: ModelConfig,
    /// B: windows of a batch.
    pub batch: usize,
    /// Schedule, decay, clipping, dropout, β₂, short windows. The schedule is linear to 0 at the last step.
    pub trainer: TrainerConfig,
    /// Steps of the whole run: the end of the schedule.
    pub steps: u32,
    /// How often that goes through the text.
    pub epochs: f64,
    /// A held-out evaluation after every so many steps.
    pub evaluate_every: u32,
    /// Held-out tokens of an evaluation, at most.
    pub evaluate_tokens: u64,
    /// What the choice was made for, with the tokens as they were estimated.
    pub task: Task,
}

impl Recipe {
    /// The recipe for a task. Of context and batch the one that is not fixed is chosen so small that the text
    /// holds a batch, where that can be.
    ///
    /// # Errors
    /// No text; neither seconds nor epochs nor steps nor a width; seconds, epochs or a speed that are not positive;
    /// fixed sizes that make no model ([`ModelConfig::check`]); a fixed context or batch of which the text holds no
    /// batch, by its tokens or, where they are not known, by its bytes, for it has no more tokens than those.
    ///
    /// ```
    /// use cllm_engine::recipe::{Fixed, Recipe, Task};
    ///
    /// let fixed = Fixed { context: Some(512), ..Fixed::default() };
    /// let task = Task { bytes: 2000, tokens: Some(600), epochs: Some(3.0), fixed, ..Task::default() };
    /// assert_eq!(Recipe::new(&task)?.batch, 1);
    /// let error = Recipe::new(&Task { tokens: Some(300), ..task }).unwrap_err();
    /// assert!(error.to_string().contains("too short for this context"));
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn new(task: &Task) -> Result<Self> {
        check(task)?;
        let fixed = &task.fixed;
        let (tokens, vocab) = vocabulary(task.bytes, fixed);
        let estimate = task.bytes as f64 / bytes_per_token(tokens, vocab);
        let train = task.tokens.map_or(estimate, |n| n as f64).max(1.0);
        let model = model(task, vocab, train)?;
        let short_windows = short_windows(task, &model, train);
        let seen = tokens_seen(task, &model, train);
        let context = model.context;
        let batch = fixed.batch.unwrap_or_else(|| batch(seen, train, &model));
        let rows = batch.checked_mul(context).filter(|&rows| rows <= MAX_BATCH_POSITIONS);
        let rows = rows.ok_or_else(|| Error::memory("a batch", usize::MAX))?;
        check_room(task, batch, context)?;
        let steps = fixed.steps.unwrap_or_else(|| whole((seen / rows as f64).round()));
        let seen = f64::from(steps) * rows as f64;
        let epochs = seen / train;
        let warmup = fixed.warmup.unwrap_or(c::WARMUP_STEPS.min(steps / c::WARMUP_LEAST_PART));
        let trainer = TrainerConfig {
            optimizer: Optimizer::AdamW,
            schedule: Schedule::linear(
                fixed.rate.unwrap_or_else(|| rate(model.dim, rows)),
                warmup,
                steps,
            ),
            weight_decay: fixed.weight_decay.unwrap_or_else(|| decay(model.dim, rows, train)),
            clip: c::CLIP,
            window: 1,
            beta2: fixed.beta2.unwrap_or_else(|| beta2(seen, rows)),
            dropout: fixed.dropout.unwrap_or_else(|| dropout(epochs)),
            short_windows,
            ..TrainerConfig::default()
        };
        let held_out = task.held_out.unwrap_or((c::HELD_OUT_MARGIN * train / 9.0) as u64);
        let (evaluate_every, evaluate_tokens) = evaluations(steps, rows, held_out);
        let task = Task { tokens: Some(train as u64), held_out: Some(held_out), ..*task };
        Ok(Self {
            tokens,
            model,
            batch,
            trainer,
            steps,
            epochs,
            evaluate_every,
            evaluate_tokens,
            task,
        })
    }

    /// V.
    pub fn vocab(&self) -> usize {
        self.model.vocab
    }

    /// Tokens of a step.
    pub fn rows(&self) -> usize {
        self.batch * self.model.context
    }

    /// Training tokens in a second that the task's speed makes of this model, in the mean of the run; 0
    /// without a speed.
    pub fn tokens_per_second(&self) -> f64 {
        self.task.speed / mean_work(&self.model, &self.trainer.short_windows)
    }
}

fn check(task: &Task) -> Result<()> {
    if task.bytes == 0 {
        return Err(Error::argument("bytes", 0, "1 or more"));
    }
    let positive = |name, value: f64| match value.is_finite() && value > 0.0 {
        true => Ok(()),
        false => Err(Error::argument(name, value, "more than 0")),
    };
    match (task.fixed.steps, task.seconds, task.epochs) {
        (Some(0), ..) => return Err(Error::argument("steps", 0, "1 or more")),
        (None, None, None) if task.fixed.dim.is_none() => {
            return Err(Error::argument("seconds", 0, "more than 0"));
        }
        (_, Some(seconds), _) => {
            positive("seconds", seconds)?;
            positive("speed", task.speed)?;
        }
        (_, None, Some(epochs)) => positive("epochs", epochs)?,
        (_, None, None) => {}
    }
    let f = &task.fixed;
    for (name, size) in [
        ("vocab", f.vocab),
        ("dim", f.dim),
        ("layers", f.layers),
        ("heads", f.heads),
        ("context", f.context),
        ("batch", f.batch),
    ] {
        if size == Some(0) {
            return Err(Error::argument(name, 0, "1 or more"));
        }
    }
    for (name, value) in [("dropout", f.dropout), ("beta2", f.beta2)] {
        if value.is_some_and(|value| !(0.0..1.0).contains(&value)) {
            return Err(Error::argument(name, value.unwrap_or(f32::NAN), "0 to below 1"));
        }
    }
    Ok(())
}

/// Refuses a context or a batch that the program fixed, of which the text holds no batch, with the token behind
/// it. An estimate of the tokens, which may be too low, refuses nothing.
fn check_room(task: &Task, batch: usize, context: usize) -> Result<()> {
    let what = match (task.fixed.batch, task.fixed.context) {
        (None, None) => return Ok(()), // The smallest there are; one byte has a recipe, too.
        (None, Some(_)) => "this context",
        (Some(_), None) => "this batch",
        (Some(_), Some(_)) => "this batch and context",
    };
    let (rows, most) = ((batch * context) as u64, task.tokens.unwrap_or(task.bytes));
    if rows < most {
        return Ok(());
    }
    let at_most = if task.tokens.is_none() { "at most " } else { "" };
    Err(Error::shape(format!(
        "the text is too short for {what}: {batch} x {context} take {} tokens, and it has {at_most}{most}",
        rows + 1
    )))
}

/// V = V₁·(bytes / 10⁶)^½, in whole steps of [`c::VOCAB_STEP`], at most [`c::VOCAB_MOST`]: a word that
/// is merged must be seen often enough to be learnt. Single bytes for a text below
/// [`c::LEAST_BYTES_FOR_SUBWORDS`]. Words, where they are asked for, up to [`c::WORD_VOCAB`].
fn vocabulary(bytes: u64, fixed: &Fixed) -> (Tokens, usize) {
    let few = bytes < c::LEAST_BYTES_FOR_SUBWORDS && fixed.vocab.is_none();
    let tokens = fixed.tokens.unwrap_or(if few { Tokens::Bytes } else { Tokens::Subwords });
    let vocab = match tokens {
        Tokens::Bytes => c::BYTE_VOCAB,
        Tokens::Words => c::WORD_VOCAB,
        Tokens::Subwords => {
            let wanted = c::VOCAB_AT_1_MB * (bytes as f64 / 1e6).sqrt();
            let steps = (wanted / c::VOCAB_STEP as f64) as usize;
            (steps * c::VOCAB_STEP).clamp(c::VOCAB_LEAST, c::VOCAB_MOST)
        }
    };
    (tokens, fixed.vocab.unwrap_or(vocab))
}

/// An estimate for text in a natural language, until the tokens are there: 1 for bytes,
/// [`c::BYTES_PER_WORD`] for words, otherwise [`c::BYTES_PER_TOKEN_AT_512`] + [`c::BYTES_PER_TOKEN_A_DOUBLING`]·log₂(V/512).
pub fn bytes_per_token(tokens: Tokens, vocab: usize) -> f64 {
    match tokens {
        Tokens::Bytes => 1.0,
        Tokens::Words => c::BYTES_PER_WORD,
        Tokens::Subwords => {
            let doublings = functions::log2(vocab.max(1) as f64 / 512.0);
            (c::BYTES_PER_TOKEN_AT_512 + c::BYTES_PER_TOKEN_A_DOUBLING * doublings).max(1.0)
        }
    }
}

/// The tokens that a run with this model sees: as many as the time allows, or the epochs hold, or the weights
/// want.
fn tokens_seen(task: &Task, model: &ModelConfig, train: f64) -> f64 {
    match (task.seconds, task.epochs) {
        (Some(seconds), _) => {
            let each = mean_work(model, &short_windows(task, model, train));
            seconds * (1.0 - c::TIME_KEPT_BACK) * task.speed / each
        }
        (None, Some(epochs)) => epochs * train,
        (None, None) if task.fixed.steps.is_some() => train,
        (None, None) => train * (c::TOKENS_PER_WEIGHT * weights(model) / train).ceil(),
    }
}

/// The largest model of the ladder ([`c::WIDTHS`]) whose weights see [`c::TOKENS_PER_WEIGHT`] tokens
/// each in the run, and which has at most [`c::WEIGHTS_PER_TOKEN`] weights for each token of the text;
/// the smallest where none does.
fn model(task: &Task, vocab: usize, train: f64) -> Result<ModelConfig> {
    let mut chosen = shape(c::WIDTHS[0], task, vocab, train);
    if task.fixed.dim.is_none() {
        for &dim in &c::WIDTHS[1..] {
            let next = shape(dim, task, vocab, train);
            let weights = weights(&next);
            let enough = tokens_seen(task, &next, train) >= c::TOKENS_PER_WEIGHT * weights;
            if enough && weights <= c::WEIGHTS_PER_TOKEN * train {
                chosen = next;
            }
        }
    }
    chosen.check()?;
    Ok(chosen)
}

/// The model of a width: d / [`c::HEAD_DIM`] heads, as many layers within their bounds, F = 4·d; the
/// window by the length of the text.
fn shape(dim: usize, task: &Task, vocab: usize, train: f64) -> ModelConfig {
    let fixed = &task.fixed;
    let dim = fixed.dim.unwrap_or(dim);
    let custom = (dim / c::HEAD_DIM).max(1);
    let layers = custom.clamp(c::LAYERS_LEAST, c::LAYERS_MOST);
    // A width that is fixed may be no multiple of the custom head.
    let most = custom.min(c::HEADS_MOST);
    let heads = (1..=most).rev().find(|&heads| dim.is_multiple_of(2 * heads)).unwrap_or(1);
    let context = fixed.context.unwrap_or_else(|| context(task, train));
    ModelConfig {
        vocab,
        dim,
        layers: fixed.layers.unwrap_or(layers),
        heads: fixed.heads.unwrap_or(heads),
        hidden: fixed.hidden.unwrap_or(dim.saturating_mul(4)),
        context,
        ..ModelConfig::modern()
    }
}

/// Weights that are trained, without the embeddings, of which a token uses one row.
fn weights(model: &ModelConfig) -> f64 {
    let (d, hidden) = (model.dim as f64, model.hidden as f64);
    model.layers as f64 * (4.0 * d * d + 2.0 * d * hidden)
}

/// The windows of [`c::CONTEXTS`] whose text is long enough for them, and no longer than the text; so short that
/// it holds the batch that is fixed. And those of the end of a run, [`c::LONG_WINDOW`] if the text holds
/// [`c::LONG_WINDOWS_LEAST`] of them.
fn windows(task: &Task, train: f64) -> (usize, usize) {
    let fits = c::CONTEXTS.iter().rev().find(|(_, least)| train >= *least as f64);
    let context = fits.map_or(c::CONTEXTS[0].0, |(context, _)| *context);
    // At least eight batches of one window in an epoch.
    let most = (train / 8.0) as usize;
    // The last token is no input.
    let held = ((train - 1.0) / task.fixed.batch.unwrap_or(1) as f64) as usize;
    let held = held.checked_ilog2().map_or(0, |bits| 1 << bits);
    let short = context.min(most.next_power_of_two() / 2).min(held).max(8);
    let enough = train >= c::LONG_WINDOWS_LEAST * c::LONG_WINDOW as f64;
    (short, if enough { c::LONG_WINDOW.max(short) } else { short })
}

/// Whether windows may grow: who says how long they are, or how many of them are a batch, has them
/// so from beginning to end.
fn grows(fixed: &Fixed) -> bool {
    let said = fixed.context.is_some() || fixed.batch.is_some();
    fixed.short_windows.is_none() && !said
}

/// S of the model: that of the longest windows.
fn context(task: &Task, train: f64) -> usize {
    let (short, long) = windows(task, train);
    if grows(&task.fixed) { long } else { short }
}

/// The windows of the first part of the run.
fn short_windows(task: &Task, model: &ModelConfig, train: f64) -> ShortWindows {
    let positions = match task.fixed.short_windows {
        None if grows(&task.fixed) => windows(task, train).0,
        asked => asked.unwrap_or(0),
    };
    let shorter = positions > 0 && positions < model.context;
    let there = ShortWindows { positions, part: c::SHORT_PART as f32 };
    if shorter { there } else { ShortWindows::default() }
}

/// [`work`] of a token in the mean of a run.
fn mean_work(model: &ModelConfig, windows: &ShortWindows) -> f64 {
    let part = f64::from(windows.part);
    let short = work(&ModelConfig { context: windows.positions, ..*model });
    part * short + (1.0 - part) * work(model)
}

/// B: a run has at least [`c::STEPS_WANTED`] steps where a batch can be so small, and batches of
/// [`c::BATCH_TOKENS_LEAST`] to [`c::BATCH_TOKENS_MOST`] tokens, doubled from the least, whose activations
/// keep to [`c::ACTIVATION_BYTES`], and of which the text holds [`c::EPOCH_BATCHES_LEAST`]. A batch is at
/// most half of the text, where that is a window.
fn batch(seen: f64, train: f64, model: &ModelConfig) -> usize {
    let (row, own) = bytes_in_training(model);
    let memory = c::ACTIVATION_BYTES.max(own) / row;
    let most = memory.min(train / c::EPOCH_BATCHES_LEAST).min(c::BATCH_TOKENS_MOST as f64);
    let mut rows = c::BATCH_TOKENS_LEAST;
    while (2 * rows) as f64 <= most && seen / (2 * rows) as f64 >= c::STEPS_WANTED {
        rows *= 2;
    }
    let half = (train / 2.0) as usize;
    (rows.min(half) / model.context).max(1)
}

/// The bytes of a row's activations (in each layer eight vectors of the width, and two of F; some more
/// behind the last one and on the way back), and those of the model: weights, gradient, two moments.
fn bytes_in_training(model: &ModelConfig) -> (f64, f64) {
    let (d, hidden) = (model.dim as f64, model.hidden as f64);
    let row = model.layers as f64 * (8.0 * d + 2.0 * hidden) + 12.0 * d + 2.0 * hidden;
    let own = weights(model) + model.vocab as f64 * d;
    (4.0 * row, 4.0 * 4.0 * own)
}

/// The peak rate: η₁·(128/d)^½·(rows/1024)^½: the noise of a gradient falls with the root of the batch,
/// and what an update of Adam does to a sum over d inputs grows with the root of d.
fn rate(dim: usize, rows: usize) -> f32 {
    let width = (128.0 / dim as f64).sqrt();
    let batch = (rows as f64 / 1024.0).sqrt().min(c::RATE_GROWTH_MOST);
    (c::RATE * width * batch) as f32
}

/// λ, so that a weight is a mean of the updates of [`c::DECAY_EPOCHS`] epochs (Wang and Aitchison 2024), between
/// [`c::DECAY_LEAST`] and [`c::DECAY_MOST`]: a short text that comes again and again is learnt by heart
/// otherwise. For the recipe's own rate: who asks for a lower one wants less of everything.
fn decay(dim: usize, rows: usize, train: f64) -> f32 {
    let steps = c::DECAY_EPOCHS * train / rows as f64;
    let decay = 1.0 / (f64::from(rate(dim, rows)) * steps);
    decay.clamp(c::DECAY_LEAST, c::DECAY_MOST) as f32
}

/// β₂ = 2^(−rows/h), so that a gradient counts half after h tokens: a [`c::HALF_LIFE_PART`] of the run,
/// and β₂ between [`c::BETA2_LEAST`] and [`c::BETA2_MOST`].
fn beta2(seen: f64, rows: usize) -> f32 {
    let half_life = seen * c::HALF_LIFE_PART;
    let beta2 = functions::exp2(-(rows as f64) / half_life.max(1.0));
    beta2.clamp(c::BETA2_LEAST, c::BETA2_MOST) as f32
}

/// [`c::DROPOUT_A_DOUBLING`] for each doubling of the epochs beyond [`c::EPOCHS_WITHOUT_DROPOUT`].
fn dropout(epochs: f64) -> f32 {
    let doublings = functions::log2(epochs / c::EPOCHS_WITHOUT_DROPOUT);
    (c::DROPOUT_A_DOUBLING * doublings).clamp(0.0, c::DROPOUT_MOST) as f32
}

/// A number of steps, 1 or more.
fn whole(steps: f64) -> u32 {
    // A cast ends at the end of the range, and a checkpoint's step is an int.
    (steps as u32).clamp(1, i32::MAX as u32)
}

#[cfg(test)]
mod tests;
