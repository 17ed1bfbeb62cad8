//! Texts that a tokenizer is learnt from.

use super::parts::{LastCut, work_on};
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
        self.count_by(range, counter, &|text| last_cut(rule, text), PieceCounter::add, pool, watch)
    }

    /// The same where each byte is a piece: [`PieceCounter::add_bytes`]. No text is too long for exact
    /// counts, nor has it a stretch without a cut.
    ///
    /// # Errors
    /// A text can't be read, or has changed; no memory; `watch` stopped it.
    pub fn count_bytes(
        &self,
        range: Range<u64>,
        counter: &mut PieceCounter,
        pool: &Pool,
        watch: Watch<'_>,
    ) -> Result<()> {
        let anywhere = |text: &[u8]| Some(text.len());
        self.count_by(range, counter, &anywhere, PieceCounter::add_bytes, pool, watch)
    }

    fn count_by(
        &self,
        range: Range<u64>,
        counter: &mut PieceCounter,
        last_cut: LastCut<'_>,
        add: fn(&mut PieceCounter, &[u8]) -> Result<()>,
        pool: &Pool,
        watch: Watch<'_>,
    ) -> Result<()> {
        let rule = counter.rule();
        let work = |part: &[u8]| {
            let mut some = PieceCounter::new(rule);
            add(&mut some, part)?;
            Ok(some)
        };
        let mut take = |_, some: PieceCounter| counter.merge(&some);
        work_on(self.joined(range)?, PART, pool, last_cut, &work, &mut take, watch)
    }
}
