//! Batches of B sequences of S positions: contiguous ones of a corpus in order, windows of it at random
//! offsets, or padded copies in any order.

use crate::error::{Error, Result};
use crate::limits::MAX_BATCH_POSITIONS;
use crate::nn::loss::Targets;
use crate::rng::mix;
use crate::text::Ids;
use cllm_kernels::memory::{grow, product};

/// B and S in errors, by words that fit the names in Rust and in C.
const SEQUENCES: &str = "the number of sequences in a batch";
const LENGTH: &str = "the length of a sequence";

/// Positions of a batch; an error for none, and for more than the library works on at once.
pub fn positions(batch: usize, seq: usize) -> Result<usize> {
    for (name, n) in [(SEQUENCES, batch), (LENGTH, seq)] {
        if n == 0 {
            return Err(Error::argument(name, 0, "1 or more"));
        }
    }
    let positions = product("a batch", &[batch, seq])?;
    if positions > MAX_BATCH_POSITIONS {
        let most =
            "at most 2^28: a larger batch is an update for several (gradient_accumulation_steps)";
        return Err(Error::argument("the number of tokens in a batch", positions, most));
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

/// The ids of a training text, cut into contiguous batches in order: nothing is padded, and the ids
/// that don't fill a last batch are left over. Or, [`shuffled`](Self::shuffled), windows of it in
/// random order.
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
    ids: Ids<'a>,
    sequences: usize,
    rows: usize,
    /// Batches of an epoch, at most.
    most: usize,
    seed: Option<u64>,
}

impl<'a> Corpus<'a> {
    /// Over `ids`, an array or a file of them, in batches of `sequences` (B) sequences of `positions`
    /// (S) tokens. Of a file only the windows of a batch are read.
    ///
    /// # Errors
    /// B or S is 0, or their product is no size.
    pub fn new(ids: impl Into<Ids<'a>>, sequences: usize, positions: usize) -> Result<Self> {
        for (name, n) in [(SEQUENCES, sequences), (LENGTH, positions)] {
            if n == 0 {
                return Err(Error::argument(name, 0, "1 or more"));
            }
        }
        let rows = product("the batch", &[sequences, positions])?;
        Ok(Self { ids: ids.into(), sequences, rows, most: usize::MAX, seed: None })
    }

    /// The same ids in windows of S tokens at random offsets: in each epoch they begin at another
    /// place and come in another order, no token twice. Both follow from `seed` and the number of the
    /// epoch, so that a run that goes on from a checkpoint sees the same windows.
    ///
    /// ```
    /// use cllm_engine::train::Corpus;
    /// use cllm_engine::train::batch::Windows;
    ///
    /// let ids: Vec<u32> = (0..100).collect();
    /// let corpus = Corpus::new(&ids, 2, 8)?.shuffled(7);
    /// let mut windows = Windows::default();
    /// let batch = corpus.draw(0, 0, &mut windows)?.expect("one of several");
    /// for (tokens, targets) in batch.tokens.chunks(8).zip(batch.targets.ids.chunks(8)) {
    ///     assert_eq!(targets[0], tokens[0] + 1);
    ///     assert_eq!(tokens[7], tokens[0] + 7);
    /// }
    /// assert_ne!(batch.tokens[8], batch.tokens[7] + 1);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn shuffled(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// What the windows follow from; `None` where batches come in order.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// All of them.
    pub fn ids(&self) -> Ids<'a> {
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

    /// S: tokens of a sequence.
    pub fn positions(&self) -> usize {
        self.rows / self.sequences
    }

    /// The same batches in sequences of `positions` tokens, as many of them as come to B·S; an epoch ends
    /// where it did. `None` where they don't divide S, or are not shorter.
    pub fn cut(&self, positions: usize) -> Option<Self> {
        let whole = self.positions();
        let divides = positions > 0 && positions < whole && whole.is_multiple_of(positions);
        divides.then(|| Self { sequences: self.rows / positions, most: self.batches(), ..*self })
    }

    /// Batches of an epoch: ⌊(ids − 1)/(B·S)⌋. The last id is no input, for nothing follows it. One
    /// fewer in windows where those would fill the text so tightly that they could not move by S.
    pub fn batches(&self) -> usize {
        let inputs = self.ids.len().saturating_sub(1);
        let full = inputs / self.rows;
        let tight = inputs - full * self.rows < self.positions() - 1;
        let full = if self.seed.is_some() && full > 1 && tight { full - 1 } else { full };
        full.min(self.most)
    }

    /// Whether an epoch has a batch at `offset`, in tokens from its beginning.
    pub fn has_batch(&self, offset: usize) -> bool {
        match self.seed {
            None => {
                let end = offset.checked_add(self.rows);
                end.is_some_and(|end| end < self.ids.len())
            }
            Some(_) => {
                let end = (offset / self.positions()).checked_add(self.sequences);
                end.is_some_and(|end| end <= self.batches() * self.sequences)
            }
        }
    }

    /// The batch at `offset` of an epoch, counted in tokens; `None` at its end. `windows` is memory
    /// for one whose sequences don't follow each other.
    ///
    /// # Errors
    /// Memory; a file that can't be read.
    pub fn draw<'b>(
        &self,
        epoch: u32,
        offset: usize,
        windows: &'b mut Windows,
    ) -> Result<Option<Batch<'b>>>
    where
        'a: 'b,
    {
        if !self.has_batch(offset) {
            return Ok(None);
        }
        if self.seed.is_none()
            && let Some(batch) = self.batch(offset)
        {
            return Ok(Some(batch));
        }
        let length = self.positions();
        grow("a batch", &mut windows.tokens, self.rows)?;
        grow("a batch", &mut windows.targets, self.rows)?;
        let (tokens, targets) =
            (&mut windows.tokens[..self.rows], &mut windows.targets[..self.rows]);
        if self.seed.is_some() {
            let sequences = tokens.chunks_exact_mut(length).zip(targets.chunks_exact_mut(length));
            for (i, (tokens, targets)) in sequences.enumerate() {
                self.window(epoch, offset / length + i, tokens, targets)?;
            }
        } else {
            self.read(offset, tokens, targets)?;
        }
        let targets = Targets::all(targets);
        Ok(Some(Batch { tokens, targets, sequences: self.sequences }))
    }

    /// Sequence `index` of an epoch, one of `batches() * sequences()`: the S ids and those that follow
    /// each of them. What a batch is made of, for those that need a part of it.
    ///
    /// # Errors
    /// There is no such sequence; the arrays are not of S ids; a file that can't be read.
    pub fn window(
        &self,
        epoch: u32,
        index: usize,
        tokens: &mut [u32],
        targets: &mut [u32],
    ) -> Result<()> {
        let length = self.positions();
        if index >= self.batches() * self.sequences
            || tokens.len() != length
            || targets.len() != length
        {
            return Err(Error::shape(format!("no sequence {index} of {length} ids in an epoch")));
        }
        let Some(seed) = self.seed else { return self.read(index * length, tokens, targets) };
        let key = mix(mix(seed) ^ u64::from(epoch));
        // As far as the windows can move together, at most by what comes to the same.
        let inputs = self.ids.len() - 1;
        let room = inputs - self.batches() * self.rows;
        let start = (mix(key) % (room.min(length - 1) as u64 + 1)) as usize;
        let count = (inputs - start) / length;
        let window = permuted(index as u64, count as u64, key) as usize;
        self.read(start + window * length, tokens, targets)
    }

    fn read(&self, at: usize, tokens: &mut [u32], targets: &mut [u32]) -> Result<()> {
        self.ids.read(at, tokens)?;
        self.ids.read(at + 1, targets)
    }

    /// The batch that begins with the id at `offset`, in the order of the ids even of a corpus that is
    /// shuffled; `None` where not enough ids follow, or they are in a file.
    pub fn batch(&self, offset: usize) -> Option<Batch<'a>> {
        let after = self.ids.as_slice()?.get(offset..)?;
        let targets = after.get(1..)?.get(..self.rows)?;
        Some(Batch {
            tokens: &after[..self.rows],
            targets: Targets::all(targets),
            sequences: self.sequences,
        })
    }
}

/// Memory for a batch of windows, used again from batch to batch.
#[derive(Debug, Default)]
pub struct Windows {
    tokens: Vec<u32>,
    targets: Vec<u32>,
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
        for (name, n) in
            [("the number of tokens", tokens), ("the number of tokens in a batch", positions)]
        {
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
    fn windows_cover_the_text_once_an_epoch() {
        for (len, sequences, positions) in
            [(1000, 3, 7), (1000, 1, 1), (9, 2, 4), (17, 2, 4), (48, 2, 8), (49, 2, 8), (50, 2, 8)]
        {
            let ids: Vec<u32> = (0..len).collect();
            let corpus = Corpus::new(&ids, sequences, positions).unwrap().shuffled(5);
            let rows = corpus.rows();
            assert!(corpus.batches() > 0 && corpus.batches() * rows < len as usize);
            let mut windows = Windows::default();
            let mut orders = Vec::new();
            for epoch in 0..3 {
                let (mut seen, mut firsts) = (vec![false; len as usize], Vec::new());
                for batch in 0..corpus.batches() {
                    let batch = corpus.draw(epoch, batch * rows, &mut windows).unwrap().unwrap();
                    assert_eq!(batch.sequences, sequences);
                    let parts = batch.tokens.chunks(positions);
                    for (tokens, targets) in parts.zip(batch.targets.ids.chunks(positions)) {
                        firsts.push(tokens[0]);
                        for (i, (&token, &target)) in tokens.iter().zip(targets).enumerate() {
                            assert_eq!((token, target), (tokens[0] + i as u32, token + 1));
                            assert!(!std::mem::replace(&mut seen[token as usize], true));
                        }
                    }
                }
                let end = corpus.batches() * rows;
                assert!(corpus.has_batch(end - rows) && !corpus.has_batch(end));
                assert!(corpus.draw(epoch, end, &mut windows).unwrap().is_none());
                orders.push(firsts);
            }
            assert!(orders[0].len() < 8 || orders[0] != orders[1] && orders[1] != orders[2]);
        }
        let ids: Vec<u32> = (0..1000).collect();
        let first = |seed, epoch| {
            let corpus = Corpus::new(&ids, 2, 10).unwrap().shuffled(seed);
            corpus.draw(epoch, 40, &mut Windows::default()).unwrap().unwrap().tokens.to_vec()
        };
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(2, 2));
        // They move by less than a window from epoch to epoch.
        let phases: std::collections::HashSet<_> = (0..50).map(|e| first(1, e)[0] % 10).collect();
        assert!(phases.len() > 7, "{phases:?}");
    }

    fn corpus(ids: Ids<'_>, seed: Option<u64>) -> Corpus<'_> {
        let corpus = Corpus::new(ids, 2, 4).unwrap();
        seed.map_or(corpus, |seed| corpus.shuffled(seed))
    }

    #[test]
    fn a_file_has_the_batches_of_an_array() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dataset.bin");
        for len in [1, 9, 17, 48, 50, 1000] {
            let ids: Vec<u32> = (0..len).map(|i| i * 7 % 31).collect();
            crate::text::dataset::write(&path, &ids).unwrap();
            let file = crate::text::TokenFile::open(&path).unwrap();
            for seed in [None, Some(5)] {
                let (memory, on_disk) = (corpus((&ids).into(), seed), corpus((&file).into(), seed));
                assert_eq!(memory.batches(), on_disk.batches());
                let (mut a, mut b) = (Windows::default(), Windows::default());
                for offset in (0..len as usize + 9).step_by(8) {
                    assert_eq!(memory.has_batch(offset), on_disk.has_batch(offset));
                    let one = memory.draw(2, offset, &mut a).unwrap();
                    let two = on_disk.draw(2, offset, &mut b).unwrap();
                    let content =
                        |b: Option<Batch>| b.map(|b| (b.tokens.to_vec(), b.targets.ids.to_vec()));
                    let (one, two) = (content(one), content(two));
                    assert_eq!(one, two, "{len} ids at {offset}");
                    // By sequences, as a part of the ranks asks for them.
                    for (i, whole) in one.iter().flat_map(|(t, _)| t.chunks(4)).enumerate() {
                        let (mut tokens, mut targets) = ([0; 4], [0; 4]);
                        let index = offset / 4 + i;
                        on_disk.window(2, index, &mut tokens, &mut targets).unwrap();
                        assert_eq!(tokens, whole);
                    }
                }
                let end = on_disk.batches() * 2;
                assert!(on_disk.window(0, end, &mut [0; 4], &mut [0; 4]).is_err());
                assert_eq!(memory.ids().checksum(), on_disk.ids().checksum());
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dataset.bin");
        crate::text::dataset::write(&path, &[3; 1000]).unwrap();
        let file = crate::text::TokenFile::open(&path).unwrap();
        let corpus = Corpus::new(&file, 2, 50).unwrap().shuffled(1);
        std::fs::File::options().write(true).open(&path).unwrap().set_len(400).unwrap();
        let mut windows = Windows::default();
        let drawn =
            (0..corpus.batches()).map(|i| corpus.draw(0, i * 100, &mut windows).map(|_| ()));
        let error = drawn.collect::<Result<Vec<_>>>().unwrap_err().to_string();
        assert!(error.contains("was cut while it was read: it had 1000 ids"), "{error}");
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
