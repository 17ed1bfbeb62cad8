//! Owned models and their files.

use super::{Destination, Entry, Extras, Header, Problem, Reader, Source, Values};
use crate::error::{Error, Result};
use crate::limits::DEFAULT_CONTEXT;
use crate::model::{
    Metadata, Model, ModelShape, Part, Precision, QuantizedModel, Table, TensorName,
};
use crate::system::{atomic, date};
use crate::text::index::Words;
use crate::text::split::is_placeholder;
use crate::text::{Tokenizer, Vocabulary, WordList};
use cllm_kernels::Pool;
use cllm_kernels::int8::Matrix;
use std::fs::File;
use std::io::{Read, Seek};
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
        let mut reader = open(path)?;
        if reader.shape().precision == Precision::Int8 {
            return Err(Error::file(
                path,
                "holds 8-bit weights: QuantizedModel::read reads it, and expands it to floats",
            ));
        }
        let mut model = Self::zeroed(reader.model_shape())?;
        let extras = reader.read(&mut model, Values::Finite);
        model.take_records(reader.header(), extras.map_err(Problem::at(path))?)?;
        Ok(model)
    }

    /// What a file holds besides sizes and values.
    fn take_records(&mut self, header: &Header, mut extras: Extras) -> Result<()> {
        *self.metadata_mut() = metadata(header);
        *self.training_mut() = extras.training;
        self.set_records(tokenizer(&mut extras)?, extras.tokens, extras.points);
        Ok(())
    }

    /// Writes a model file, whole or not at all: after a crash at any moment the old file is there
    /// or the new one. Both libraries read it, and its bytes are those that the C library writes
    /// for the same model.
    ///
    /// # Errors
    /// A model larger than a file holds (a million tokens, width 10000, 100 layers); the system's
    /// reason.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write_from(self, path.as_ref())
    }

    /// Writes a file of this model's sizes and records, with the values of `source`.
    fn write_from(&self, source: &dyn Source, path: &Path) -> Result<()> {
        let shape = self.stored_shape();
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
        let file = super::prepare(&header, &shape, source, &extras)?;
        atomic::write(path, |out| file.write(out))
    }

    /// The sizes as a file has them: tables that are zero throughout take no room.
    fn stored_shape(&self) -> ModelShape {
        let tables =
            Part::TABLES.map(|part| TensorName { part, layer: 0 }).map(|name| self.table(name));
        ModelShape { tables: Table::of_values(tables), ..self.shape().clone() }
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

impl Destination for Model {
    fn slot(&mut self, entry: &Entry) -> Option<&mut [f32]> {
        self.floats_mut(entry.name)
    }
}

impl QuantizedModel {
    /// Reads a model file whose matrices are 8-bit weights.
    ///
    /// # Errors
    /// A file of floats, whose model [`Model::quantize`] makes one of 8-bit weights; otherwise as
    /// [`Model::read`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut reader = open(path)?;
        if reader.shape().precision != Precision::Int8 {
            return Err(Error::file(path, "holds weights that are floats: Model::read reads it"));
        }
        let read = Self::read_from(&mut reader, Values::Finite);
        let (mut model, extras) = read.map_err(Problem::at(path))?;
        model.rest_mut().take_records(reader.header(), extras)?;
        Ok(model)
    }

    /// The weights of a file that holds such, and apart from them its words and records.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from<R: Read + Seek>(
        reader: &mut Reader<R>,
        values: Values,
    ) -> Result<(Self, Extras), Problem> {
        let mut model = Self::zeroed(reader.model_shape())?;
        let extras = reader.read(&mut model, values)?;
        Ok((model, extras))
    }

    /// The 8-bit weights of a model whose floats lie elsewhere, without its words and records.
    ///
    /// # Errors
    /// As [`Model::quantize`].
    pub fn of_source(shape: &ModelShape, source: &dyn Source, pool: &Pool) -> Result<Self> {
        let shape = ModelShape { precision: Precision::Int8, ..shape.clone() };
        let mut model = Self::zeroed(shape)?;
        let shape = model.shape().clone();
        for name in shape.block().chain(Part::separate()) {
            let len = shape.values(name);
            let Some(values) = source.data(&Entry { name, len }) else { continue };
            if let Some(matrix) = model.matrix_mut(name) {
                let (rows, columns) = (matrix.rows(), matrix.columns());
                if values.len() != rows * columns {
                    return Err(Error::shape(format!("{name} has {} values", values.len())));
                }
                // Its own room is given back before it is asked for again.
                *matrix = Matrix::default();
                *matrix = Matrix::quantized(pool, values, rows, columns)?;
            } else if let Some(to) = model.rest_mut().floats_mut(name)
                && to.len() == values.len()
            {
                to.copy_from_slice(values);
            }
        }
        Ok(model)
    }

    /// Writes the floats that the weights stand for, and all other values, to where they belong.
    pub fn expand_into(&self, destination: &mut dyn Destination) {
        let shape = self.shape();
        for name in shape.block().chain(Part::separate()) {
            let Some(to) = destination.slot(&Entry { name, len: shape.values(name) }) else {
                continue;
            };
            if let Some(matrix) = self.matrix(name) {
                for (i, row) in to.chunks_exact_mut(matrix.columns().max(1)).enumerate() {
                    matrix.expand_row(i, row);
                }
            } else if let Some(values) = self.rest().floats(name)
                && values.len() == to.len()
            {
                to.copy_from_slice(values);
            }
        }
    }

    /// The sizes as a file has them: tables that are zero throughout take no room.
    pub fn stored_shape(&self) -> ModelShape {
        self.rest().stored_shape()
    }

    /// Writes a model file as [`Model::write`] does. Older releases and the original library refuse
    /// it.
    ///
    /// # Errors
    /// As [`Model::write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        self.rest().write_from(self, path.as_ref())
    }
}

impl Source for QuantizedModel {
    fn data(&self, entry: &Entry) -> Option<&[f32]> {
        self.rest().floats(entry.name)
    }

    fn matrix(&self, name: TensorName) -> Option<&Matrix> {
        QuantizedModel::matrix(self, name)
    }
}

impl Destination for QuantizedModel {
    fn slot(&mut self, entry: &Entry) -> Option<&mut [f32]> {
        self.rest_mut().floats_mut(entry.name)
    }

    fn matrix(&mut self, name: TensorName) -> Option<&mut Matrix> {
        self.matrix_mut(name)
    }
}

/// A file of a model that has embeddings.
fn open(path: &Path) -> Result<Reader<File>> {
    let (file, len) = super::open(path)?;
    let reader = Reader::open(file, len).map_err(Problem::at(path))?;
    if !reader.shape().embeddings {
        return Err(Error::file(path, "holds a model without embeddings"));
    }
    Ok(reader)
}

/// The text in a field that zeros fill up.
fn text(field: &[u8]) -> Vec<u8> {
    field.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
}

/// What turns texts into the ids of a file, if that says it.
pub(super) fn tokenizer(extras: &mut Extras) -> Result<Option<Tokenizer>> {
    match extras.subwords.take() {
        Some(subwords) => Ok(Some(subwords.into())),
        None => Ok(vocabulary(extras)?.map(Tokenizer::from)),
    }
}

pub(super) fn metadata(header: &Header) -> Metadata {
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
