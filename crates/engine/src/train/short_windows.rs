//! Shorter windows in the first part of a run.

use super::batch::Corpus;
use super::schedule::Schedule;

/// Shorter windows in the first part of a run: what a model learns from the nearest tokens it learns
/// sooner from many short windows, and what stands far apart from long ones at the end ("sequence length
/// warm-up", Li et al. 2022). A batch has as many tokens in either part.
///
/// ```
/// use cllm_engine::train::{Corpus, Schedule, ShortWindows};
///
/// let short = ShortWindows { positions: 8, part: 0.75 };
/// let ids = [1; 100];
/// let corpus = Corpus::new(&ids, 1, 32)?;
/// let schedule = Schedule::linear(1e-3, 0, 40);
/// assert_eq!(short.of(&corpus, &schedule, 29).sequences(), 4);
/// assert_eq!(short.of(&corpus, &schedule, 30).sequences(), 1);
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShortWindows {
    /// Tokens of each, a divisor of the corpus's S; 0, or S and more: there are none.
    pub positions: usize,
    /// The part of the schedule's steps that has them, 0 to 1.
    pub part: f32,
}

impl ShortWindows {
    /// The step from which on windows have their whole length.
    pub fn end(&self, schedule: &Schedule) -> u32 {
        // A cast ends at the ends of the range.
        (f64::from(self.part) * f64::from(schedule.end)).round() as u32
    }

    /// The corpus of a step, the first one being 0. Where the short windows don't divide the long ones it
    /// stays as it is.
    pub fn of<'a>(&self, corpus: &Corpus<'a>, schedule: &Schedule, step: u32) -> Corpus<'a> {
        match step < self.end(schedule) {
            true => corpus.cut(self.positions).unwrap_or(*corpus),
            false => *corpus,
        }
    }
}
