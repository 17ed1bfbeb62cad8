//! The likeliest next words, each of which may be several tokens.

use super::Scorer;
use super::next::best;
use crate::error::{Error, Result};
use crate::generate::GeneratorConfig;
use crate::generate::session::Session;
use crate::model::{Network, Weight};
use crate::order;
use cllm_kernels::Pool;
use cllm_kernels::memory::reserve;
use std::collections::BTreeMap;

/// A word that may come next.
#[derive(Clone, Debug, PartialEq)]
pub struct NextWord {
    /// Its bytes, with the white space that its first token brings, without [`WordSearch::begun`].
    pub text: Vec<u8>,
    /// That the text goes on with these bytes and the word ends behind them; from 0 to 1.
    pub probability: f32,
}

/// How [`Scorer::next_words`] searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordSearch {
    /// How many words are wanted: 1 to 256.
    pub words: usize,
    /// Unfinished words that are followed at once: from `words` to 1,024. More find likelier words
    /// where the likeliest first tokens don't lead to the likeliest words, and take longer.
    pub width: usize,
    /// Tokens of a word at most, 1 to 64; longer ones are not found. No more than the model has
    /// positions.
    pub max_tokens: usize,
    /// A byte with which the word has begun already, and which the prompt's tokens leave out: white space at
    /// the end of a text. Tokens of subwords hold the space before a word, so that in texts hardly any
    /// token ends between the two, and what follows such a token says nothing of the words to come.
    pub begun: Option<u8>,
}

impl WordSearch {
    /// A search for so many words: four times as wide, 16 at least, for words of up to 8 tokens.
    pub fn new(words: usize) -> Self {
        Self { words, width: words.saturating_mul(4).max(16), max_tokens: 8, begun: None }
    }

    fn check(&self) -> Result<()> {
        if !(1..=256).contains(&self.words) {
            return Err(Error::argument("num_words", self.words, "from 1 to 256"));
        }
        if !(self.words..=1024).contains(&self.width) {
            return Err(Error::argument("width", self.width, "from the number of words to 1024"));
        }
        if !(1..=64).contains(&self.max_tokens) {
            return Err(Error::argument("max_tokens", self.max_tokens, "from 1 to 64"));
        }
        Ok(())
    }
}

/// Where words end in most texts: before white space (ASCII), once there is something else in them. A
/// word keeps the white space that it begins with.
///
/// ```
/// use cllm_engine::score::white_space_ends;
///
/// assert!(white_space_ends(b" wor", b" ") && !white_space_ends(b" wor", b"ds"));
/// assert!(!white_space_ends(b"\n", b" the"));
/// ```
pub fn white_space_ends(word: &[u8], next: &[u8]) -> bool {
    next.first().is_some_and(u8::is_ascii_whitespace)
        && word.iter().any(|byte| !byte.is_ascii_whitespace())
}

/// A text without a last byte of white space (ASCII), and that byte for [`WordSearch::begun`]; a text of one
/// byte, or one that ends otherwise, stays whole.
///
/// ```
/// use cllm_engine::score::typed_white_space;
///
/// assert_eq!(typed_white_space(b"of the "), (&b"of the"[..], Some(b' ')));
/// assert_eq!(typed_white_space(b"of the"), (&b"of the"[..], None));
/// ```
pub fn typed_white_space(text: &[u8]) -> (&[u8], Option<u8>) {
    match text {
        [before @ .., last] if !before.is_empty() && last.is_ascii_whitespace() => {
            (before, Some(*last))
        }
        _ => (text, None),
    }
}

/// The bytes of each token, one behind the other; none for those that may not come.
#[derive(Default)]
struct Spellings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Spellings {
    fn of(&self, id: usize) -> &[u8] {
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..self.ends[id]]
    }
}

/// The beginning of a word.
struct Beam {
    tokens: Vec<u32>,
    text: Vec<u8>,
    probability: f64,
}

impl Beam {
    fn then(&self, id: u32, bytes: &[u8], probability: f64) -> Self {
        Self {
            tokens: [&self.tokens[..], &[id]].concat(),
            text: [&self.text[..], bytes].concat(),
            probability: self.probability * probability,
        }
    }
}

impl Scorer {
    /// The likeliest words after `prompt`, likeliest first, of equals the lower bytes, by a beam search
    /// over tokens. `spell` appends the bytes of a token (none for one that is no text, such as the end
    /// of a text), and `ends(word, next)` says whether a word ends before a token with the bytes `next`,
    /// as [`white_space_ends`] does; it ends before a token without bytes in any case.
    ///
    /// The probability of a word is the sum over the ways to spell it in tokens that the search met,
    /// each the product of its tokens' probabilities and of the one that a token follows which ends the
    /// word. Where a word has begun, all of it is given that beginning: only words that begin so are found, and
    /// their probabilities are divided by that of the byte. Which tokens take part is said by `config`, as for [`Scorer::next_tokens`]. Of a long
    /// prompt the last part is seen, which leaves room for the word in the model's positions.
    ///
    /// The prompt is computed once; of each beginning that is followed only its own tokens are.
    ///
    /// ```
    /// use cllm_engine::generate::GeneratorConfig;
    /// use cllm_engine::score::{Scorer, WordSearch, white_space_ends};
    /// use cllm_engine::{Model, ModelConfig, Pool};
    ///
    /// let tokens = ["<EOS>", " the", " th", "e", " cat", "s"];
    /// let model = Model::new(&ModelConfig { vocab: 6, dim: 16, heads: 2, ..Default::default() }, 1)?;
    /// let words = Scorer::new().next_words(
    ///     &Pool::serial(),
    ///     &model.view(),
    ///     &[1, 4],
    ///     &GeneratorConfig::default(),
    ///     WordSearch::new(3),
    ///     |id, bytes| match id {
    ///         0 => (),
    ///         id => bytes.extend_from_slice(tokens[id as usize].as_bytes()),
    ///     },
    ///     white_space_ends,
    /// )?;
    /// assert!(words.len() == 3 && words[0].probability >= words[2].probability);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scorer::next_tokens`]; numbers of the search that are out of their ranges.
    pub fn next_words(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        prompt: &[u32],
        config: &GeneratorConfig,
        search: WordSearch,
        spell: impl FnMut(u32, &mut Vec<u8>),
        ends: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<Vec<NextWord>> {
        search.check()?;
        self.allowed.set(model.vocab, config, None)?;
        let spellings = self.spellings(model.vocab, spell)?;
        let mut longest = search.max_tokens;
        let mut tokens = Session::window(model, prompt);
        if let Some(positions) = model.positions() {
            longest = longest.min(positions);
            let room = positions - longest + 1;
            tokens = &tokens[tokens.len().saturating_sub(room)..];
        }
        let known = tokens.len();
        let mut tokens = tokens.to_vec();
        self.session.clear();
        self.distribution(pool, model, &tokens)?;

        let mut finished = BTreeMap::<Vec<u8>, f64>::new();
        let begins = |bytes: &[u8]| search.begun.is_none_or(|byte| bytes.first() == Some(&byte));
        let start = Beam {
            tokens: Vec::new(),
            text: Vec::new(),
            probability: search
                .begun
                .map_or(1.0, |_| 1.0 / self.sum(|id| begins(spellings.of(id)))),
        };
        let mut beams = Vec::new();
        self.extend(&start, &spellings, begins, search.width, &mut beams)?;
        for length in 1..=longest {
            let mut longer = Vec::new();
            for beam in beams {
                let goes_on = |bytes: &[u8]| !bytes.is_empty() && !ends(&beam.text, bytes);
                let may = |id: usize| self.allowed.is_open(id) && goes_on(spellings.of(id));
                let end = if (0..model.vocab).any(may) {
                    tokens.truncate(known);
                    tokens.extend_from_slice(&beam.tokens);
                    self.session.truncate(known);
                    self.distribution(pool, model, &tokens)?;
                    if length < longest {
                        self.extend(&beam, &spellings, goes_on, search.width, &mut longer)?;
                        likeliest(&mut longer, search.width);
                    }
                    self.sum(|id| !goes_on(spellings.of(id)))
                } else {
                    1.0 // whatever comes begins another word
                };
                *finished.entry(beam.text).or_default() += beam.probability * end;
            }
            // What is less likely already than the words that there are need not be followed.
            let least = nth_largest(finished.values().copied(), search.words);
            longer.retain(|beam| beam.probability > least);
            beams = longer;
            if beams.is_empty() {
                break;
            }
        }
        let known = usize::from(search.begun.is_some());
        let mut words: Vec<_> = finished
            .into_iter()
            .filter(|(text, _)| text.len() > known)
            .map(|(text, p)| NextWord {
                text: text[known..].to_vec(),
                probability: p.min(1.0) as f32,
            })
            .collect();
        order::first_by(&mut words, search.words, |a, b| {
            b.probability.total_cmp(&a.probability).then_with(|| a.text.cmp(&b.text))
        });
        words.truncate(search.words);
        Ok(words)
    }

    /// The probability of some tokens together, by the distribution that [`Scorer::distribution`] has left.
    fn sum(&self, of: impl Fn(usize) -> bool) -> f64 {
        let all = self.logits.iter().enumerate();
        all.filter(|&(id, _)| of(id)).map(|(_, &p)| f64::from(p)).sum()
    }

    fn spellings(
        &self,
        vocab: usize,
        mut spell: impl FnMut(u32, &mut Vec<u8>),
    ) -> Result<Spellings> {
        let mut all = Spellings::default();
        reserve("the spellings of tokens", &mut all.ends, vocab)?;
        for id in 0..vocab {
            if self.allowed.is_open(id) {
                spell(id as u32, &mut all.bytes);
            }
            all.ends.push(all.bytes.len());
        }
        Ok(all)
    }

    /// The `width` likeliest ways to go on from `beam` by a token whose bytes `may` follow, by the
    /// distribution that [`Scorer::distribution`] has left.
    fn extend(
        &self,
        beam: &Beam,
        spellings: &Spellings,
        may: impl Fn(&[u8]) -> bool,
        width: usize,
        into: &mut Vec<Beam>,
    ) -> Result<()> {
        let ids = (0..self.logits.len()).filter(|&id| {
            let bytes = spellings.of(id);
            !bytes.is_empty() && self.allowed.is_open(id) && may(bytes)
        });
        let mut found = Vec::new();
        best(&mut found, width, ids.map(|id| (self.logits[id], id as u32)), self.logits.len())?;
        into.extend(
            found.iter().map(|&(p, id)| beam.then(id, spellings.of(id as usize), f64::from(p))),
        );
        Ok(())
    }
}

/// Keeps the `n` likeliest beams, likeliest first.
fn likeliest(beams: &mut Vec<Beam>, n: usize) {
    order::first_by(beams, n, |a, b| {
        b.probability.total_cmp(&a.probability).then_with(|| a.tokens.cmp(&b.tokens))
    });
    beams.truncate(n);
}

/// The n-th largest of some values; 0 where they are fewer.
fn nth_largest(values: impl Iterator<Item = f64>, n: usize) -> f64 {
    let mut all: Vec<f64> = values.collect();
    order::first_by(&mut all, n, |a, b| b.total_cmp(a));
    all.get(n - 1).copied().unwrap_or(0.0)
}
