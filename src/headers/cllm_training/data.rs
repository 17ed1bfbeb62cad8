//! Training text.

use super::CLLMTraining;
use super::state::{self, batch_shape};
use crate::border::ffi::{self, CArray};
use crate::border::registry::lock;
use crate::model::words::{self, Rule};
use cllm_engine::error::Error;
use cllm_engine::text::files::read_document;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// Appends the tokens of a text file to `training->tokens`.
///
/// With a vocabulary (`model->tokens`): the ids of its words as by cllm_tokenize, except that in a
/// vocabulary without `<UNK>` the hash takes bytes as unsigned. Without one: a token per byte except
/// line ends, byte modulo V. The encoding is found as by cllm_data_loader_load_file.
///
/// @return tokens appended, 0 or more; -1 for NULL, a file that can't be read or is no text, one that
///         cllm_data_loader_load_file() would refuse, or no memory (nothing changed).
///
/// Afterwards `total_batches` = num_tokens/(B*S), rounded down (0 where B*S is not positive).
/// `tokens` may move; a block that the program set is copied, not freed. The block that the
/// library allocates here is the program's to free(), also after cllm_training_free.
///
/// # Safety
/// `training` is NULL or live, `tokens` holds `num_tokens` ids; `filename` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_load_training_data(
    training: *mut CLLMTraining,
    filename: *const c_char,
) -> c_int {
    let known = state::TRAININGS.find(training)?;
    let t = ffi::get_mut(training, "training")?;
    let text = read_document(ffi::path(filename, "filename")?)?;
    let ids = words::ids_of_text(t.model, &text, Rule::Training, usize::MAX)?;
    let appended = c_int::try_from(ids.len())
        .map_err(|_| Error::argument("the file's tokens", ids.len(), "below 2^31"))?;
    let old = match t.tokens.is_null() {
        true => &[][..],
        false => ffi::slice(t.tokens, t.num_tokens, "tokens")?,
    };
    let total = old.len().saturating_add(ids.len());
    let mut all = CArray::<u32>::zeroed("the training tokens", total)?;
    let (head, tail) = all.as_mut_slice().split_at_mut(old.len());
    head.copy_from_slice(old);
    tail.copy_from_slice(&ids);
    let new = all.into_raw();
    let previous = std::mem::replace(&mut t.tokens, new);
    t.num_tokens = total;
    if let Some(state) = known {
        let own = std::mem::replace(&mut lock(&state).own_tokens, new.addr());
        if own == previous.addr() {
            ffi::free(previous);
        }
    }
    t.total_batches = total_batches(t);
    Ok(appended)
}

fn total_batches(t: &CLLMTraining) -> c_int {
    let rows = batch_shape(&t.config).ok().and_then(|(b, s)| b.checked_mul(s));
    rows.map_or(0, |rows| c_int::try_from(t.num_tokens / rows).unwrap_or(c_int::MAX))
}
