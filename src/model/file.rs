//! Model files and `CLLMModel`: which values of the C structs go where in the file, and back.

pub(crate) mod records;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::border::ffi::{self, CArray, Draft};
use crate::border::registry::lock;
use crate::headers::cllm::*;
use crate::model::build;
use crate::model::kept::{self, Kept};
use crate::model::parts::Structs;
use crate::model::subwords;
use crate::model::view::{self, MODELS, ModelRecord};
use cllm_engine::error::{Error, Result};
use cllm_engine::file::{
    self, Destination, Entry, Extras, Header, Problem, Reader, Source, Values,
};
use cllm_engine::limits::TOKEN_STR_LEN;
use cllm_engine::model::{MappedModel, ModelShape, Precision, QuantizedModel};
use cllm_engine::system::atomic::{self, Pending};
use cllm_kernels::Pool;
use records::{c_point, set_header, set_token, set_training};
use snapshot::{KeptSnapshot, Snapshot};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Reads a model file. NaN and infinite weights are an error unless they are allowed.
pub(crate) fn read_model(path: &Path, allow_non_finite: bool) -> Result<*mut CLLMModel> {
    let (file, len) = file::open(path)?;
    let mut reader = Reader::open(file, len).map_err(Problem::at(path))?;
    let values = if allow_non_finite { Values::Any } else { Values::Finite };
    if reader.shape().precision == Precision::Int8 {
        let read = QuantizedModel::read_from(&mut reader, values);
        let (quantized, extras) = read.map_err(Problem::at(path))?;
        return with_records(reader.header(), Kept::Int8(Arc::new(quantized)), &extras);
    }
    let shape = reader.model_shape();
    // SAFETY: the model was just made, and nothing else knows it.
    let draft = unsafe { Draft::new(build::build(&shape)?, build::free) };
    // SAFETY: likewise, with arrays of these lengths.
    let structs = unsafe { Structs::of(draft.get(), shape.layers.len(), shape.norms.len())? };
    let record = MODELS.get(draft.get())?;
    set_fields(structs.model, reader.header(), &shape);
    let extras = reader.read(&mut Slots { structs, record }, values).map_err(Problem::at(path))?;
    // SAFETY: likewise; the borrow of the slots is over.
    unsafe { set_extras(draft.get(), &extras)? };
    Ok(draft.keep())
}

/// The header of a file, in a model that was made for it.
fn set_fields(m: &mut CLLMModel, header: &Header, shape: &ModelShape) {
    set_header(&mut m.header, header);
    m.header.num_heads = shape.heads() as u32;
    if header.total_params != shape.total_params() {
        m.header.total_params = m.num_weights;
    }
    m.training_meta.timestamp = header.training_timestamp;
}

/// A model whose weights stay in its file; one that is read, where they can't.
pub(crate) fn map_model(path: &Path) -> Result<*mut CLLMModel> {
    match MappedModel::open_with(path)? {
        Some((model, header, extras)) => {
            with_records(&header, Kept::Mapped(Arc::new(model)), &extras)
        }
        None => read_model(path, false),
    }
}

/// A model whose weights the library keeps, with the records of a file or of another model.
fn with_records(header: &Header, kept: Kept, extras: &Extras) -> Result<*mut CLLMModel> {
    let shape = kept.shape().clone();
    // SAFETY: the model was just made, and nothing else knows it.
    let draft = unsafe { Draft::new(build::build_around(kept)?, build::free) };
    // SAFETY: likewise.
    unsafe {
        set_fields(ffi::get_mut(draft.get(), "model")?, header, &shape);
        set_extras(draft.get(), extras)?;
    }
    Ok(draft.keep())
}

/// A new model of 8-bit weights, of the floats of another one.
///
/// # Safety
/// As [`write_model`].
pub(crate) unsafe fn quantize(model: *const CLLMModel, pool: &Pool) -> Result<*mut CLLMModel> {
    let int8 = |shape: &ModelShape, source: &dyn Source| {
        let quantized = QuantizedModel::of_source(shape, source, pool)?;
        Ok::<_, Error>(Kept::Int8(Arc::new(quantized)))
    };
    if let Some(kept @ Kept::Mapped(_)) = kept::kept(model)? {
        // SAFETY: the caller's promise.
        let snapshot = unsafe { KeptSnapshot::of(model, kept)? };
        let quantized = int8(&snapshot.shape, snapshot.model.source())?;
        return with_records(&snapshot.full_header(), quantized, &snapshot.extras);
    }
    // SAFETY: the caller's promise.
    let snapshot = unsafe { Snapshot::of(model)? };
    let quantized = int8(&snapshot.shape, &snapshot)?;
    with_records(&snapshot.full_header(), quantized, &snapshot.extras)
}

/// A new model of floats, of the 8-bit weights of another one.
///
/// # Safety
/// As [`write_model`].
pub(crate) unsafe fn expand(model: *const CLLMModel) -> Result<*mut CLLMModel> {
    let quantized = match kept::kept(model)? {
        Some(Kept::Int8(quantized)) => quantized,
        Some(mapped) => return Err(mapped.refusal()),
        None => return Err(Error::state("the model holds floats already")),
    };
    // SAFETY: the caller's promise.
    let snapshot = unsafe { KeptSnapshot::of(model, Kept::Int8(Arc::clone(&quantized)))? };
    let shape = ModelShape { precision: Precision::F32, ..quantized.shape().clone() };
    // SAFETY: the model was just made, and nothing else knows it.
    let draft = unsafe { Draft::new(build::build(&shape)?, build::free) };
    // SAFETY: likewise, with arrays of these lengths.
    let structs = unsafe { Structs::of(draft.get(), shape.layers.len(), shape.norms.len())? };
    let record = MODELS.get(draft.get())?;
    set_fields(structs.model, &snapshot.full_header(), &shape);
    quantized.expand_into(&mut Slots { structs, record });
    // SAFETY: likewise; the borrow of the slots is over.
    unsafe { set_extras(draft.get(), &snapshot.extras)? };
    Ok(draft.keep())
}

/// Whether the file at `path` is a model file of this library, not of the original one.
pub(crate) fn has_extension(path: &Path) -> Result<bool> {
    let (file, len) = file::open(path)?;
    Ok(Reader::open(file, len).map_err(Problem::at(path))?.has_extension())
}

/// Whether the file at `path` is one that [`read_model`] reads.
pub(crate) fn check(path: &Path) -> Result<()> {
    let (file, len) = file::open(path)?;
    let mut reader = Reader::open(file, len).map_err(Problem::at(path))?;
    reader.read(&mut (), Values::Finite).map_err(Problem::at(path))?;
    Ok(())
}

/// Writes a model file, whole or not at all.
///
/// # Safety
/// As [`view::plan`]; `tokens` and `lattice_points` are NULL or as long as the model says.
pub(crate) unsafe fn write_model(model: *const CLLMModel, path: &Path) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { prepare_model(model, path)? }.commit()
}

/// The same up to the point where the file appears.
///
/// # Safety
/// As [`write_model`].
pub(crate) unsafe fn prepare_model(model: *const CLLMModel, path: &Path) -> Result<Pending> {
    if let Some(kept) = kept::kept(model)? {
        // SAFETY: the caller's promise.
        let snapshot = unsafe { KeptSnapshot::of(model, kept)? };
        let (header, shape) = (&snapshot.header, &snapshot.shape);
        let file = file::prepare(header, shape, snapshot.model.source(), &snapshot.extras)?;
        return atomic::prepare(path, |out| file.write(out));
    }
    // SAFETY: the caller's promise.
    let snapshot = unsafe { Snapshot::of(model)? };
    let file = file::prepare(&snapshot.header, &snapshot.shape, &snapshot, &snapshot.extras)?;
    atomic::prepare(path, |out| file.write(out))
}

/// The arrays of a model that was made for the file.
struct Slots<'m> {
    structs: Structs<'m>,
    record: Arc<Mutex<ModelRecord>>,
}

impl Destination for Slots<'_> {
    fn slot(&mut self, entry: &Entry) -> Option<&mut [f32]> {
        let later = lock(&self.record).later(entry.name);
        let pointer = match later {
            Some(start) => self.structs.model.weights.wrapping_add(start),
            None => *self.structs.field(entry.name)?,
        };
        if pointer.is_null() {
            return None;
        }
        // SAFETY: `build` made every pointer that is not NULL point to the floats that the shape
        // says, in memory that only this model has.
        unsafe { ffi::slice_mut(pointer, entry.len, "a weight array").ok() }
    }
}

/// # Safety
/// `model` was just made.
unsafe fn set_extras(model: *mut CLLMModel, extras: &Extras) -> Result<()> {
    // SAFETY: the caller's promise.
    let m = unsafe { ffi::get_mut(model, "model")? };
    let vocab = view::vocab_size(m)?;
    // SAFETY: a made model has one token per id.
    let tokens = unsafe { ffi::slice_mut(m.tokens, vocab, "tokens")? };
    let mut long = std::collections::HashMap::new();
    for ((id, token), word) in tokens.iter_mut().enumerate().zip(extras.words.iter()) {
        ffi::set_field(&mut token.token_str, word);
        if word.len() > TOKEN_STR_LEN {
            long.insert(id as u32, word.to_vec());
        }
    }
    for (token, record) in tokens.iter_mut().zip(&extras.tokens) {
        set_token(token, record);
    }
    if !long.is_empty() {
        let record = MODELS.get(model)?;
        lock(&record).long_strings = Arc::new(long);
    }
    if let Some(bpe) = &extras.subwords {
        for (id, token) in (0..bpe.len() as u32).zip(tokens.iter_mut()) {
            ffi::set_field(&mut token.token_str, subwords::spelling(bpe, id).as_bytes());
        }
        // SAFETY: likewise.
        unsafe { subwords::keep(model, bpe.clone())? };
    }
    if !extras.points.is_empty() {
        let mut points = CArray::zeroed("the lattice points", extras.points.len())?;
        for (slot, point) in points.as_mut_slice().iter_mut().zip(&extras.points) {
            *slot = c_point(point);
        }
        m.lattice_points = points.into_raw();
        m.num_lattice_points = extras.points.len() as u64;
    }
    set_training(&mut m.training_meta, &extras.training);
    Ok(())
}
