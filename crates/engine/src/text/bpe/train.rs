//! Learning merges: the most frequent pair of neighbours becomes a token, again and again.

use super::counter::PieceCounter;
use super::scan::Rule;
use super::{Bpe, no_memory};
use crate::error::{Error, Result};
use crate::text::SPECIALS;
use cllm_kernels::merge::pair;
use hashbrown::{HashMap, HashSet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

/// Tokens of a vocabulary without merges.
const FIRST: usize = SPECIALS.len() + 256;
/// Most tokens of a trained vocabulary.
const MOST: usize = 1 << 24;

/// How a vocabulary is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Number of tokens to reach, the special ones and the bytes included: 261 to 16,777,216. It
    /// has fewer if the texts have no more pairs.
    pub size: usize,
    /// A pair that is met less often is not merged; 0 means 1.
    pub min_count: u64,
}

impl Settings {
    /// `size` tokens; pairs that are met twice or more.
    pub fn new(size: usize) -> Self {
        Self { size, min_count: 2 }
    }

    /// Whether there is room for merges: without, bytes are all that has to be counted of a text
    /// ([`PieceCounter::add_bytes`]).
    pub fn merges(&self) -> bool {
        self.size > FIRST
    }

    /// Whether a vocabulary can be learnt so.
    ///
    /// # Errors
    /// `size` out of range.
    pub fn check(&self) -> Result<()> {
        if (FIRST..=MOST).contains(&self.size) {
            return Ok(());
        }
        Err(Error::argument("size", self.size, "261 to 16777216"))
    }
}

/// How far training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Training {
    /// Tokens until now.
    pub tokens: usize,
    /// Tokens at the end, if the texts have as many pairs.
    pub size: usize,
    /// How often the pair merged last was met.
    pub count: u64,
}

impl Bpe {
    /// Learns a vocabulary of `size` tokens from texts, cut by [`Rule::Words`]: see
    /// [`train_from`](Self::train_from), which also takes texts that are not in memory at once.
    ///
    /// # Errors
    /// As [`train_from`](Self::train_from).
    pub fn train<'t>(texts: impl IntoIterator<Item = &'t [u8]>, size: usize) -> Result<Self> {
        let mut counter = PieceCounter::new(Rule::Words);
        texts.into_iter().try_for_each(|text| counter.add(text))?;
        Self::train_from(&counter, Settings::new(size), |_| ControlFlow::Continue(()))
    }

    /// Learns a vocabulary from counted pieces. Each step merges the pair of tokens that is met most
    /// often within pieces; of equally frequent ones that with the smaller left id, then the smaller
    /// right id. The result depends on nothing else. The time grows with the number of different
    /// pieces and with the places where merges change them, not with the length of the texts.
    ///
    /// `progress` is called after each merge and can stop: the vocabulary then has the merges made
    /// until there.
    ///
    /// # Errors
    /// `size` out of range; no memory.
    pub fn train_from(
        counter: &PieceCounter,
        settings: Settings,
        mut progress: impl FnMut(Training) -> ControlFlow<()>,
    ) -> Result<Self> {
        settings.check()?;
        let Settings { size, min_count } = settings;
        let mut learner = Learner::new(counter, min_count.max(1))?;
        while learner.tokens < size {
            let Some(count) = learner.step()? else {
                break;
            };
            let tokens = learner.tokens;
            if progress(Training { tokens, size, count }).is_break() {
                break;
            }
        }
        Self::of_merges(&learner.merges, counter.rule())
    }
}

/// A pair: how often it is met, and the pieces that had it at some time.
#[derive(Default)]
struct Pair {
    count: u64,
    pieces: Vec<u32>,
}

impl Pair {
    /// Notes a piece; the same one comes several times in a row.
    fn is_in(&mut self, piece: u32) -> Result<()> {
        if self.pieces.last() != Some(&piece) {
            let len = self.pieces.len();
            self.pieces.try_reserve(1).map_err(|_| no_memory::<u32>(PAIRS, len))?;
            self.pieces.push(piece);
        }
        Ok(())
    }
}

const PAIRS: &str = "the pairs of the text";

fn entry(pairs: &mut HashMap<u64, Pair>, key: u64) -> Result<&mut Pair> {
    let len = pairs.len();
    pairs.try_reserve(1).map_err(|_| no_memory::<(u64, Pair)>(PAIRS, len))?;
    Ok(pairs.entry(key).or_default())
}

struct Learner {
    symbols: Vec<u32>,
    /// Start and length of each piece in `symbols`, and its count.
    pieces: Vec<(usize, u32, u64)>,
    pairs: HashMap<u64, Pair>,
    /// Counts that were true once; a pair whose count has changed comes again.
    queue: BinaryHeap<(u64, Reverse<u64>)>,
    merges: Vec<(u32, u32)>,
    /// Tokens that merges made, by their bytes.
    made: HashMap<Vec<u8>, u32>,
    bytes: Vec<Vec<u8>>,
    tokens: usize,
    min_count: u64,
    /// Pairs of `merges`.
    merged: HashSet<u64>,
}

impl Learner {
    fn new(counter: &PieceCounter, min_count: u64) -> Result<Self> {
        let mut symbols = Vec::new();
        let mut pieces = Vec::new();
        let total: usize = counter.iter().map(|(piece, _)| piece.len()).sum();
        cllm_kernels::memory::reserve("the pieces of the text", &mut symbols, total)?;
        cllm_kernels::memory::reserve("the pieces of the text", &mut pieces, counter.len())?;
        let mut pairs: HashMap<u64, Pair> = HashMap::new();
        for (piece, count) in counter.iter().filter(|(piece, _)| piece.len() > 1) {
            let number = pieces.len() as u32;
            pieces.push((symbols.len(), piece.len() as u32, count));
            let start = symbols.len();
            symbols.extend(piece.iter().map(|&byte| SPECIALS.len() as u32 + u32::from(byte)));
            for two in symbols[start..].windows(2) {
                let found = entry(&mut pairs, pair(two[0], two[1]))?;
                found.count = found.count.saturating_add(count);
                found.is_in(number)?;
            }
        }
        let mut queue = BinaryHeap::new();
        queue.try_reserve(pairs.len()).map_err(|_| no_memory::<(u64, u64)>(PAIRS, pairs.len()))?;
        queue.extend(pairs.iter().map(|(&pair, found)| (found.count, Reverse(pair))));
        let bytes = SPECIALS.iter().map(|special| special.to_vec());
        let bytes = bytes.chain((0..=u8::MAX).map(|byte| vec![byte])).collect();
        let (merges, made) = (Vec::new(), HashMap::new());
        let merged = HashSet::new();
        let tokens = FIRST;
        Ok(Self { symbols, pieces, pairs, queue, merges, made, bytes, tokens, min_count, merged })
    }

    /// Merges the most frequent pair; its count. None if there is no pair left.
    fn step(&mut self) -> Result<Option<u64>> {
        loop {
            let Some((count, Reverse(key))) = self.queue.pop() else {
                return Ok(None);
            };
            if count < self.min_count {
                return Ok(None);
            }
            let now = self.pairs.get(&key).map_or(0, |found| found.count);
            if now == count {
                self.merge(key)?;
                return Ok(Some(count));
            }
            // A count that rose was queued then.
            if now > 0 && now < count {
                self.queue.push((now, Reverse(key)));
            }
        }
    }

    fn merge(&mut self, key: u64) -> Result<()> {
        let (left, right) = ((key >> 32) as u32, key as u32);
        let id = self.token(left, right);
        let mut changed: HashMap<u64, i128> = HashMap::new();
        let found = self.pairs.remove(&key).unwrap_or_default();
        for number in found.pieces {
            let (start, len, count) = self.pieces[number as usize];
            let symbols = &mut self.symbols[start..start + len as usize];
            if !symbols.windows(2).any(|two| two == [left, right]) {
                continue;
            }
            let mut note = |left: u32, right: u32, by: i128| {
                *changed.entry(pair(left, right)).or_default() += by * i128::from(count);
            };
            symbols.windows(2).for_each(|two| note(two[0], two[1], -1));
            let (mut read, mut kept) = (0, 0);
            while read < symbols.len() {
                let both = symbols[read] == left && symbols.get(read + 1) == Some(&right);
                symbols[kept] = if both { id } else { symbols[read] };
                read += 1 + usize::from(both);
                kept += 1;
            }
            let symbols = &symbols[..kept];
            for two in symbols.windows(2) {
                note(two[0], two[1], 1);
                if two[0] == id || two[1] == id {
                    entry(&mut self.pairs, pair(two[0], two[1]))?.is_in(number)?;
                }
            }
            self.pieces[number as usize].1 = kept as u32;
        }
        // The pair itself is gone: what is left of it can't be merged again.
        changed.remove(&key);
        for (pair, by) in changed.into_iter().filter(|&(_, by)| by != 0) {
            let Some(found) = self.pairs.get_mut(&pair) else {
                continue;
            };
            let count = i128::from(found.count) + by;
            found.count = u64::try_from(count.max(0)).unwrap_or(u64::MAX);
            if by > 0 {
                let len = self.queue.len();
                self.queue.try_reserve(1).map_err(|_| no_memory::<(u64, u64)>(PAIRS, len))?;
                self.queue.push((found.count, Reverse(pair)));
            }
        }
        Ok(())
    }

    /// The id of what a merge makes: a new one, unless another merge made the same bytes. A pair
    /// can come again after its merge, when another merge makes one of its halves.
    fn token(&mut self, left: u32, right: u32) -> u32 {
        if self.merged.insert(pair(left, right)) {
            self.merges.push((left, right));
        }
        let bytes = [&self.bytes[left as usize][..], &self.bytes[right as usize]].concat();
        let next = self.tokens as u32;
        let id = *self.made.entry_ref(&bytes[..]).or_insert(next);
        if id == next {
            self.bytes.push(bytes);
            self.tokens += 1;
        }
        id
    }
}
