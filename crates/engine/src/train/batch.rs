//! Batches of B sequences of S positions: contiguous ones of a corpus in order, or padded copies in
//! any order.

use crate::error::{Error, Result};
use crate::limits::MAX_BATCH_POSITIONS;
use crate::nn::loss::Targets;
use cllm_kernels::memory::product;

/// Positions of a batch; an error for none, and for more than the library works on at once.
pub fn positions(batch: usize, seq: usize) -> Result<usize> {
    for (name, n) in [("batch_size", batch), ("seq_len", seq)] {
        if n == 0 {
            return Err(Error::argument(name, 0, "1 or more"));
        }
    }
    let positions = product("a batch", &[batch, seq])?;
    if positions > MAX_BATCH_POSITIONS {
        return Err(Error::Memory { what: "a batch", bytes: positions.saturating_mul(12) });
    }
    Ok(positions)
}

/// B sequences of S tokens, one after the other, with the token that follows each.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[B·S]` ids; one ≥ V contributes a zero embedding.
    pub tokens: &'a [u32],
    /// What comes next at each position, and which positions count.
    pub targets: Targets<'a>,
    /// B.
    pub sequences: usize,
}

/// The ids of a training text, cut into contiguous batches in order: nothing is padded, nothing
/// shuffled, and the ids that don't fill a last batch are left over.
///
/// ```
/// use cllm_engine::train::Corpus;
///
/// let ids: Vec<u32> = (0..10).collect();
/// let corpus = Corpus::new(&ids, 2, 2)?;
/// assert_eq!(corpus.batches(), 2);
/// let second = corpus.batch(4).unwrap();
/// assert_eq!((second.tokens, second.targets.ids), (&ids[4..8], &ids[5..9]));
/// assert!(corpus.batch(8).is_none());
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Corpus<'a> {
    ids: &'a [u32],
    sequences: usize,
    rows: usize,
}

impl<'a> Corpus<'a> {
    /// Over `ids`, in batches of `sequences` (B) sequences of `positions` (S) tokens.
    ///
    /// # Errors
    /// B or S is 0, or their product is no size.
    pub fn new(ids: &'a [u32], sequences: usize, positions: usize) -> Result<Self> {
        for (name, n) in [("batch_size", sequences), ("seq_len", positions)] {
            if n == 0 {
                return Err(Error::argument(name, 0, "1 or more"));
            }
        }
        Ok(Self { ids, sequences, rows: product("the batch", &[sequences, positions])? })
    }

    /// All of them.
    pub fn ids(&self) -> &'a [u32] {
        self.ids
    }

    /// B: sequences in a batch.
    pub fn sequences(&self) -> usize {
        self.sequences
    }

    /// B·S: tokens in a batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Batches from offset 0: ⌊(ids − 1)/(B·S)⌋. The last id is no input, for nothing follows it.
    pub fn batches(&self) -> usize {
        self.ids.len().saturating_sub(1) / self.rows
    }

    /// The batch that begins at `offset`; `None` where not enough ids follow.
    pub fn batch(&self, offset: usize) -> Option<Batch<'a>> {
        let after = self.ids.get(offset..)?;
        let targets = after.get(1..)?.get(..self.rows)?;
        Some(Batch {
            tokens: &after[..self.rows],
            targets: Targets::all(targets),
            sequences: self.sequences,
        })
    }
}

/// The arrays of one padded batch, B·S values each.
pub struct BatchMut<'a> {
    /// Input tokens; 0 where padded.
    pub inputs: &'a mut [u32],
    /// The token after each input; 0 where padded.
    pub targets: &'a mut [u32],
    /// 1 for a real position, 0 for padding.
    pub mask: &'a mut [f32],
}

/// Fills a batch from `tokens[start..]`: position r has token r as input and token r + 1 as
/// target, as long as there is one; the rest is padding. Returns how many positions are real.
pub fn fill(tokens: &[u32], start: usize, batch: BatchMut<'_>) -> usize {
    let rest = tokens.get(start..).unwrap_or_default();
    let len = batch.inputs.len();
    let valid = rest.len().saturating_sub(1).min(len);
    let targets = rest.get(1..).unwrap_or_default();
    copy_padded(batch.inputs, &rest[..valid]);
    copy_padded(batch.targets, &targets[..valid]);
    for (i, m) in batch.mask.iter_mut().enumerate() {
        *m = if i < valid { 1.0 } else { 0.0 };
    }
    valid
}

fn copy_padded(out: &mut [u32], values: &[u32]) {
    let (head, tail) = out.split_at_mut(values.len());
    head.copy_from_slice(values);
    tail.fill(0);
}

/// A walk over the padded batches of a stream of tokens.
#[derive(Clone, Debug)]
pub struct Batches {
    tokens: usize,
    positions: usize,
    shuffle: bool,
    drop_last: bool,
    next: usize,
    resets: u64,
}

impl Batches {
    /// Over `tokens` tokens, in batches of `positions` = B·S.
    pub fn new(tokens: usize, positions: usize, shuffle: bool, drop_last: bool) -> Result<Self> {
        for (name, n) in [("num_tokens", tokens), ("batch_size * seq_len", positions)] {
            if n == 0 {
                return Err(Error::argument(name, 0, "1 or more"));
            }
        }
        Ok(Self { tokens, positions, shuffle, drop_last, next: 0, resets: 0 })
    }

    /// Batches without padding. The last token is no input: nothing follows it.
    fn full(&self) -> usize {
        (self.tokens - 1) / self.positions
    }

    /// How many batches a walk has, wherever it stands.
    pub fn count(&self) -> usize {
        let partial = !(self.tokens - 1).is_multiple_of(self.positions);
        self.full() + usize::from(partial && !self.drop_last)
    }

    /// Back to the first batch; a shuffled walk takes another order.
    pub fn reset(&mut self) {
        self.next = 0;
        self.resets = self.resets.wrapping_add(1);
    }

    /// Where the next batch starts in the stream; `None` after the last, until a reset.
    pub fn next_start(&mut self) -> Option<usize> {
        if self.next >= self.count() {
            return None;
        }
        let step = self.next;
        self.next += 1;
        let full = self.full();
        // The padded batch stays last.
        let index = if self.shuffle && step < full {
            permuted(step as u64, full as u64, self.resets) as usize
        } else {
            step
        };
        Some(index * self.positions)
    }
}

/// Where `index` goes in a permutation of `0..len` that `key` and `len` fix: a Feistel network
/// over the next power of four, applied until it lands inside (it permutes, so it does). Needs no
/// memory, however long the stream.
fn permuted(index: u64, len: u64, key: u64) -> u64 {
    let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
    let half = bits.div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let key = mix(len ^ mix(key));
    let mut value = index;
    loop {
        let (mut left, mut right) = (value >> half, value & mask);
        for round in 0..4 {
            (left, right) = (right, left ^ (mix(key ^ (right << 2 | round)) & mask));
        }
        value = left << half | right;
        if value < len {
            return value;
        }
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Filled = (Vec<u32>, Vec<u32>, Vec<f32>, usize);

    fn filled(tokens: &[u32], start: usize, len: usize) -> Filled {
        let (mut inputs, mut targets, mut mask) = (vec![9; len], vec![9; len], vec![9.0; len]);
        let batch = BatchMut { inputs: &mut inputs, targets: &mut targets, mask: &mut mask };
        let valid = fill(tokens, start, batch);
        (inputs, targets, mask, valid)
    }

    fn starts(batches: &mut Batches) -> Vec<usize> {
        std::iter::from_fn(|| batches.next_start()).collect()
    }

    #[test]
    fn targets_are_the_next_tokens_and_the_rest_is_padding() {
        let tokens = [1, 2, 3, 4, 5];
        let (inputs, targets, mask, valid) = filled(&tokens, 0, 3);
        assert_eq!((inputs, targets), (vec![1, 2, 3], vec![2, 3, 4]));
        assert_eq!((mask, valid), (vec![1.0; 3], 3));
        let (inputs, targets, mask, valid) = filled(&tokens, 3, 3);
        assert_eq!((inputs, targets), (vec![4, 0, 0], vec![5, 0, 0]));
        assert_eq!((mask, valid), (vec![1.0, 0.0, 0.0], 1));
        for start in [4, 5, 6, usize::MAX] {
            let empty = (vec![0; 2], vec![0; 2], vec![0.0; 2], 0);
            assert_eq!(filled(&tokens, start, 2), empty);
        }
    }

    #[test]
    fn counts_match_the_walk() {
        for tokens in 1..40 {
            for positions in 1..12 {
                for (shuffle, drop_last) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    let mut b = Batches::new(tokens, positions, shuffle, drop_last).unwrap();
                    let u = tokens - 1;
                    let partial = usize::from(u % positions != 0 && !drop_last);
                    assert_eq!(b.count(), u / positions + partial);
                    let mut walk = starts(&mut b);
                    assert_eq!(b.next_start(), None, "stays at the end");
                    if partial == 1 {
                        assert_eq!(walk.last(), Some(&(u / positions * positions)));
                    }
                    assert_eq!(b.count(), walk.len());
                    walk.sort_unstable();
                    let expected: Vec<_> = (0..walk.len()).map(|k| k * positions).collect();
                    assert_eq!(walk, expected);
                    b.reset();
                    assert_eq!(starts(&mut b).len(), expected.len());
                }
            }
        }
    }

    #[test]
    fn a_shuffled_walk_is_fixed_by_count_and_resets() {
        let new = || Batches::new(1001, 10, true, true).unwrap();
        let (mut a, mut b) = (new(), new());
        let first = starts(&mut a);
        assert_eq!(first, starts(&mut b));
        assert!(first.windows(2).any(|w| w[0] > w[1]), "shuffled");
        a.reset();
        b.reset();
        let second = starts(&mut a);
        assert_ne!(first, second);
        assert_eq!(second, starts(&mut b));
    }

    #[test]
    fn permuted_permutes_every_length() {
        for len in (1..70).chain([255, 256, 257, 1000, 4096]) {
            for key in [0, 1, u64::MAX] {
                let mut seen: Vec<u64> = (0..len).map(|i| permuted(i, len, key)).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..len).collect::<Vec<_>>(), "{len} {key}");
            }
        }
        assert!(permuted(u64::MAX - 1, u64::MAX, 3) < u64::MAX);
    }

    #[test]
    fn sizes_are_bounded() {
        assert!(positions(0, 4).is_err() && positions(4, 0).is_err());
        assert_eq!(positions(3, 5).unwrap(), 15);
        assert!(positions(usize::MAX, 2).is_err());
        assert!(positions(65_536, 65_536).is_err());
        assert!(Batches::new(0, 4, false, false).is_err());
        assert!(Batches::new(4, 0, false, false).is_err());
    }
}
