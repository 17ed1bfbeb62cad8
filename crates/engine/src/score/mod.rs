//! What a program asks a model for besides text: how likely each token of a text is, what comes next,
//! and a vector that stands for a text.
//!
//! Everything works on token ids, on the calling thread and those of the [`Pool`], and gives the same
//! bits for any number of them, whatever was asked before.

mod embed;
mod next;
mod words;

pub use crate::nn::loss::TokenScore;
pub use crate::nn::windows::Windows;
pub use embed::Pooling;
pub use next::NextToken;
pub use words::{NextWord, WordSearch, typed_white_space, white_space_ends};

use crate::Evaluation;
use crate::error::{Error, Result};
use crate::generate::Allowed;
use crate::generate::session::Session;
use crate::model::{Network, Weight};
use crate::nn::activations::{Activations, Save};
use crate::nn::forward::{self, Beyond};
use crate::nn::loss::{self, LossBuffers};
use crate::nn::windows::{self, WindowBuffers};
use cllm_kernels::Pool;
use cllm_kernels::memory::grow;

/// Scores texts. It owns the memory that this takes, to be used again from call to call, and nothing
/// that a result depends on.
#[derive(Debug, Default)]
pub struct Scorer {
    activations: Activations,
    windows: WindowBuffers,
    loss: LossBuffers,
    scores: Vec<TokenScore>,
    session: Session,
    allowed: Allowed,
    hidden: Vec<f32>,
    logits: Vec<f32>,
}

impl Scorer {
    /// A scorer without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The score of each of `ids` given those before it in its window, and their sum. The first one has
    /// nothing before it and is not scored. `each` gets the place of a token in `ids` (from 1 on, in
    /// order) and its score.
    ///
    /// A window is a pass of prefill, and several short ones share a pass: memory does not grow with
    /// the text, nor with text × vocabulary. With windows one behind the other, the sum is what
    /// [`evaluate`](crate::evaluate) finds; shorter strides show each token more of the text.
    ///
    /// ```
    /// use cllm_engine::score::{Scorer, Windows};
    /// use cllm_engine::{Model, ModelConfig, Pool};
    ///
    /// let config = ModelConfig { vocab: 8, dim: 16, heads: 2, hidden: 64, ..ModelConfig::default() };
    /// let model = Model::new(&config, 1)?;
    /// let ids = [5, 6, 7, 5, 6, 7, 5, 6, 7];
    /// let mut log_probs = [0.0; 9];
    /// let all = Scorer::new().score(&Pool::serial(), &model.view(), &ids, Windows::new(4, 2)?, |i, token| {
    ///     log_probs[i] = token.log_prob;
    ///     assert!((1..=8).contains(&token.rank));
    /// })?;
    /// assert_eq!(all.tokens, 8);
    /// let sum: f64 = log_probs.iter().map(|&p| f64::from(p)).sum();
    /// assert!((all.nats() + sum).abs() < 1e-9);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// No ids; an id that the model does not have (nothing is scored then); no memory.
    pub fn score(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        ids: &[u32],
        windows: Windows,
        mut each: impl FnMut(usize, TokenScore),
    ) -> Result<Evaluation> {
        check(model, ids)?;
        let Self { activations, windows: buffers, loss, scores, .. } = self;
        let (targets, n) = (&ids[1..], ids.len() - 1);
        let mut nats = 0.0;
        windows::run(pool, model, &ids[..n], windows, activations, buffers, |at, normed| {
            let buffers = (&mut *loss, &mut *scores);
            token_scores(
                pool,
                model,
                normed,
                &targets[at.clone()],
                buffers,
                at.start + 1,
                |i, score| {
                    nats -= f64::from(score.log_prob);
                    each(i, score);
                },
            )
        })?;
        Ok(Evaluation::of(nats, n))
    }

    /// The scores of one window, whose `ids` end with the token behind it; its first `seen` tokens only
    /// stand before the others. `each` gets the place of a token in `ids` and its score.
    pub(crate) fn score_window(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        ids: &[u32],
        seen: usize,
        each: impl FnMut(usize, TokenScore),
    ) -> Result<()> {
        let Self { activations, loss, scores, .. } = self;
        let tokens = &ids[..ids.len() - 1];
        let (save, beyond) = (Save::Nothing, Beyond::NoPosition);
        forward::forward(pool, model, tokens, 1, activations, save, None, beyond)?;
        let (targets, normed) = (&ids[1 + seen..], &activations.normed[seen * model.dim..]);
        token_scores(pool, model, normed, targets, (loss, scores), 1 + seen, each)
    }
}

/// The scores of `targets` by the rows of `normed`, told to `each` as those of the tokens from `first` on.
fn token_scores(
    pool: &Pool,
    model: &Network<impl Weight>,
    normed: &[f32],
    targets: &[u32],
    (loss, scores): (&mut LossBuffers, &mut Vec<TokenScore>),
    first: usize,
    mut each: impl FnMut(usize, TokenScore),
) -> Result<()> {
    grow("the scores", scores, targets.len())?;
    let scores = &mut scores[..targets.len()];
    loss::token_scores(pool, model, normed, targets, loss, scores)?;
    scores.iter().zip(first..).for_each(|(&score, i)| each(i, score));
    Ok(())
}

/// Refuses an empty text, and ids that the model does not have.
pub(crate) fn check(model: &Network<impl Weight>, ids: &[u32]) -> Result<()> {
    if ids.is_empty() {
        return Err(Error::argument("the number of tokens", 0, "1 or more"));
    }
    match ids.iter().find(|&&id| id as usize >= model.vocab) {
        Some(id) => Err(Error::argument("a token id", id, "below the model's vocabulary size")),
        None => Ok(()),
    }
}
