//! Lets the library choose how to train on a text file for some seconds, and says what a byte of its end costs.

use cllm_engine::recipe::{self, Fixed, Recipe, Task, Tokens};
use cllm_engine::text::Bpe;
use cllm_engine::train::{Corpus, Trainer, TrainingPrecision, TrainingWeights};
use cllm_engine::{Error, Model, Pool, Result, evaluate};
use std::ops::ControlFlow;
use std::time::Instant;

fn learn(text: &[u8], seconds: f64) -> Result<Model> {
    let (began, pool) = (Instant::now(), Pool::automatic());
    let (training, held_out) = text.split_at(text.len() - text.len() / 10);
    let (bytes, speed) = (training.len() as u64, recipe::measure(&pool, TrainingPrecision::F32)?);
    let task = Task { bytes, seconds: Some(seconds), speed, ..Task::default() };
    let first = Recipe::new(&task)?;
    let subwords = match first.tokens {
        Tokens::Bytes => Bpe::bytes()?, // Too short for parts of words.
        _ => Bpe::train([training], first.vocab())?,
    };
    let (ids, end) = (subwords.encode(training)?, subwords.encode(held_out)?);

    // Again, with what is known by now: the tokens, and the time that is left.
    let (tokens, measured) = (Some(ids.len() as u64), Some(end.len() as u64));
    let left = || seconds - began.elapsed().as_secs_f64();
    let fixed = Fixed { tokens: Some(first.tokens), vocab: Some(subwords.len()), ..task.fixed };
    let task = Task { tokens, held_out: measured, seconds: Some(left().max(0.1)), fixed, ..task };
    let recipe = Recipe::new(&task)?;
    println!("{recipe}");

    let mut model = Model::new(&recipe.model, 1)?;
    model.set_tokenizer(subwords)?;
    let corpus = Corpus::new(&ids, recipe.batch, recipe.model.context)?.shuffled(1);
    let mut weights = TrainingWeights::new(&mut model);
    let mut trainer = Trainer::new(recipe.trainer);
    let started = Instant::now();
    loop {
        let (step, end) = (trainer.counters.step, trainer.config.schedule.end);
        if step >= end {
            break;
        }
        let some = recipe.evaluate_every.min(end - step) as usize;
        let run =
            trainer.run(&pool, &mut weights, &corpus, Some(some), |_| ControlFlow::Continue(()))?;
        if run.steps > 0 {
            // None where it only ended an epoch.
            println!("step {}: loss {:.3}", trainer.counters.step, run.mean_loss());
        }
        // The machine may be slower or faster than it was: the rate falls to zero when the time is over.
        let (step, elapsed) = (trainer.counters.step, started.elapsed().as_secs_f64());
        let planned = end.saturating_sub(step);
        if planned > 0 {
            let more = recipe::steps_left(step, elapsed, planned, left());
            let end = step.saturating_add(more);
            trainer.config.schedule = trainer.config.schedule.ending(step, end);
        }
    }
    drop(weights);
    let loss = evaluate(&pool, &model.view(), &end, recipe.model.context)?;
    let bits = loss.nats() / std::f64::consts::LN_2 / held_out.len() as f64;
    println!(
        "{bits:.2} bits for a byte of the last tenth, after {:.0} s",
        began.elapsed().as_secs_f64()
    );
    Ok(model)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, model, seconds] = &arguments[..] else {
        eprintln!("usage: learn TEXT MODEL SECONDS");
        std::process::exit(2);
    };
    let seconds = seconds.parse().map_err(|e| Error::state(format!("{seconds}: {e}")))?;
    let text = std::fs::read(text).map_err(|e| Error::state(format!("{text}: {e}")))?;
    learn(&text, seconds)?.write(model)
}
