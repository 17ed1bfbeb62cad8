//! How fast a model learns: trains on a text and prints the held-out loss in bits per byte against
//! tokens and seconds. Every part of the recipe is an option, for comparisons.
//!
//! ```text
//! cargo run --release -p cllm-engine --example learn -- TEXT [OPTION=VALUE ...]
//! ```
//!
//! The last tenth of the bytes is held out. Evaluations don't count as time. [`Options`] lists the
//! options with their defaults; `ids=TRAIN,HELD,BYTES` takes two files of ids (`dataset.bin` of
//! FORMAT.md) and the length of the held-out text in bytes in the place of a text.

use cllm_engine::model::{Activation, Part};
use cllm_engine::rng::{fill_normal, seeded};
use cllm_engine::train::{Corpus, Decay, Schedule, Trainer, TrainerConfig, TrainingWeights};
use cllm_engine::{Dataset, Model, ModelConfig, Pool, evaluate};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

/// Every option, with its default.
struct Options {
    /// `bytes` (256 tokens) or `chars` (the bytes that occur).
    tokens: String,
    /// Training tokens of the whole run, all epochs together.
    total: usize,
    /// Sequences of a batch.
    batch: usize,
    /// The model and the length of windows (`dim`, `layers`, `heads`, `hidden`, `context`, `rotary`,
    /// `qk_norm`, `output`, `untied`, `norm_parameters`, `biases`; `activation` is `gelu` or
    /// `squared_relu`). `original=true` begins with the block of the original library.
    model: ModelConfig,
    /// The rate at its peak, the steps up to it, and how it ends: `linear` (to 0), `cosine`,
    /// `constant`.
    rate: f32,
    warmup: u32,
    decay: Decay,
    /// β₂, λ, the limit of the gradient's norm, the share left out.
    trainer: TrainerConfig,
    /// Windows at random offsets, or batches in order.
    shuffle: bool,
    /// Whether Wo and W2 begin as zeros; otherwise N(0, 1/(2L·fan-in)).
    zero: bool,
    /// Deviation of the embeddings; 0: the library's.
    sigma: f32,
    seed: u64,
    threads: usize,
    /// Evaluations of the held-out text.
    evaluations: usize,
    /// Where the trained model is written; empty: nowhere.
    save: String,
    /// Two files of ids and the bytes of the second one's text.
    ids: Option<(String, String, usize)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: "chars".into(),
            total: 1_000_000,
            batch: 8,
            model: ModelConfig::modern(),
            rate: 3e-3,
            warmup: 50,
            decay: Decay::Linear,
            trainer: TrainerConfig::default(),
            shuffle: true,
            zero: true,
            sigma: 0.0,
            seed: 1,
            threads: 2,
            evaluations: 8,
            save: String::new(),
            ids: None,
        }
    }
}

fn parsed<T: FromStr<Err: Error + 'static>>(value: &str) -> Result<T, Box<dyn Error>> {
    Ok(value.parse()?)
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Box<dyn Error>> {
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
            "batch" => self.batch = parsed(value)?,
            "dim" => (m.dim, m.hidden) = (parsed(value)?, 4 * parsed::<usize>(value)?),
            "layers" => m.layers = parsed(value)?,
            "heads" => m.heads = parsed(value)?,
            "hidden" => m.hidden = parsed(value)?,
            "context" => m.context = parsed(value)?,
            "rotary" => m.architecture.rotary = parsed(value)?,
            "qk_norm" => m.architecture.qk_norm = parsed(value)?,
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
            "beta2" => self.trainer.beta2 = parsed(value)?,
            "weight_decay" => self.trainer.weight_decay = parsed(value)?,
            "clip" => self.trainer.clip = parsed(value)?,
            "dropout" => self.trainer.dropout = parsed(value)?,
            "shuffle" => self.shuffle = parsed(value)?,
            "zero" => self.zero = parsed(value)?,
            "sigma" => self.sigma = parsed(value)?,
            "seed" => self.seed = parsed(value)?,
            "threads" => self.threads = parsed(value)?,
            "evaluations" => self.evaluations = parsed(value)?,
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

/// Training ids, held-out ids, the number of tokens, and the bytes that the held-out ids stand for.
struct Data {
    train: Vec<u32>,
    held: Vec<u32>,
    vocab: usize,
    held_bytes: usize,
}

fn data(text: &str, options: &Options) -> Result<Data, Box<dyn Error>> {
    if let Some((train, held, held_bytes)) = &options.ids {
        let read = |path: &str| -> Result<Vec<u32>, Box<dyn Error>> {
            Ok(Dataset::read(Path::new(path))?.ids().to_vec())
        };
        let (train, held) = (read(train)?, read(held)?);
        let vocab = train.iter().chain(&held).max().map_or(0, |&id| id as usize + 1);
        return Ok(Data { train, held, vocab, held_bytes: *held_bytes });
    }
    let bytes = std::fs::read(text)?;
    let all: Vec<u8> = match options.tokens.as_str() {
        "bytes" => (0..=255).collect(),
        "chars" => bytes.iter().copied().collect::<BTreeSet<u8>>().into_iter().collect(),
        _ => return Err("tokens: bytes or chars".into()),
    };
    let mut id = [0; 256];
    (0..).zip(&all).for_each(|(i, &byte)| id[usize::from(byte)] = i);
    let ids: Vec<u32> = bytes.iter().map(|&byte| id[usize::from(byte)]).collect();
    let cut = ids.len() - ids.len() / 10;
    let (train, held) = ids.split_at(cut);
    Ok(Data {
        train: train.to_vec(),
        held: held.to_vec(),
        vocab: all.len(),
        held_bytes: held.len(),
    })
}

/// Another start than the library's, where one is asked for.
fn restart(model: &mut Model, options: &Options) {
    let (config, mut rng) = (model.config(), seeded(options.seed ^ 0x5EED));
    let sublayers = (2 * config.layers) as f32;
    model.params_mut().map(|part, _, t| match part {
        Part::Embeddings if options.sigma > 0.0 => fill_normal(&mut rng, t, options.sigma),
        Part::Output if !options.zero => {
            fill_normal(&mut rng, t, (sublayers * config.dim as f32).sqrt().recip());
        }
        Part::W2 if !options.zero => {
            fill_normal(&mut rng, t, (sublayers * config.hidden as f32).sqrt().recip());
        }
        _ => {}
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let text = arguments.next().ok_or("learn TEXT [OPTION=VALUE ...]")?;
    let mut options = Options::default();
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or(format!("{argument}: NAME=VALUE"))?;
        options.set(name, value).map_err(|error| format!("{argument}: {error}"))?;
    }
    let data = data(&text, &options)?;
    options.model.vocab = data.vocab;
    let mut model = Model::new(&options.model, options.seed)?;
    restart(&mut model, &options);
    let pool = Pool::shared(options.threads);
    let context = options.model.context;
    let corpus = Corpus::new(&data.train, options.batch, context)?;
    let corpus = if options.shuffle { corpus.shuffled(options.seed) } else { corpus };
    if corpus.batches() == 0 {
        return Err("the text is shorter than a batch".into());
    }
    let steps = options.total.div_ceil(corpus.rows()).max(1) as u32;
    let base = Schedule { decay: options.decay, ..Schedule::linear(options.rate, 0, steps) };
    let config = TrainerConfig {
        schedule: Schedule { warmup: options.warmup.min(steps / 2), ..base },
        seed: options.seed,
        ..options.trainer
    };
    println!(
        "{} tokens, {} held out ({} bytes), V {}, {} weights, {steps} steps of {}x{context}",
        data.train.len(),
        data.held.len(),
        data.held_bytes,
        data.vocab,
        model.view().weights(),
        options.batch,
    );
    println!("   tokens  seconds  train nats/token  held nats/token  nats/byte  bits/byte");
    let mut weights = TrainingWeights::new(&mut model);
    let mut trainer = Trainer::new(config);
    let (mut seconds, mut loss, mut since) = (0.0, 0.0, 0);
    let mut began = Instant::now();
    let evaluations = options.evaluations.max(1) as u32;
    while trainer.counters.step < steps {
        let rate = trainer.scheduled_rate();
        let Some((step, _)) = trainer.next_step(&pool, &mut weights, &corpus, rate)? else {
            continue;
        };
        loss += f64::from(step.loss);
        since += 1;
        let before = |step: u32| u64::from(step) * u64::from(evaluations) / u64::from(steps);
        if before(step.number) > before(step.number - 1) {
            seconds += began.elapsed().as_secs_f64();
            let held = evaluate(&pool, &weights.model().view(), &data.held, context)?;
            let nats = held.mean_loss * held.tokens as f64 / data.held_bytes as f64;
            println!(
                "{:9}  {seconds:7.1}  {:16.4}  {:15.4}  {nats:9.4}  {:9.4}",
                step.number as usize * corpus.rows(),
                loss / f64::from(since),
                held.mean_loss,
                nats / std::f64::consts::LN_2,
            );
            (loss, since, began) = (0.0, 0, Instant::now());
        }
    }
    drop(weights);
    if !options.save.is_empty() {
        model.write(&options.save)?;
    }
    Ok(())
}
