//! Models that stay in their files.

use super::model::{metadata, tokenizer};
use super::read::{Reader, Values};
use super::{Entry, Extras, HEADER_BYTES, Header, Problem, Source, section, sizes};
use crate::error::{Error, Result};
use crate::model::{MappedModel, Precision, TensorName};
use cllm_kernels::memory::map::FileMap;
use std::collections::BTreeMap;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

impl MappedModel {
    /// Maps a model file of floats. `None` for one that must be read: of 8-bit weights, which memory
    /// holds in another order; of the original library or without embeddings; one whose floats don't begin at a multiple
    /// of four bytes, as all that this library writes do; and where numbers have another order of
    /// bytes than in files.
    ///
    /// # Errors
    /// As [`Model::read`](crate::Model::read), but for what only a look at the weights tells.
    pub fn open(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let Some((mut model, header, mut extras)) = Self::open_with(path.as_ref())? else {
            return Ok(None);
        };
        model.set_records(tokenizer(&mut extras)?, extras.tokens, metadata(&header));
        Ok(Some(model))
    }

    /// The same, and apart from the model what else its file holds.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path) -> Result<Option<(Self, Header, Extras)>> {
        let (file, _) = super::open(path)?;
        let map = FileMap::new(file).map_err(Error::io(path))?;
        let mut reader = reader(&map).map_err(Problem::at(path))?;
        let shape = reader.shape();
        if shape.precision != Precision::F32 || !shape.embeddings || !reader.has_extension() {
            return Ok(None);
        }
        let extras = reader.extras().map_err(Problem::at(path))?;
        let (header, shape) = (reader.header().clone(), reader.model_shape());
        let offsets = reader.offsets();
        drop(reader);
        let model = Self::new(map, path, shape, offsets)?;
        Ok(model.map(|model| (model, header, extras)))
    }

    /// Looks at every byte of the file: its checksums, and that no weight is NaN or infinite.
    ///
    /// # Errors
    /// What is damaged, and where; a file that was cut in its place.
    pub fn verify(&self) -> Result<()> {
        self.check()?;
        let checked =
            reader(self.bytes()).and_then(|mut reader| reader.read(&mut (), Values::Finite));
        checked.map(drop).map_err(Problem::at(self.path()))
    }
}

impl Source for MappedModel {
    fn data(&self, entry: &Entry) -> Option<&[f32]> {
        self.floats(entry.name, entry.len)
    }
}

fn reader(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, Problem> {
    Reader::open(Cursor::new(bytes), bytes.len() as u64)
}

impl<R: Read + Seek> Reader<R> {
    /// Everything of a file with an extension but the weights.
    fn extras(&mut self) -> Result<Extras, Problem> {
        let mut extras = Extras::default();
        for (offset, frame) in self.sections.clone() {
            if !section::FLOATS.contains(&frame.tag) {
                self.extra(offset, &frame, &mut extras)?;
            }
        }
        Ok(extras)
    }

    /// The byte at which each tensor of floats begins. Every one of them ends inside the file.
    fn offsets(&self) -> BTreeMap<TensorName, usize> {
        let mut offsets = BTreeMap::new();
        let mut put = |start: u64, entries: Vec<Entry>| {
            let mut at = start as usize;
            for entry in entries {
                offsets.insert(entry.name, at);
                at += 4 * entry.len;
            }
        };
        let shape = self.shape();
        put(HEADER_BYTES as u64, sizes::body(shape, !self.has_extension()));
        for (offset, frame) in &self.sections {
            put(*offset, sizes::of_section(shape, frame.tag));
        }
        offsets
    }
}
