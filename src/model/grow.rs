//! More ids for a model that the library made: a larger block of weights in the place of the old one.

use crate::border::ffi::{self, CArray};
use crate::border::registry::lock;
use crate::headers::cllm::CLLMModel;
use crate::model::parts::Structs;
use crate::model::subwords;
use crate::model::view::{self, MODELS};
use crate::model::words::{self, Unused};
use cllm_engine::error::{Error, Result};
use cllm_engine::model::{check_growth, mean_row};
use cllm_engine::text::index::Words;
use cllm_kernels::memory::product;

/// Gives a model the words of a vocabulary, whose ids are the model's own as far as it has words, and
/// as many more ids as that takes. How many those are.
///
/// # Safety
/// As [`words::set_words`]; no context and no training was made for the model, or will be used again.
pub(crate) unsafe fn grow(model: *mut CLLMModel, words: &[(&[u8], u64)]) -> Result<usize> {
    // SAFETY: the caller's promise, for the whole body.
    unsafe {
        if subwords::of(model)?.is_some() {
            return Err(Error::state("subwords spell every word: they need not grow"));
        }
        if let Some(strings) = words::strings(model)? {
            let old = (0..strings.used() as u32).map(|id| strings.get(id).unwrap_or_default());
            check_growth(old, words.iter().map(|&(word, _)| word))?;
        }
        let old = view::vocab_size(view::live(model)?)?;
        if words.len() <= old {
            words::set_words(model, words, Unused::Placeholder)?;
            return Ok(0);
        }
        widen(model, old, words)?;
        Ok(words.len() - old)
    }
}

/// # Safety
/// As [`grow`].
unsafe fn widen(model: *mut CLLMModel, old: usize, words: &[(&[u8], u64)]) -> Result<()> {
    let record = MODELS.get(model)?;
    let vocab = u32::try_from(words.len())
        .map_err(|_| Error::argument("vocab_size", words.len(), "below 2^32"))?;
    // SAFETY: the caller's promise, for the whole body.
    unsafe {
        view::check_sizes(model)?;
        let m = ffi::get_mut(model, "model")?;
        let (dim, (block, floats), layers, norms, untied) = {
            let made = lock(&record);
            let norms = if made.second_norms { 2 * made.layers } else { made.layers };
            (made.dim, made.weights, made.layers, norms, made.architecture.untied)
        };
        let ours = m.weights.addr() == block
            && m.embeddings.embeddings.addr() == block
            && m.num_weights as usize == floats
            && lock(&record).vocab == old;
        if !ours {
            let problem = "the program has put other arrays into the model: it can't grow";
            return Err(Error::state(problem));
        }
        let added = product("the weights", &[words.len() - old, dim])?;
        let total = floats.saturating_add(if untied { 2 * added } else { added });
        let mut larger = CArray::<f32>::aligned("the weights", total)?;
        let weights = ffi::slice(m.weights.cast_const(), floats, "model->weights")?;
        let (embeddings, rest) = weights.split_at(old * dim);
        let (first, others) = larger.as_mut_slice().split_at_mut(old * dim + added);
        let (others, head) = others.split_at_mut(rest.len());
        first[..old * dim].copy_from_slice(embeddings);
        fill(&mut first[old * dim..], embeddings, dim)?;
        others.copy_from_slice(rest);
        // A head of its own is the last part of the block.
        fill(head, &rest[rest.len().saturating_sub(old * dim)..], dim)?;

        // The spellings first: they are what can still fail.
        let sizes = (m.vocab_size, m.embeddings.vocab_size);
        (m.vocab_size, m.embeddings.vocab_size) = (u64::from(vocab), vocab);
        if let Err(error) = words::set_words(model, words, Unused::Placeholder) {
            let m = ffi::get_mut(model, "model")?;
            (m.vocab_size, m.embeddings.vocab_size) = sizes;
            return Err(error);
        }

        let base = larger.into_raw();
        let mut structs = Structs::of(model, layers, norms)?;
        for name in structs.names() {
            let Some(field) = structs.field(name) else { continue };
            let at = field.addr().wrapping_sub(block) / size_of::<f32>();
            if !field.is_null() && field.addr() >= block && at < floats {
                *field = base.wrapping_add(if at == 0 { 0 } else { at + added });
            }
        }
        let m = structs.model;
        let old_block = std::mem::replace(&mut m.weights, base);
        m.num_weights = total as u64;
        if m.header.total_params == floats as u64 {
            m.header.total_params = m.num_weights;
        }
        m.header.vocab_size = u64::from(vocab);
        let mut made = lock(&record);
        made.vocab = words.len();
        made.weights = (base.addr(), total);
        made.later += added;
        made.version = view::new_version();
        ffi::free(old_block);
    }
    Ok(())
}

/// Rows that are the mean of others.
fn fill(rows: &mut [f32], others: &[f32], dim: usize) -> Result<()> {
    let mean = mean_row(others, dim)?;
    rows.chunks_exact_mut(dim).for_each(|row| row.copy_from_slice(&mean));
    Ok(())
}
