//! Small transformer language models on the CPU: read text, build a vocabulary, train, save, load,
//! generate, evaluate. The engine of the CLLM library for C programs; a Rust program uses it as it
//! is, without a line of `unsafe`.
//!
//! Build with `--release`: without optimisation it computes hundreds of times more slowly. For other
//! profiles this in the program's `Cargo.toml` is nearly as fast:
//!
//! ```toml
//! [profile.dev.package.cllm-kernels]
//! opt-level = 3
//! debug-assertions = false
//! overflow-checks = false
//! ```
//!
//! ```
//! use cllm_engine::generate::{Generator, GeneratorConfig};
//! use cllm_engine::train::{Corpus, Trainer, TrainerConfig, TrainingWeights};
//! use cllm_engine::{Dataset, Model, ModelConfig, Pool, Vocabulary, evaluate};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> cllm_engine::Result<()> {
//! // Text to words, words to ids.
//! let text = "one two three four five six . ".repeat(30);
//! let vocabulary = Vocabulary::from_text(text.as_bytes(), 1000, 1)?;
//! let dataset = Dataset::from_text(text.as_bytes(), &vocabulary)?;
//!
//! // A model, and its training.
//! let config = ModelConfig {
//!     vocab: vocabulary.len(),
//!     dim: 32,
//!     layers: 1,
//!     heads: 2,
//!     hidden: 64,
//!     context: 8,
//!     ..ModelConfig::default()
//! };
//! let mut model = Model::new(&config, 42)?;
//! model.set_tokenizer(vocabulary)?;
//! let pool = Pool::shared(2);
//! let corpus = Corpus::new(dataset.ids(), 4, 8)?;
//! let mut weights = TrainingWeights::new(&mut model);
//! let mut trainer = Trainer::new(TrainerConfig::default());
//! for _ in 0..40 {
//!     trainer.epoch(&pool, &mut weights, &corpus, |_| ControlFlow::Continue(()))?;
//! }
//!
//! // To a file and back: whole or not at all, under checksums.
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("counting.cllm");
//! model.write(&path)?;
//! let model = Model::read(&path)?;
//! assert!(evaluate(&pool, &model.view(), dataset.ids(), 8)?.perplexity() < 2.0);
//!
//! // The likeliest continuation of a prompt.
//! let words = model.vocabulary().expect("it was given one");
//! let greedy = GeneratorConfig { greedy: true, max_tokens: 3, ..Default::default() };
//! let mut generator = Generator::new(greedy, 1)?;
//! generator.prompt(&words.encode(b"one two")?)?;
//! let ids = generator.tokens(&model).collect::<cllm_engine::Result<Vec<u32>>>()?;
//! assert_eq!(words.decode(&ids)?, b"three four five");
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! | Module | Holds |
//! |---|---|
//! | [`model`] | the owned [`Model`], its sizes, the list of its tensors, how they start |
//! | [`text`] | [`Vocabulary`], [`Dataset`], how text is split |
//! | [`train`] | the trainer: steps, epochs, schedules, checkpoints |
//! | [`generate`] | the generator: settings, the next token, streams, saved states |
//! | [`score`] | what a model says of a text: the probability of each token, what comes next, a vector |
//! | [`nn`] | the forward pass and its gradient, over borrowed weights ([`ModelRef`]) |
//! | [`mod@file`] | model files: the layout, reading and writing without a second copy, what is damaged |
//! | [`recipe`] | from the size of a text and the time to everything that a run is told |
//! | [`report`] | the record of a run, and its picture |
//! | [`order`] | values in order, by little code |
//! | [`limits`], [`error`] | every limit with its reason; what can go wrong |
//!
//! # What holds everywhere
//!
//! - **Errors.** What can fail returns [`Result`]; the text of an [`Error`] names the argument, size
//!   or file at fault, and programs ask for its [`kind`](Error::kind). Wrong arguments, damaged files
//!   and missing memory are errors, not panics. The sizes of a model have their names from the C headers
//!   (`vocab_size`, `embedding_dim`).
//! - **Numbers.** Weights are `f32`, every matrix row-major `[out][in]`. Losses are in nats per
//!   token. A result is a function of data, settings and seed, bit for bit: never of the number of
//!   threads.
//! - **Threads.** All types here are [`Send`] and [`Sync`]. What changes takes `&mut`; any number of
//!   threads may read a model at once, each with a generator of its own. A [`Pool`] computes with
//!   as many threads as it was asked for.
//! - **Files.** They appear whole or not at all, and are the files that the C library reads and
//!   writes.
//! - **Text** is bytes; nothing here needs it to be UTF-8.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// Its example is tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod error;
mod evaluate;
pub mod file;
pub mod generate;
pub mod limits;
pub mod log;
pub mod model;
pub mod nn;
pub mod order;
pub mod recipe;
pub mod report;
pub mod rng;
pub mod score;
pub mod system;
pub mod text;
pub mod train;

pub use cllm_kernels::Pool;
pub use error::{Error, ErrorKind, Result};
pub use evaluate::{Evaluation, evaluate, evaluate_first};
pub use model::{MappedModel, Model, ModelConfig, ModelRef, QuantizedModel};
pub use text::{Dataset, Vocabulary};
