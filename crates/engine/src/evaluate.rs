//! How well a model predicts a text.

use crate::error::{Error, Result};
use crate::model::{Network, Weight};
use crate::text::Ids;
use crate::train::workspace::Workspace;
use cllm_kernels::{Pool, functions};

/// How well a model predicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy in nats per token.
    pub mean_loss: f64,
    /// How many tokens were predicted.
    pub tokens: usize,
}

impl Evaluation {
    /// Of `tokens` tokens whose loss together is `nats`.
    pub(crate) fn of(nats: f64, tokens: usize) -> Self {
        Self { mean_loss: if tokens == 0 { 0.0 } else { nats / tokens as f64 }, tokens }
    }

    /// e^mean_loss: among how many equally likely tokens the model is undecided, in the mean.
    pub fn perplexity(&self) -> f64 {
        functions::exp(self.mean_loss)
    }

    /// The loss of all predicted tokens together, in nats.
    pub fn nats(&self) -> f64 {
        self.mean_loss * self.tokens as f64
    }

    /// The loss in bits for each of the `bytes` bytes of the text: nats / ln 2 / bytes. It compares
    /// models whatever their tokens are: words, parts of words, single bytes. NaN where `bytes` is 0.
    ///
    /// ```
    /// use cllm_engine::Evaluation;
    ///
    /// // Four tokens of two bytes, each as likely as a side of a coin.
    /// let coin = Evaluation { mean_loss: f64::ln(2.0), tokens: 4 };
    /// assert_eq!(coin.bits_per_byte(8), 0.5);
    /// ```
    pub fn bits_per_byte(&self, bytes: u64) -> f64 {
        if bytes == 0 { f64::NAN } else { self.nats() / std::f64::consts::LN_2 / bytes as f64 }
    }
}

/// Mean loss of `ids`, such as held-out text in an array or a file, cut into windows of `window` tokens that don't see
/// each other (the last one may be shorter). Token i + 1 is predicted from the tokens up to i of
/// its window. The context that the model was trained with makes a good window. An id that the
/// model has not is a token without an embedding, and is not counted where it is to be predicted.
///
/// The result is the same, bit for bit, for any number of threads.
///
/// ```
/// use cllm_engine::{Model, ModelConfig, Pool, evaluate};
///
/// let config = ModelConfig { vocab: 8, dim: 16, heads: 2, hidden: 64, ..ModelConfig::default() };
/// let model = Model::new(&config, 1)?;
/// let held_out = [5, 6, 7, 5, 6, 7, 5, 6, 7];
/// let result = evaluate(&Pool::serial(), &model.view(), &held_out, 4)?;
/// assert_eq!(result.tokens, 8);
/// // A model that knows nothing is undecided among all tokens.
/// assert!((result.perplexity() - 8.0).abs() < 4.0);
/// # Ok::<(), cllm_engine::Error>(())
/// ```
///
/// # Errors
/// Fewer than two ids; a window of 0; no id to predict that the model has; no memory.
pub fn evaluate<'a>(
    pool: &Pool,
    model: &Network<impl Weight>,
    ids: impl Into<Ids<'a>>,
    window: usize,
) -> Result<Evaluation> {
    let ids = ids.into();
    evaluate_first(pool, model, ids, ids.len(), window)
}

/// [`evaluate`] for the first `count` of the ids.
///
/// # Errors
/// As there.
pub fn evaluate_first<'a>(
    pool: &Pool,
    model: &Network<impl Weight>,
    ids: impl Into<Ids<'a>>,
    count: usize,
    window: usize,
) -> Result<Evaluation> {
    let ids = ids.into();
    let count = count.min(ids.len());
    if count < 2 {
        return Err(Error::argument("the number of tokens", count, "2 or more"));
    }
    if window == 0 {
        return Err(Error::argument("the window", 0, "1 or more"));
    }
    let (mean_loss, tokens) = Workspace::default().evaluate_ids(pool, model, ids, count, window)?;
    // A loss of 0 would be that of a perfect model.
    if tokens == 0 {
        let vocab = model.vocab;
        return Err(Error::state(format!(
            "no id to measure: of the first {count} none after the first is below the model's \
             vocabulary size of {vocab}"
        )));
    }
    Ok(Evaluation { mean_loss, tokens })
}
