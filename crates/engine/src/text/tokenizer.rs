//! A tokenizer of either kind.

use super::{Bpe, SPECIALS, Vocabulary, bpe, special};
use crate::error::Result;
use cllm_kernels::Pool;
use std::borrow::Cow;
use std::sync::Arc;

/// What the tokens of a tokenizer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Whole words; text is taken apart and does not come back as it was.
    Words,
    /// Pieces of words, down to bytes.
    Subwords,
    /// The 256 bytes: subwords without merges.
    Bytes,
}

/// Text to ids and back, whatever the tokens are. Cheap to clone: clones share one vocabulary.
///
/// ```
/// use cllm_engine::text::{Bpe, Tokenizer, Utf8Stream};
///
/// // Learn 300 tokens: 5 special ones, 256 bytes, and the most useful merges.
/// let play = "ROMEO:\nIs the day so young?\n\nBENVOLIO:\nBut new struck nine.\n\n".repeat(20);
/// let tokenizer = Tokenizer::from(Bpe::train([play.as_bytes()], 300)?);
///
/// // Text comes back as it went in, whatever it is.
/// let text = "ROMEO:\nIs the café\topen? \u{1F600}";
/// let ids = tokenizer.encode(text.as_bytes())?;
/// assert_eq!(tokenizer.decode(&ids)?, text.as_bytes());
/// assert!(ids.len() < text.len());
///
/// // Text that spells a special token is text, unless the caller wants it.
/// let end = tokenizer.end().unwrap();
/// assert!(!tokenizer.encode(b"<EOS>")?.contains(&end));
/// assert_eq!(tokenizer.encode_with_specials(b"<EOS>")?, [end]);
///
/// // As a stream: whole characters, as soon as they are there.
/// let mut stream = Utf8Stream::default();
/// let mut said = String::new();
/// for &id in &ids {
///     let piece = stream.push(tokenizer.token(id).unwrap_or_default()).to_vec();
///     said.push_str(std::str::from_utf8(&piece).unwrap());
/// }
/// assert_eq!((said.as_str(), stream.finish().len()), (text, 0));
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Tokenizer {
    /// Whole words.
    Words(Arc<Vocabulary>),
    /// Byte-level BPE, with or without merges.
    Subwords(Bpe),
}

impl From<Vocabulary> for Tokenizer {
    fn from(words: Vocabulary) -> Self {
        Self::Words(Arc::new(words))
    }
}

impl From<Bpe> for Tokenizer {
    fn from(bpe: Bpe) -> Self {
        Self::Subwords(bpe)
    }
}

impl Tokenizer {
    /// What its tokens are.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Words(_) => Kind::Words,
            Self::Subwords(bpe) if bpe.merges() == 0 => Kind::Bytes,
            Self::Subwords(_) => Kind::Subwords,
        }
    }

    /// Number of tokens, the special ones included.
    pub fn len(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Subwords(bpe) => bpe.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of a text, which stands for no special token, whatever it spells.
    ///
    /// # Errors
    /// No memory; a vocabulary without words.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        self.encode_in(text, false, &Pool::serial())
    }

    /// [`encode`](Self::encode), where what spells a special token becomes it: with words a whole
    /// word, as the vocabulary spells it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_with_specials(&self, text: &[u8]) -> Result<Vec<u32>> {
        self.encode_in(text, true, &Pool::serial())
    }

    /// Either of them, subwords by the threads of `pool`; the ids do not depend on their number.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_in(&self, text: &[u8], specials: bool, pool: &Pool) -> Result<Vec<u32>> {
        let words = match self {
            Self::Subwords(bpe) => return bpe.encode_in(text, specials, pool),
            Self::Words(words) if !specials => return words.encode(text),
            Self::Words(words) => words,
        };
        let mut ids = Vec::new();
        for word in super::split::text_words(text) {
            match words.id(word).filter(|&id| self.is_special(id)) {
                Some(id) => ids.push(id),
                None => words.encode_onto(word, &mut ids)?,
            }
        }
        Ok(ids)
    }

    /// The text of ids: with subwords their bytes, special tokens left out; with words the words,
    /// special ones too, joined by spaces. Ids that are not in the vocabulary are left out.
    ///
    /// # Errors
    /// No memory.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        match self {
            Self::Words(words) => words.decode(ids),
            Self::Subwords(bpe) => bpe.decode(ids),
        }
    }

    /// [`decode`](Self::decode), with the names of special tokens or, for either kind, without.
    ///
    /// # Errors
    /// No memory.
    pub fn decode_with(&self, ids: &[u32], specials: bool) -> Result<Vec<u8>> {
        match self {
            Self::Subwords(bpe) => bpe.decode_with(ids, specials),
            Self::Words(words) if specials => words.decode(ids),
            Self::Words(words) => {
                let text: Vec<u32> =
                    ids.iter().copied().filter(|&id| !self.is_special(id)).collect();
                words.decode(&text)
            }
        }
    }

    /// The bytes of a token.
    pub fn token(&self, id: u32) -> Option<&[u8]> {
        match self {
            Self::Words(words) => words.word(id),
            Self::Subwords(bpe) => bpe.token(id),
        }
    }

    /// A token as one line of readable text: words as they are, but bytes that are no UTF-8 shown
    /// by U+FFFD; subwords as [`bpe::shown`] has it.
    pub fn shown(&self, id: u32) -> Option<Cow<'_, str>> {
        let token = self.token(id)?;
        Some(match self {
            Self::Words(_) => String::from_utf8_lossy(token),
            Self::Subwords(_) if self.is_special(id) => String::from_utf8_lossy(token),
            Self::Subwords(_) => Cow::Owned(bpe::shown(token)),
        })
    }

    /// The id of a token by its bytes; of a special one by its name.
    pub fn id(&self, token: &[u8]) -> Option<u32> {
        match self {
            Self::Words(words) => words.id(token),
            Self::Subwords(bpe) => bpe.id(token),
        }
    }

    /// Whether a token stands for no text.
    pub fn is_special(&self, id: u32) -> bool {
        match self {
            Self::Words(words) => special::is_special(words.words(), id),
            Self::Subwords(bpe) => bpe.is_special(id),
        }
    }

    /// The token that ends a text, if there is one.
    pub fn end(&self) -> Option<u32> {
        match self {
            Self::Words(words) => special::end(words.words()),
            Self::Subwords(bpe) => bpe.end(),
        }
    }

    /// The token for what is not known, if there is one. Texts as subwords never need it.
    pub fn unknown(&self) -> Option<u32> {
        match self {
            Self::Words(words) => words
                .iter()
                .position(|(word, _)| word.eq_ignore_ascii_case(SPECIALS[1]))
                .map(|id| id as u32),
            Self::Subwords(bpe) => bpe.unknown(),
        }
    }
}
