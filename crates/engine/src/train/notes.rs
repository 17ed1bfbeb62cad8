//! What a checkpoint says of its run besides the state of it.

use super::batch::Corpus;
use crate::file::crc::add_words;
use crate::nn::products::TrainingPrecision;

/// Which training ids a run is over, and how they are cut: enough to notice others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataMark {
    /// Number of ids.
    pub ids: u64,
    /// Their [`checksum`].
    pub checksum: u32,
    /// B.
    pub sequences: u64,
    /// S.
    pub positions: u64,
    /// What windows at random offsets follow from; `None` where batches come in order.
    pub seed: Option<u64>,
    /// [`words_checksum`] of the model's vocabulary, where it is known.
    pub words: Option<u32>,
}

impl DataMark {
    /// That of a corpus.
    pub fn of(corpus: &Corpus) -> Self {
        Self::new(corpus, corpus.ids().checksum())
    }

    /// That of a corpus whose ids have a known [`checksum`].
    pub fn new(corpus: &Corpus, checksum: u32) -> Self {
        Self {
            ids: corpus.ids().len() as u64,
            checksum,
            sequences: corpus.sequences() as u64,
            positions: corpus.positions() as u64,
            seed: corpus.seed(),
            words: None,
        }
    }

    /// What a run over other data than `self` changes, in words; `None` where it is the same.
    pub fn difference(&self, here: &Self) -> Option<String> {
        if (self.ids, self.checksum) != (here.ids, here.checksum) {
            let same = if self.ids == here.ids { " other ones" } else { "" };
            let (then, now) = (self.ids, here.ids);
            return Some(format!("it was trained on {then} ids, these are {now}{same}"));
        }
        if self.words.zip(here.words).is_some_and(|(then, now)| then != now) {
            return Some("its vocabulary has other words".to_string());
        }
        let shape = |mark: &Self| (mark.sequences, mark.positions);
        if shape(self) != shape(here) {
            let ((b, s), (b2, s2)) = (shape(self), shape(here));
            return Some(format!(
                "its batches are {b} sequences of {s} tokens, these are {b2} of {s2}"
            ));
        }
        let order = |mark: &Self| match mark.seed {
            None => "in order".to_string(),
            Some(seed) => format!("in the order of seed {seed}"),
        };
        (self.seed != here.seed)
            .then(|| format!("its batches came {}, these come {}", order(self), order(here)))
    }
}

/// CRC-32 of ids as little-endian words.
pub fn checksum(ids: &[u32]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    add_words(&mut hasher, ids, u32::to_le_bytes);
    hasher.finalize()
}

/// CRC-32 of words in the order of their ids, each with a NUL behind it.
pub fn words_checksum<'a>(words: impl Iterator<Item = &'a [u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for word in words {
        hasher.update(word);
        hasher.update(&[0]);
    }
    hasher.finalize()
}

/// What a checkpoint holds besides weights, optimizer state and counters.
#[derive(Clone, Debug, PartialEq)]
pub struct Notes {
    /// The training data, where it is known.
    pub data: Option<DataMark>,
    /// What the matrix products take: a run that goes on with another goes on differently.
    pub precision: TrainingPrecision,
    /// [`TrainingPrecision::arithmetic`] of the processor that made them: likewise. Empty where it is not known.
    pub arithmetic: String,
    /// Whether gradients and their sums are rounded to bfloat16: likewise.
    pub bfloat16_sums: bool,
    /// Fields of C's training object that the library itself does not use: they come back as they
    /// were.
    pub total_batches: i32,
    /// Likewise.
    pub loss_scale: f32,
    /// Likewise.
    pub loss_scale_steps: i32,
    /// How the program configured the run, in a form of its own; empty where it does not say.
    pub config: Vec<u8>,
    /// Likewise, what the program set besides its configuration.
    pub options: Vec<u8>,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            data: None,
            precision: TrainingPrecision::F32,
            arithmetic: String::new(),
            bfloat16_sums: false,
            total_batches: 0,
            loss_scale: 1024.0,
            loss_scale_steps: 0,
            config: Vec::new(),
            options: Vec::new(),
        }
    }
}
