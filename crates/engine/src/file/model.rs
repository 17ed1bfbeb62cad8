//! Owned models and their files.

use super::{Destination, Entry, Extras, Header, Problem, Reader, Source, Values};
use crate::error::{Error, Result};
use crate::limits::DEFAULT_CONTEXT;
use crate::model::{Metadata, Model, ModelShape, Part, Table, TensorName};
use crate::system::{atomic, date};
use crate::text::index::Words;
use crate::text::split::is_placeholder;
use crate::text::{Tokenizer, Vocabulary, WordList};
use std::path::Path;

impl Model {
    /// Reads a model file, of this library or of the original C library. Weights that are NaN or
    /// infinite are an error.
    ///
    /// # Errors
    /// The file can't be read, is damaged or is no model file; no memory. The message says where
    /// the damage is.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (file, len) = super::open(path)?;
        let mut reader = Reader::open(file, len).map_err(Problem::at(path))?;
        if !reader.shape().embeddings {
            return Err(Error::file(path, "holds a model without embeddings"));
        }
        let mut model = Self::zeroed(reader.model_shape())?;
        let extras = reader.read(&mut Slots(&mut model), Values::Finite);
        let mut extras = extras.map_err(Problem::at(path))?;
        *model.metadata_mut() = metadata(reader.header());
        *model.training_mut() = extras.training;
        let tokenizer = match extras.subwords.take() {
            Some(subwords) => Some(subwords.into()),
            None => vocabulary(&extras)?.map(Tokenizer::from),
        };
        model.set_records(tokenizer, extras.tokens, extras.points);
        Ok(model)
    }

    /// Writes a model file, whole or not at all: after a crash at any moment the old file is there
    /// or the new one. Both libraries read it, and its bytes are those that the C library writes
    /// for the same model.
    ///
    /// # Errors
    /// A model larger than a file holds (a million tokens, width 10000, 100 layers); the system's
    /// reason.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let tables =
            Part::TABLES.map(|part| TensorName { part, layer: 0 }).map(|name| self.table(name));
        let shape = ModelShape { tables: Table::of_values(tables), ..self.shape().clone() };
        let header = Header::of(self.metadata(), &shape, date::unix_now());
        let extras = Extras {
            words: words(self)?,
            subwords: match self.tokenizer() {
                Some(Tokenizer::Subwords(bpe)) => Some(bpe.clone()),
                _ => None,
            },
            tokens: self.tokens().to_vec(),
            points: self.points().to_vec(),
            training: *self.training(),
        };
        let file = super::prepare(&header, &shape, self, &extras)?;
        atomic::write(path.as_ref(), |out| file.write(out))
    }

    fn table(&self, name: TensorName) -> Option<&[f32]> {
        self.floats(name).filter(|values| !values.is_empty())
    }
}

impl Source for Model {
    fn data(&self, entry: &Entry) -> Option<&[f32]> {
        self.floats(entry.name)
    }
}

/// The values of a model that was made for the file.
struct Slots<'m>(&'m mut Model);

impl Destination for Slots<'_> {
    fn slot(&mut self, entry: &Entry) -> Option<&mut [f32]> {
        self.0.floats_mut(entry.name)
    }
}

/// The text in a field that zeros fill up.
fn text(field: &[u8]) -> Vec<u8> {
    field.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
}

fn metadata(header: &Header) -> Metadata {
    Metadata {
        name: text(&header.model_name),
        description: text(&header.description),
        created: header.created_timestamp,
        modified: header.modified_timestamp,
        trained: header.training_timestamp,
        context: header.context_length,
        architecture: header.architecture,
    }
}

/// The words of a file; the `token_<id>` that stand for none at its end are left out.
fn vocabulary(extras: &Extras) -> Result<Option<Vocabulary>> {
    let words = &extras.words;
    let real = |id: &usize| words.get(*id as u32).is_some_and(|word| !is_placeholder(word, *id));
    let Some(last) = (0..words.len()).rev().find(real) else {
        return Ok(None);
    };
    let count = |id: usize| extras.tokens.get(id).map_or(0, |token| token.frequency as u64);
    let words = words.iter().take(last + 1).enumerate();
    Vocabulary::from_words(words.map(|(id, word)| (word, count(id)))).map(Some)
}

/// A word for each id; none where each would be `token_<id>`, which is what a reader makes of
/// none.
fn words(model: &Model) -> Result<WordList> {
    let mut words = WordList::default();
    let Some(vocabulary) = model.vocabulary() else {
        return Ok(words);
    };
    let mut real = false;
    for id in 0..model.shape().vocab {
        let placeholder = format!("token_{id}");
        let word = vocabulary.word(id as u32).unwrap_or(placeholder.as_bytes());
        real |= word != placeholder.as_bytes();
        words.push(word)?;
    }
    Ok(if real { words } else { WordList::default() })
}

impl Header {
    /// The fields that are not sizes, for a model that is written at `now`. Texts that are too long
    /// are cut.
    pub fn of(metadata: &Metadata, shape: &ModelShape, now: u64) -> Self {
        let mut header = Self {
            created_timestamp: if metadata.created == 0 { now } else { metadata.created },
            modified_timestamp: now,
            timestamp: now,
            architecture: match (shape.second_norms(), metadata.architecture) {
                (true, _) => 2,
                (false, 2) => 0,
                (false, architecture) => architecture,
            },
            context_length: match (shape.max_length as u32, metadata.context) {
                (0, 0) => DEFAULT_CONTEXT as u32,
                (0, stated) => stated,
                (length, _) => length,
            },
            training_timestamp: metadata.trained,
            ..Self::default()
        };
        for (field, text) in [
            (&mut header.model_name[..], &metadata.name),
            (&mut header.description[..], &metadata.description),
        ] {
            field.iter_mut().zip(text).for_each(|(slot, &byte)| *slot = byte);
        }
        header
    }
}
