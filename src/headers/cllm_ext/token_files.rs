//! Ids in files: trained on and evaluated without being held in memory.

use super::evaluation::evaluate_ids;
use super::training::pool_of;
use crate::border::ffi;
use crate::border::registry::{Registry, lock};
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::state::with_training;
use cllm_engine::error::{Error, Result};
use cllm_engine::text::{Ids, TokenFile, texts};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::ptr::null_mut;
use std::sync::Arc;

/// A file of ids (`dataset.bin`), open for reading. Parts are read where they are asked for; a file that is
/// cut meanwhile is an error of what reads it. Any number of threads may use it at once.
pub struct CLLMTokenFile {
    _opaque: [u8; 0],
}

static FILES: Registry<Arc<TokenFile>> = Registry::new("token file");

/// The open file; it stays open as long as something uses it.
pub(crate) fn file(file: *const CLLMTokenFile) -> Result<Arc<TokenFile>> {
    Ok(Arc::clone(&lock(&*FILES.get(file)?)))
}

/// Opens a file of cllm_token_dataset_save() or cllm_texts_encode(). The second ones say at their end how
/// often each id is met; others are read through once.
///
/// @param path  the file.
/// @return it, to be released with cllm_token_file_free(); NULL if `path` is NULL or the file can't be read
///         or is shorter than it says.
///
/// ```c
/// CLLMTokenFile *file = cllm_token_file_open("dataset.bin");
/// if (!file) fprintf(stderr, "%s\n", cllm_last_error());
/// cllm_token_file_free(file);
/// ```
///
/// # Safety
/// `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_token_file_open(path: *const c_char) -> *mut CLLMTokenFile {
    let file = TokenFile::open(ffi::path(path, "path")?)?;
    FILES.new_handle("a token file", Arc::new(file))
}

/// Closes a file. A training that uses it keeps it open.
///
/// @param file  NULL is fine. A second call for the same one does nothing but record an error.
///
/// ```c
/// cllm_token_file_free(file);
/// ```
///
/// # Safety
/// `file` is NULL or was made by cllm_token_file_open(), and is not used any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_token_file_free(file: *mut CLLMTokenFile) {
    FILES.free_handle(file)
}

/// How many ids a file has.
///
/// @param file  made by cllm_token_file_open().
/// @return the number; 0 for anything else.
///
/// ```c
/// printf("%llu tokens\n", (unsigned long long)cllm_token_file_count(file));
/// ```
///
/// # Safety
/// `file` is NULL or was made by cllm_token_file_open().
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_token_file_count(file: *const CLLMTokenFile) -> u64 {
    Ok(self::file(file)?.len() as u64)
}

/// How often an id is met in a file.
///
/// @param file      made by cllm_token_file_open().
/// @param token_id  below 2^24.
/// @return the number; 0 for anything else than such a file.
///
/// ```c
/// printf("%llu unknown words\n", (unsigned long long)cllm_token_file_occurrences(file, 1));
/// ```
///
/// # Safety
/// `file` is NULL or was made by cllm_token_file_open().
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_token_file_occurrences(
    file: *const CLLMTokenFile,
    token_id: u32,
) -> u64 {
    Ok(Ids::File(&*self::file(file)?).count(token_id))
}

/// Copies ids of a file.
///
/// @param file        made by cllm_token_file_open().
/// @param from        the place of the first one.
/// @param tokens      receives them.
/// @param num_tokens  how many, at most.
/// @return how many were copied: fewer where the file ends, 0 behind its end; -1 on failure.
///
/// ```c
/// uint32_t first[8];
/// int64_t count = cllm_token_file_read(file, 0, first, 8);
/// if (count < 0) fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `file` is NULL or was made by cllm_token_file_open(); `tokens` is NULL or has room for `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_token_file_read(
    file: *const CLLMTokenFile,
    from: u64,
    tokens: *mut u32,
    num_tokens: usize,
) -> i64 {
    let file = self::file(file)?;
    let at = usize::try_from(from).unwrap_or(usize::MAX).min(file.len());
    let count = num_tokens.min(file.len() - at);
    ffi::get(tokens, "tokens")?;
    file.read(at, ffi::slice_mut(tokens, count, "tokens")?)?;
    Ok(count as i64)
}

/// Writes a file of the ids of another one, with stretches of a third one in between, spread evenly over
/// both: so a model that learns a new text does not forget an old one.
///
/// @param added   the new ids, made by cllm_token_file_open(): all of them come, in their order.
/// @param old     the old ids, likewise.
/// @param share   how much of all are to be old ones, 0 to below 1; fewer where there are not so many.
/// @param length  ids of a stretch of old ones, at least 1.
/// @param path    the file; appears whole or not at all.
/// @return how many ids of it are old ones; -1 on failure.
///
/// ```c
/// if (cllm_token_file_mix(added, old, 0.1, 512, "dataset.bin") < 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// The files are NULL or were made by cllm_token_file_open(); `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_token_file_mix(
    added: *const CLLMTokenFile,
    old: *const CLLMTokenFile,
    share: f64,
    length: c_int,
    path: *const c_char,
) -> i64 {
    let (added, old) = (file(added)?, file(old)?);
    let length = ffi::positive(length, "length")?;
    let (_, count) = texts::mix(&added, &old, share, length, ffi::path(path, "path")?)?;
    Ok(count as i64)
}

/// Has a training read its ids from a file, where they are needed, in place of `tokens`: that becomes NULL
/// (a block of the program's is not freed), and `num_tokens` their number. The batches, their order and
/// what comes of them are the same bit for bit. Where a program sets `tokens` again, those count.
///
/// `current_batch_offset` is an int: a place beyond 2^31 - 1 is shown as INT_MAX, known all the same, and
/// kept in checkpoints, as long as the program sets no other.
///
/// @param training  made by cllm_training_init.
/// @param file      made by cllm_token_file_open(); the program may free it afterwards.
/// @return 0; -1 on failure: nothing has changed.
///
/// ```c
/// if (cllm_training_use_file(training, file) == 0)
///     cllm_train_steps(training, 100, 0, NULL);
/// ```
///
/// # Safety
/// `training` is NULL or live; `file` is NULL or was made by cllm_token_file_open().
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_use_file(
    training: *mut CLLMTraining,
    file: *const CLLMTokenFile,
) -> c_int {
    let file = self::file(file)?;
    if file.is_empty() {
        return Err(Error::state(format!("{} has no ids", file.path().display())));
    }
    with_training(training, |t, state| {
        if state.own_tokens == t.tokens.addr() {
            ffi::free(t.tokens);
            state.own_tokens = 0;
        }
        (t.tokens, t.num_tokens) = (null_mut(), file.len());
        state.file = Some(file);
        Ok(0)
    })
}

/// cllm_evaluate() for the first ids of a file, a part of which is held in memory at a time.
///
/// @param model       the model.
/// @param file        made by cllm_token_file_open().
/// @param num_tokens  how many ids, 2 or more; UINT64_MAX: all.
/// @param seq_len     as cllm_evaluate().
/// @param threads     0: one for each processor.
/// @param mean_loss   nats per token; may be NULL.
/// @param perplexity  e^mean_loss; may be NULL.
/// @return 0; -1 on failure, with the outputs unchanged.
///
/// ```c
/// double perplexity;
/// if (cllm_evaluate_file(model, file, UINT64_MAX, 128, 0, NULL, &perplexity) == 0)
///     printf("perplexity %.1f\n", perplexity);
/// ```
///
/// # Safety
/// `model` is NULL or live and not trained meanwhile; `file` is NULL or was made by cllm_token_file_open().
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_evaluate_file(
    model: *mut CLLMModel,
    file: *const CLLMTokenFile,
    num_tokens: u64,
    seq_len: c_int,
    threads: c_int,
    mean_loss: *mut f64,
    perplexity: *mut f64,
) -> c_int {
    let file = self::file(file)?;
    let (length, pool) = (ffi::positive(seq_len, "seq_len")?, pool_of(threads)?);
    let most = usize::try_from(num_tokens).unwrap_or(usize::MAX);
    let result = evaluate_ids(model, Ids::File(&file), most, length, &pool)?;
    ffi::set_out(mean_loss, result.mean_loss, "mean_loss")?;
    ffi::set_out(perplexity, result.perplexity(), "perplexity")?;
    Ok(0)
}

/// cllm_training_evaluate() for the first ids of a file, a part of which is held in memory at a time.
///
/// @param training    made by cllm_training_init.
/// @param file        made by cllm_token_file_open().
/// @param num_tokens  how many ids, 2 or more; UINT64_MAX: all.
/// @param threads     0: one for each processor.
/// @param mean_loss   nats per token; may be NULL.
/// @return 1 where these weights are the best so far, and kept; 0 where they are not; -1 on failure.
///
/// ```c
/// double loss;
/// if (cllm_training_evaluate_file(training, file, UINT64_MAX, 0, &loss) == 1)
///     printf("the best so far: %.3f\n", loss);
/// ```
///
/// # Safety
/// `training` is NULL or live; `file` is NULL or was made by cllm_token_file_open().
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_evaluate_file(
    training: *mut CLLMTraining,
    file: *const CLLMTokenFile,
    num_tokens: u64,
    threads: c_int,
    mean_loss: *mut f64,
) -> c_int {
    let file = self::file(file)?;
    let pool = pool_of(threads)?;
    let most = usize::try_from(num_tokens).unwrap_or(usize::MAX);
    super::best::evaluate_and_keep(training, Ids::File(&file), most, &pool, mean_loss)
}
