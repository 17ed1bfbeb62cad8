//! The loop around training steps: how far it is, what it did, when it ends.

use super::trainer::Step;
use crate::error::Result;
use std::ops::ControlFlow;
use std::time::Instant;

/// Where in its epoch a step stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The epoch, counted from 0.
    pub epoch: u32,
    /// The batch of the epoch, counted from 1.
    pub batch: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// B·S: tokens in the batch.
    pub tokens: usize,
}

/// What is told after each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The step.
    pub step: Step,
    /// Where it stood.
    pub position: Position,
    /// Mean speed of this run so far.
    pub tokens_per_second: f64,
    /// Seconds to the end of the epoch at that speed.
    pub seconds_left: f64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Run {
    /// Steps.
    pub steps: usize,
    /// Whether it was told to stop.
    pub stopped: bool,
    loss_sum: f64,
}

impl Run {
    /// Mean loss of the steps in nats per token, each taken before its update; 0 without any, as where a
    /// call with a limit found the epoch at its end.
    pub fn mean_loss(&self) -> f32 {
        if self.steps == 0 { 0.0 } else { (self.loss_sum / self.steps as f64) as f32 }
    }
}

/// Takes steps from `next`, which is told how many there were, until it has none, or `limit` of
/// them, or until `watch` breaks and `settle` agrees: it is told after each step whether `watch` ever
/// broke, and says whether to stop, or `None` where that is not settled yet.
///
/// # Errors
/// The first one of `next` or `settle`; the steps before it are done.
pub fn run(
    limit: Option<usize>,
    mut next: impl FnMut(usize) -> Result<Option<(Step, Position)>>,
    mut watch: impl FnMut(&Progress) -> ControlFlow<()>,
    mut settle: impl FnMut(bool) -> Result<Option<bool>>,
) -> Result<Run> {
    let began = Instant::now();
    let mut run = Run::default();
    let mut stop = false;
    while limit.is_none_or(|limit| run.steps < limit) {
        let Some((step, position)) = next(run.steps)? else { break };
        run.steps += 1;
        run.loss_sum += f64::from(step.loss);
        let each = began.elapsed().as_secs_f64() / run.steps as f64;
        let left = position.batches.saturating_sub(position.batch);
        let progress = Progress {
            step,
            position,
            // A clock that did not move must not make an infinity.
            tokens_per_second: position.tokens as f64 / each.max(1e-9),
            seconds_left: each * left as f64,
        };
        stop |= watch(&progress).is_break();
        if settle(stop)? == Some(true) {
            run.stopped = true;
            break;
        }
    }
    Ok(run)
}
