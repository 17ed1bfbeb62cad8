//! What a run is told.

use cllm_engine::ModelConfig;
use cllm_engine::model::Activation;
use cllm_engine::train::{Decay, TrainerConfig};
use std::error::Error;
use std::str::FromStr;

/// Every option, with its default.
pub struct Options {
    /// `bytes` (256 tokens), `chars` (the bytes that occur), `words` (at most 10,000 of them), or a
    /// number: byte-level BPE of so many tokens, learnt from the training part.
    pub tokens: String,
    /// Training tokens of the whole run, all epochs together.
    pub total: usize,
    /// Instead of `total`: the work of training in 10¹² floating-point operations
    /// ([`cllm_engine::recipe::work`]), so that models of different sizes have the same time.
    pub work: f64,
    /// Sequences of a batch.
    pub batch: usize,
    /// The model and the length of windows (`dim`, `layers`, `heads`, `hidden`, `context`, `rotary`,
    /// `qk_norm`, `sharp`, `shifted_keys`, `output`, `untied`, `norm_parameters`, `biases`; `activation`
    /// is `gelu` or `squared_relu`). `original=true` begins with the block of the original library.
    pub model: ModelConfig,
    /// The rate at its peak, the steps up to it, and how it ends: `linear` (to 0), `cosine`,
    /// `constant`.
    pub rate: f32,
    pub warmup: u32,
    pub decay: Decay,
    /// The part of the run after which a linear decay begins.
    pub hold: f32,
    /// β₂, λ, the limit of the gradient's norm, the share left out; `short` and `short_part`: windows of
    /// so many tokens in that part of the run.
    pub trainer: TrainerConfig,
    /// Windows at random offsets, or batches in order.
    pub shuffle: bool,
    /// Whether Wo and W2 begin as zeros; otherwise N(0, 1/(2L·fan-in)).
    pub zero: bool,
    /// Deviation of the embeddings; 0: the library's.
    pub sigma: f32,
    pub seed: u64,
    pub threads: usize,
    /// Evaluations of the held-out text.
    pub evaluations: usize,
    /// An average of the weights is kept and evaluated beside them, which each step moves by one part
    /// of so many; 0: none.
    pub average: f32,
    /// Where the trained model is written; empty: nowhere.
    pub save: String,
    /// Two files of ids and the bytes of the second one's text.
    pub ids: Option<(String, String, usize)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: "chars".into(),
            total: 1_000_000,
            work: 0.0,
            batch: 8,
            model: ModelConfig::modern(),
            rate: 3e-3,
            warmup: 50,
            decay: Decay::Linear,
            hold: 0.0,
            trainer: TrainerConfig::default(),
            shuffle: true,
            zero: true,
            sigma: 0.0,
            seed: 1,
            threads: 2,
            evaluations: 8,
            average: 0.0,
            save: String::new(),
            ids: None,
        }
    }
}

fn parsed<T: FromStr<Err: Error + 'static>>(value: &str) -> Result<T, Box<dyn Error>> {
    Ok(value.parse()?)
}

impl Options {
    /// Takes `NAME=VALUE`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Box<dyn Error>> {
        let m = &mut self.model;
        match name {
            "original" if parsed(value)? => {
                let sizes = *m;
                let (vocab, dim, layers) = (sizes.vocab, sizes.dim, sizes.layers);
                let (heads, hidden, context) = (sizes.heads, sizes.hidden, sizes.context);
                let all = ModelConfig::default();
                *m = ModelConfig { vocab, dim, layers, heads, hidden, context, ..all };
            }
            "original" => {}
            "tokens" => self.tokens = value.into(),
            "total" => self.total = parsed::<f64>(value)? as usize,
            "work" => self.work = parsed(value)?,
            "batch" => self.batch = parsed(value)?,
            "dim" => (m.dim, m.hidden) = (parsed(value)?, 4 * parsed::<usize>(value)?),
            "layers" => m.layers = parsed(value)?,
            "heads" => m.heads = parsed(value)?,
            "hidden" => m.hidden = parsed(value)?,
            "context" => m.context = parsed(value)?,
            "rotary" => m.architecture.rotary = parsed(value)?,
            "qk_norm" => m.architecture.qk_norm = parsed(value)?,
            "sharp" => m.architecture.sharp = parsed(value)?,
            "shifted_keys" => m.architecture.shifted_keys = parsed(value)?,
            "output" => m.architecture.output = parsed(value)?,
            "untied" => m.architecture.untied = parsed(value)?,
            "norm_parameters" => m.norm_parameters = parsed(value)?,
            "biases" => m.biases = parsed(value)?,
            "activation" => {
                m.architecture.activation = match value {
                    "gelu" => Activation::Gelu,
                    "squared_relu" => Activation::SquaredRelu,
                    _ => return Err("gelu or squared_relu".into()),
                }
            }
            "rate" => self.rate = parsed(value)?,
            "warmup" => self.warmup = parsed(value)?,
            "decay" => {
                self.decay = match value {
                    "linear" => Decay::Linear,
                    "cosine" => Decay::Cosine,
                    "constant" => Decay::Constant,
                    _ => return Err("linear, cosine or constant".into()),
                }
            }
            "hold" => self.hold = parsed(value)?,
            "beta2" => self.trainer.beta2 = parsed(value)?,
            "weight_decay" => self.trainer.weight_decay = parsed(value)?,
            "clip" => self.trainer.clip = parsed(value)?,
            "dropout" => self.trainer.dropout = parsed(value)?,
            "short" => self.trainer.short_windows.positions = parsed(value)?,
            "short_part" => self.trainer.short_windows.part = parsed(value)?,
            "shuffle" => self.shuffle = parsed(value)?,
            "zero" => self.zero = parsed(value)?,
            "sigma" => self.sigma = parsed(value)?,
            "seed" => self.seed = parsed(value)?,
            "threads" => self.threads = parsed(value)?,
            "evaluations" => self.evaluations = parsed(value)?,
            "average" => self.average = parsed(value)?,
            "save" => self.save = value.into(),
            "ids" => {
                let parts: Vec<&str> = value.split(',').collect();
                let [train, held, bytes] = parts[..] else {
                    return Err("TRAIN,HELD,BYTES".into());
                };
                self.ids = Some((train.into(), held.into(), parsed(bytes)?));
            }
            _ => return Err("no such option".into()),
        }
        Ok(())
    }
}
