//! What training costs, and how fast this machine does it.

use crate::error::Result;
use crate::model::{Model, ModelConfig};
use crate::order;
use crate::train::{Corpus, Trainer, TrainerConfig, TrainingPrecision, TrainingWeights};
use cllm_kernels::Pool;
use std::time::Instant;

/// Floating-point operations of training on one token: three times those of the forward pass, which
/// multiplies and adds once for each weight that a token meets, and 2·S·d times in the attention of
/// each block, where it meets S/2 keys and values in the mean:
/// 6·(L·(4·d² + 2·d·F) + V·d) + 6·L·S·d.
///
/// ```
/// use cllm_engine::ModelConfig;
/// use cllm_engine::recipe::work;
///
/// let model = ModelConfig { vocab: 512, ..ModelConfig::modern() };
/// assert_eq!(work(&model), 6.0 * (4.0 * 12.0 * 128.0 * 128.0 + 512.0 * 128.0 + 4.0 * 128.0 * 128.0));
/// ```
pub fn work(model: &ModelConfig) -> f64 {
    let [vocab, d, layers, hidden, context] =
        [model.vocab, model.dim, model.layers, model.hidden, model.context].map(|n| n as f64);
    let block = 4.0 * d * d + 2.0 * d * hidden + context * d;
    6.0 * (layers * block + vocab * d)
}

/// Sizes of the measurement: V = 512, d = 128, L = 4, S = 128, B = 8.
const BATCH: usize = 8;
/// Steps before it, which take memory and start threads.
const COLD: usize = 2;
/// Seconds of it, at least.
const SECONDS: f64 = 0.5;
/// Steps of it, at least.
const STEPS: usize = 5;
/// Seconds of all steps, at most, but for the last one.
const LONGEST: f64 = 2.0;

/// Floating-point operations of training in a second, as [`work`] counts them: trains a small model
/// for about half a second with the threads of `pool`. What it finds depends on the moment; it is the
/// only thing here that does. Half of the steps were slower: one that was disturbed does not count.
/// Where steps are slow, the one that ends after two seconds is the last, be it the first.
///
/// # Errors
/// Memory: about 30 MB; a precision that the processor lacks.
pub fn measure(pool: &Pool, precision: TrainingPrecision) -> Result<f64> {
    let config = ModelConfig { vocab: 512, ..ModelConfig::modern() };
    let rows = BATCH * config.context;
    // Any ids take as long.
    let ids: Vec<u32> = (0..=rows as u32).map(|i| i.wrapping_mul(2_654_435_761) >> 23).collect();
    let corpus = Corpus::new(&ids, BATCH, config.context)?;
    let mut weights = TrainingWeights::new(Model::new(&config, 1)?);
    let mut trainer = Trainer::new(TrainerConfig { precision, ..TrainerConfig::default() });
    let median = seconds_of_a_step(|| {
        let start = Instant::now();
        trainer.epoch(pool, &mut weights, &corpus, |_| std::ops::ControlFlow::Continue(()))?;
        Ok(start.elapsed().as_secs_f64())
    })?;
    Ok(work(&config) * rows as f64 / median.max(1e-9))
}

/// The median of the warm steps; `step` makes one and says how long it took.
fn seconds_of_a_step(mut step: impl FnMut() -> Result<f64>) -> Result<f64> {
    let (mut times, mut warm, mut all) = (Vec::new(), 0.0, 0.0);
    for number in 0.. {
        let took = step()?;
        all += took;
        // Beside a step of seconds it costs nothing that it was cold.
        if number >= COLD || all >= LONGEST {
            times.push(took);
            warm += took;
        }
        let enough = times.len() >= STEPS && warm >= SECONDS;
        if enough || all >= LONGEST {
            break;
        }
    }
    order::sort_by(&mut times, f64::total_cmp);
    Ok(times[times.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of steps that take so long, the last of them again and again, and how many are made.
    fn measured(seconds: &[f64]) -> (f64, usize) {
        let mut made = 0;
        let median = seconds_of_a_step(|| {
            made += 1;
            assert!(made < 1_000_000, "it does not end");
            Ok(seconds[(made - 1).min(seconds.len() - 1)])
        });
        (median.unwrap(), made)
    }

    #[test]
    fn quick_steps_are_measured_for_half_a_second() {
        assert_eq!(measured(&[0.5, 0.25, 0.0625]), (0.0625, 2 + 8));
        assert_eq!(measured(&[0.125]), (0.125, 2 + 5));
        // One that was disturbed does not count.
        assert_eq!(measured(&[0.0625, 0.0625, 0.0625, 0.375, 0.03125]).0, 0.03125);
    }

    #[test]
    fn slow_steps_end_the_measurement() {
        assert_eq!(measured(&[3600.0]), (3600.0, 1));
        assert_eq!(measured(&[1.5]), (1.5, 2));
        assert_eq!(measured(&[0.5]), (0.5, 4));
        assert_eq!(measured(&[0.01, 0.01, 30.0]), (30.0, 3));
    }
}
