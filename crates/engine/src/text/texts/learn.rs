//! Texts that a tokenizer is learnt from.

use super::parts::work_on;
use super::{Texts, Watch};
use crate::error::Result;
use crate::text::bpe::{PieceCounter, last_cut};
use cllm_kernels::Pool;
use std::ops::Range;

/// Bytes of which one thread counts the pieces at a time. What is counted depends on it where pieces are
/// dropped.
const PART: usize = 1 << 20;

impl Texts {
    /// Adds the pieces of a range of all bytes to `counter`, as of one text: [`joined`](Self::joined). Parts
    /// of a mebibyte are counted by themselves, by all threads of `pool`, and added one after the other, so
    /// that the counts are the same for any number of threads. `watch` is told how many bytes are done.
    ///
    /// # Errors
    /// As [`Pieces::next`](super::Pieces::next); `watch` stopped it.
    pub fn count_pieces(
        &self,
        range: Range<u64>,
        counter: &mut PieceCounter,
        pool: &Pool,
        watch: Watch<'_>,
    ) -> Result<()> {
        let rule = counter.rule();
        let work = |part: &[u8]| {
            let mut some = PieceCounter::new(rule);
            some.add(part)?;
            Ok(some)
        };
        let cut = |text: &[u8]| last_cut(rule, text);
        let mut take = |_, some: PieceCounter| counter.merge(&some);
        work_on(self.joined(range)?, PART, pool, &cut, &work, &mut take, watch)
    }
}
