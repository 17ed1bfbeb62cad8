//! Vocabularies of models, and how good a model is.

use super::training::pool_of;
use crate::border::ffi;
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_tokenizer::CLLMTokenizer;
use crate::headers::cllm_tokenizer::{subwords as tokenizer_subwords, words as tokenizer_words};
use crate::model::file;
use crate::model::kept;
use crate::model::{subwords, view, words};
use cllm_engine::error::{Error, Result};
use cllm_engine::log;
use cllm_engine::text::{Bpe, Ids, vocab};
use cllm_engine::train::tokens;
use cllm_engine::{Evaluation, evaluate_first};
use cllm_kernels::Pool;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// Mean cross-entropy and perplexity of a sequence of token ids, such as held-out text, cut into
/// windows of `seq_len` tokens that don't see each other. Token i+1 is predicted from the tokens
/// up to i of its window.
///
/// @param tokens      `[num_tokens]`, at least 2.
/// @param seq_len     window, at least 1; the context that the model was trained with is a good one.
/// @param threads     0: as cllm_set_threads() says.
/// @param mean_loss   nats per token; may be NULL.
/// @param perplexity  e^mean_loss; may be NULL.
/// @return 0; -1 on failure, with the outputs unchanged. Ids that are not below the vocabulary size
///         are left out with a warning; where there are no others, that is a failure.
///
/// ```c
/// double perplexity;
/// if (cllm_evaluate(model, ids, count, 128, 0, NULL, &perplexity) == 0)
///     printf("perplexity %.1f\n", perplexity);
/// ```
///
/// # Safety
/// `model` is NULL or live and not trained meanwhile; `tokens` is NULL or holds `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_evaluate(
    model: *mut CLLMModel,
    tokens: *const u32,
    num_tokens: usize,
    seq_len: c_int,
    threads: c_int,
    mean_loss: *mut f64,
    perplexity: *mut f64,
) -> c_int {
    let length = ffi::positive(seq_len, "seq_len")?;
    let pool = pool_of(threads)?;
    let tokens = ffi::slice(tokens, num_tokens, "tokens")?;
    let result = evaluate_ids(model, tokens.into(), num_tokens, length, &pool)?;
    ffi::set_out(mean_loss, result.mean_loss, "mean_loss")?;
    ffi::set_out(perplexity, result.perplexity(), "perplexity")?;
    Ok(0)
}

/// Evaluates the first `count` ids, with a warning of those that the model does not have.
///
/// # Safety
/// `model` is NULL or live and not trained meanwhile.
pub(super) unsafe fn evaluate_ids(
    model: *mut CLLMModel,
    tokens: Ids<'_>,
    count: usize,
    length: usize,
    pool: &Pool,
) -> Result<Evaluation> {
    let running = kept::running(model)?;
    let model = running.view();
    if let Some(found) = tokens::foreign(tokens, model.vocab)? {
        let what = found.describe(tokens.len(), model.vocab);
        log::warn(&format!("ids are left out of the evaluation: {what}"));
    }
    evaluate_first(pool, &model, tokens, count, length)
}

/// Gives a model the strings of a tokenizer, with its counts as frequencies: token i of the model
/// is spelled like entry i of the tokenizer. Entries of the model beyond the tokenizer's keep
/// `token_<id>`. Subwords become the model's own: texts go in and come out by them from then on, and
/// they travel in its file (`token_str` shows them readably, as cllm_get_token_string()).
///
/// @return 0; -1 if the tokenizer has more entries than the model, or on NULL (nothing changed).
///
/// ```c
/// cllm_model_set_vocab(model, tokenizer);   // before cllm_write_model: the file then has words
/// ```
///
/// # Safety
/// Both are NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_model_set_vocab(
    model: *mut CLLMModel,
    tokenizer: *const CLLMTokenizer,
) -> c_int {
    if let Some(bpe) = tokenizer_subwords::of(tokenizer)? {
        let counts: &[u32] = tokenizer_words::counts(tokenizer)?;
        let count = |id: u32| counts.get(id as usize).map_or(0, |&count| u64::from(count));
        subwords::set(model, bpe, count)?;
        return Ok(0);
    }
    let words = tokenizer_words::words_and_counts(tokenizer)?;
    set_words(model, &words)?;
    Ok(0)
}

/// The same from a vocab.txt (lines `token<TAB>count` in id order), read as by cllm_read_vocab but
/// with or without special words. A file of subwords gives the model subwords.
///
/// @return 0; -1 if the file can't be read, a line is not of that form or repeats a word (the error
///         names it), or there are more than the model has (nothing changed).
///
/// ```c
/// if (cllm_model_load_vocab(model, "vocab.txt") != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `model` is NULL or live; `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_model_load_vocab(
    model: *mut CLLMModel,
    path: *const c_char,
) -> c_int {
    let path = ffi::path(path, "path")?;
    let text = vocab::read(path)?;
    let (list, more) = vocab::parts(&text);
    let entries = vocab::parse(path, list)?;
    if let Some(bpe) = Bpe::from_listed(path, &entries, more)? {
        let count = |id: u32| entries.get(id as usize).map_or(0, |entry| u64::from(entry.count));
        subwords::set(model, bpe, count)?;
        return Ok(0);
    }
    vocab::check_unique(path, &entries)?;
    let words: Vec<_> = entries.iter().map(|e| (e.word, u64::from(e.count))).collect();
    set_words(model, &words)?;
    Ok(0)
}

/// # Safety
/// `model` is NULL or live.
unsafe fn set_words(model: *mut CLLMModel, words: &[(&[u8], u64)]) -> Result<()> {
    let vocab = view::vocab_size(view::live(model)?)?;
    if words.len() > vocab {
        return Err(Error::shape(format!(
            "the vocabulary has {} entries, the model {vocab}",
            words.len()
        )));
    }
    words::set_words(model, words, words::Unused::Placeholder)?;
    Ok(())
}

/// cllm_read_model for a file whose weights may be NaN or infinite, which cllm_read_model refuses.
/// Everything else about the file is checked all the same.
///
/// @return the model, to be freed with cllm_free_model; NULL on failure.
///
/// ```c
/// CLLMModel *broken = cllm_read_model_unchecked("diverged.cllm");
/// if (!cllm_check_model_health(broken)) puts("some weights are NaN or infinite");
/// cllm_free_model(broken);
/// ```
///
/// # Safety
/// `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(std::ptr::null_mut())]
pub unsafe extern "C" fn cllm_read_model_unchecked(path: *const c_char) -> *mut CLLMModel {
    file::read_model(ffi::path(path, "path")?, true)
}
