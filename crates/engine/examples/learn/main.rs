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

mod data;
mod options;

use cllm_engine::model::Part;
use cllm_engine::recipe::work;
use cllm_engine::rng::{fill_normal, seeded};
use cllm_engine::train::{Corpus, Schedule, Trainer, TrainerConfig, TrainingWeights};
use cllm_engine::{Evaluation, Model, Pool, evaluate};
use options::Options;
use std::error::Error;
use std::time::Instant;

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

/// Moves every weight of `average` towards that of `model` by a part of the way.
fn follow(average: &mut Model, model: &Model, part: f32) {
    let now = model.view();
    let mut now = now.params.tensors().into_iter();
    average.params_mut().map(|_, _, t| {
        let now = now.next().map_or(&[][..], |(.., now)| now);
        t.iter_mut().zip(now).for_each(|(a, w)| *a += part * (w - *a));
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
    let data = data::data(&text, &options)?;
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
    let total = match options.work > 0.0 {
        true => (options.work * 1e12 / work(&options.model)) as usize,
        false => options.total,
    };
    let steps = total.div_ceil(corpus.rows()).max(1) as u32;
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
    let mut average = Model::new(&options.model, options.seed)?;
    let mut weights = TrainingWeights::new(&mut model);
    let mut trainer = Trainer::new(config);
    let (mut seconds, mut loss, mut since) = (0.0, 0.0, 0);
    let mut began = Instant::now();
    let evaluations = options.evaluations.max(1) as u32;
    while trainer.counters.step < steps {
        let rate = match options.hold > 0.0 && trainer.counters.step > options.warmup {
            true => {
                let left = 1.0 - trainer.counters.step as f32 / steps as f32;
                options.rate * (left / (1.0 - options.hold)).min(1.0)
            }
            false => trainer.scheduled_rate(),
        };
        let Some((step, _)) = trainer.next_step(&pool, &mut weights, &corpus, rate)? else {
            continue;
        };
        loss += f64::from(step.loss);
        if options.average > 0.0 {
            let part = (1.0 / options.average).max(1.0 / step.number as f32);
            follow(&mut average, weights.model(), part);
        }
        since += 1;
        let before = |step: u32| u64::from(step) * u64::from(evaluations) / u64::from(steps);
        if before(step.number) > before(step.number - 1) {
            seconds += began.elapsed().as_secs_f64();
            let held = evaluate(&pool, &weights.model().view(), &data.held, context)?;
            let nats = |held: &Evaluation| (held.nats() + data.spelling) / data.held_bytes as f64;
            let averaged = match options.average > 0.0 {
                true => {
                    let held = evaluate(&pool, &average.view(), &data.held, context)?;
                    format!("  of the average {:.4} nats/byte", nats(&held))
                }
                false => String::new(),
            };
            let nats = nats(&held);
            println!(
                "{:9}  {seconds:7.1}  {:16.4}  {:15.4}  {nats:9.4}  {:9.4}{averaged}",
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
