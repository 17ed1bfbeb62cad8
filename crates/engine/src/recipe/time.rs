//! Where the time goes: evaluations, and the end of a run.

use super::constants as c;

/// Evaluations of a run of `steps` steps of `rows` tokens: after how many steps each, and of how many
/// of the `held_out` tokens. A pure function, so that the best weights are the same ones in each run.
///
/// An evaluation of n tokens costs the forward pass, a third of training on them. All together cost at
/// most [`c::EVALUATION_PART`] of the run's work: there are [`c::EVALUATIONS_LEAST`] to
/// [`c::EVALUATIONS_MOST`] of them, as many as the whole held-out text allows, and of a part of that
/// text, at least two tokens, where the fewest would cost more.
///
/// ```
/// use cllm_engine::recipe::evaluations;
///
/// // 4,000 steps of 1,024 tokens: 50,000 held-out tokens at 7.68 evaluations' cost allow 8 of them,
/// // nearly whole.
/// let (every, tokens) = evaluations(4_000, 1_024, 50_000);
/// assert_eq!((every, tokens), (500, 48_000));
/// assert_eq!(evaluations(4_000, 1_024, 1_000), (100, 1_000));
/// ```
pub fn evaluations(steps: u32, rows: usize, held_out: u64) -> (u32, u64) {
    // Forward passes over so many tokens are paid for.
    let paid = 3.0 * c::EVALUATION_PART * f64::from(steps) * rows as f64;
    let whole = (paid / held_out.max(1) as f64) as u64;
    let most = c::EVALUATIONS_MOST.min(u64::from(steps)).max(1);
    let count = whole.clamp(c::EVALUATIONS_LEAST.min(most), most);
    let every = u64::from(steps).div_ceil(count).max(1);
    let tokens = ((paid / count as f64) as u64).max(2).min(held_out);
    (u32::try_from(every).unwrap_or(u32::MAX), tokens)
}

/// How many steps should follow, after `done` steps took `elapsed` seconds, where `seconds` are left
/// and `planned` steps were to come: `planned`, unless that would miss the time by a hundredth of it;
/// then as many as fit. Of numbers that say nothing (no steps done, no time measured) comes `planned`.
///
/// ```
/// use cllm_engine::recipe::steps_left;
///
/// assert_eq!(steps_left(100, 1.0, 900, 9.05), 900);
/// assert_eq!(steps_left(100, 2.0, 900, 8.0), 400);
/// assert_eq!(steps_left(100, 0.5, 900, 9.5), 1900);
/// assert_eq!(steps_left(100, 2.0, 900, -1.0), 0);
/// ```
pub fn steps_left(done: u32, elapsed: f64, planned: u32, seconds: f64) -> u32 {
    let each = elapsed / f64::from(done);
    if !(each.is_finite() && each > 0.0 && seconds.is_finite()) {
        return planned;
    }
    let off = (f64::from(planned) * each - seconds).abs();
    if off <= 0.01 * seconds {
        return planned;
    }
    // A cast ends at the ends of the range.
    (seconds / each) as u32
}
