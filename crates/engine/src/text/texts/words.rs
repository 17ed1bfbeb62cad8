//! Texts as whole words.

use super::encode::Coder;
use super::parts::work_on;
use super::{Texts, Watch, tell};
use crate::error::Result;
use crate::limits::{COUNTED_WORD_BYTES, COUNTED_WORDS};
use crate::text::count::{Counter, Keep, SomeWords, WordCounts};
use crate::text::index::{Lookup, Words};
use crate::text::split::{is_blank, text_words};
use crate::text::{TokenFile, Vocabulary};
use crate::train::checkpoint::words_checksum;
use cllm_kernels::Pool;
use std::ops::Range;
use std::path::Path;

/// Bytes of which one thread counts the words at a time. What is counted depends on it where counts are
/// dropped.
const PART: usize = 1 << 20;

/// What texts are as words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Number of words.
    pub words: u64,
    /// Bytes, where every run of white space is one.
    pub characters: u64,
    /// How often each byte is met in the words, and the space, which stands behind each of them.
    pub bytes: [u64; 256],
}

/// Of a part.
struct Part {
    measure: Measure,
    /// Whether its first and its last byte are white space.
    blanks: (bool, bool),
}

fn measure(text: &[u8]) -> Part {
    let (mut bytes, mut runs, mut words, mut after_blank) = ([0u64; 256], 0, 0, true);
    for &byte in text {
        bytes[usize::from(byte)] += 1;
        let blank = is_blank(byte);
        words += u64::from(after_blank && !blank);
        runs += u64::from(!after_blank && blank);
        after_blank = blank;
    }
    let blanks = [text.first(), text.last()].map(|byte| byte.is_some_and(|&byte| is_blank(byte)));
    runs += u64::from(blanks[0]); // for which nothing stood before
    (0..=u8::MAX).filter(|&byte| is_blank(byte)).for_each(|byte| bytes[usize::from(byte)] = 0);
    let characters = bytes.iter().sum::<u64>() + runs;
    bytes[usize::from(b' ')] = words;
    Part { measure: Measure { words, characters, bytes }, blanks: (blanks[0], blanks[1]) }
}

fn last_blank(text: &[u8]) -> Option<usize> {
    text.iter().rposition(|&byte| is_blank(byte))
}

impl Texts {
    /// What a range of all bytes is as words. `watch` is told how many bytes are done.
    ///
    /// # Errors
    /// As [`Pieces::next`](super::Pieces::next); `watch` stopped it.
    pub fn measure_words(
        &self,
        range: Range<u64>,
        pool: &Pool,
        watch: Watch<'_>,
    ) -> Result<Measure> {
        let mut all = Measure { words: 0, characters: 0, bytes: [0; 256] };
        let mut after_blank = false;
        let mut take = |first: bool, part: Part| {
            // One run of white space, cut in two.
            let same_run = !first && after_blank && part.blanks.0;
            after_blank = part.blanks.1;
            all.words += part.measure.words;
            all.characters += part.measure.characters - u64::from(same_run);
            all.bytes.iter_mut().zip(part.measure.bytes).for_each(|(sum, count)| *sum += count);
            Ok(())
        };
        let work = |part: &[u8]| Ok(measure(part));
        work_on(self.pieces(range)?, PART, pool, &last_blank, &work, &mut take, watch)?;
        Ok(all)
    }

    /// The byte of all texts at which word `number`, counted from 0, begins; behind the last word, the
    /// number of bytes.
    ///
    /// # Errors
    /// As [`measure_words`](Self::measure_words).
    pub fn word_at(&self, number: u64, watch: Watch<'_>) -> Result<u64> {
        let mut pieces = self.pieces(0..self.bytes())?;
        let (mut words, mut bytes) = (0, 0);
        while let Some(piece) = pieces.next(last_blank)? {
            let text = piece.text;
            let here = text_words(text).count() as u64;
            if words + here > number {
                let word = text_words(text).nth((number - words) as usize).unwrap_or_default();
                // A word is a part of the text.
                return Ok(bytes + (word.as_ptr().addr() - text.as_ptr().addr()) as u64);
            }
            words += here;
            bytes += text.len() as u64;
            tell(watch, bytes)?;
        }
        Ok(self.bytes())
    }

    /// Counts the words of a range of all bytes against a vocabulary: how often each of its words was
    /// met, and which new ones to add, at most `room`, as [`Counter::finish`] has it. Held in memory are at
    /// most 4,194,304 new words of 128 MiB together: see [`Counter::bounded`]. The same for any number
    /// of threads.
    ///
    /// # Errors
    /// As [`measure_words`](Self::measure_words).
    pub fn count_words<W: Words + ?Sized + Sync>(
        &self,
        range: Range<u64>,
        lookup: &mut Lookup<'_, W>,
        room: usize,
        keep_case: bool,
        pool: &Pool,
        watch: Watch<'_>,
    ) -> Result<(Vec<u64>, WordCounts)> {
        let counter = Counter::new(lookup, room, Keep::MostFrequent, keep_case)?;
        let mut counter = counter.bounded(COUNTED_WORDS, COUNTED_WORD_BYTES);
        let work = |part: &[u8]| {
            let mut some = SomeWords::new(keep_case);
            some.add(part)?;
            Ok(some)
        };
        let mut take = |_, some: SomeWords| counter.merge(&some);
        work_on(self.pieces(range)?, PART, pool, &last_blank, &work, &mut take, watch)?;
        counter.finish()
    }

    /// [`encode`](Self::encode) of words to train on: [`Vocabulary::encode_for_training`].
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_words(
        &self,
        range: Range<u64>,
        words: &Vocabulary,
        cased: bool,
        pool: &Pool,
        path: &Path,
        watch: Watch<'_>,
    ) -> Result<(TokenFile, bool)> {
        let coder = Coder {
            // Neither case can be taken for the other, nor for the ids of a prompt.
            checksum: words_checksum(words.iter().map(|(word, _)| word))
                .wrapping_add(1 + u32::from(cased)),
            end: None,
            last_cut: &last_blank,
            encode: &|part| words.encode_for_training(part, cased),
        };
        self.encode_by(range, &coder, pool, path, watch)
    }
}
