//! `cllm_batch.h`: padded batches and an iterator over them.

use crate::border::ffi::{self, CArray, zeroable};
use crate::border::registry::{Registry, lock};
use cllm_compat::check;
use cllm_engine::error::{Error, Result};
use cllm_engine::train::batch::{self, BatchMut, Batches};
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::ptr;

/// A batch of token sequences. Made by `cllm_batch_create`, `cllm_batch_iterator_next` or
/// `cllm_create_batch_from_tokens`; its fields may be read and changed by the program.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMBatch {
    /// Input tokens, `[batch_size][seq_len]`; 0 where padded. A malloc block of its own, the
    /// batch's.
    pub input_ids: *mut u32,
    /// The token that follows each input, `[batch_size][seq_len]`; 0 where padded. Likewise.
    pub target_ids: *mut u32,
    /// 1.0 for a real position, 0.0 for padding, `[batch_size][seq_len]`. Likewise.
    pub attention_mask: *mut f32,
    /// Number of sequences.
    pub batch_size: u32,
    /// Positions of each sequence.
    pub seq_len: u32,
    /// Positions that are not padding.
    pub num_valid_tokens: u32,
}
layout!(CLLMBatch, 40, input_ids: 0, target_ids: 8, attention_mask: 16, batch_size: 24, seq_len: 28, num_valid_tokens: 32);
zeroable!(CLLMBatch);

/// A walk over the batches of a token array; made by `cllm_batch_iterator_create`.
pub struct CLLMBatchIterator {
    _private: [u8; 0],
}

/// The program's array of tokens.
struct Borrowed {
    pointer: *const u32,
    len: usize,
}

// SAFETY: only an address; it is read under the iterator's lock, by the promise of
// `cllm_batch_iterator_create` that the array outlives the iterator.
unsafe impl Send for Borrowed {}

/// What an iterator knows.
pub(crate) struct IteratorState {
    tokens: Borrowed,
    batch_size: u32,
    seq_len: u32,
    batches: Batches,
}

/// The live iterators.
pub(crate) static ITERATORS: Registry<IteratorState> = Registry::new("iter");
/// The batches that the library made and has not freed; told apart from the program's own, which
/// may be freed as well.
static BATCHES: Registry<()> = Registry::new("batch");

/// The arrays of a batch that is being made.
struct Arrays {
    inputs: CArray<u32>,
    targets: CArray<u32>,
    mask: CArray<f32>,
}

impl Arrays {
    fn new(batch_size: u32, seq_len: u32) -> Result<Self> {
        let len = batch::positions(batch_size as usize, seq_len as usize)?;
        Ok(Self {
            inputs: CArray::zeroed("a batch", len)?,
            targets: CArray::zeroed("a batch", len)?,
            mask: CArray::zeroed("a batch", len)?,
        })
    }

    fn fill(&mut self, tokens: &[u32], start: usize) -> usize {
        let batch = BatchMut {
            inputs: self.inputs.as_mut_slice(),
            targets: self.targets.as_mut_slice(),
            mask: self.mask.as_mut_slice(),
        };
        batch::fill(tokens, start, batch)
    }

    /// A batch that owns the arrays.
    fn into_batch(self, batch_size: u32, seq_len: u32, valid: usize) -> Result<*mut CLLMBatch> {
        let mut block = CArray::<CLLMBatch>::zeroed("a batch", 1)?;
        if let [b] = block.as_mut_slice() {
            *b = CLLMBatch {
                input_ids: self.inputs.into_raw(),
                target_ids: self.targets.into_raw(),
                attention_mask: self.mask.into_raw(),
                batch_size,
                seq_len,
                // Bounded by MAX_BATCH_POSITIONS.
                num_valid_tokens: valid as u32,
            };
        }
        let batch = block.into_raw();
        BATCHES.insert(batch, ());
        Ok(batch)
    }
}

/// The arrays of a batch.
struct BatchView<'a> {
    pub inputs: &'a [u32],
    pub targets: &'a [u32],
    pub mask: &'a [f32],
}

/// The arrays of a batch, checked.
///
/// # Safety
/// Non-NULL arrays of the batch have `batch_size * seq_len` values that nothing writes during
/// `'a`.
unsafe fn view<'a>(b: &CLLMBatch) -> Result<BatchView<'a>> {
    let len = product("a batch", &[b.batch_size as usize, b.seq_len as usize])?;
    if len == 0 {
        return Err(Error::state("the batch is empty"));
    }
    Ok(BatchView {
        inputs: ffi::slice(b.input_ids, len, "batch->input_ids")?,
        targets: ffi::slice(b.target_ids, len, "batch->target_ids")?,
        mask: ffi::slice(b.attention_mask, len, "batch->attention_mask")?,
    })
}

impl IteratorState {
    /// The sizes of every batch.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.batch_size as usize, self.seq_len as usize)
    }

    /// How many batches a walk has.
    pub(crate) fn count(&self) -> usize {
        self.batches.count()
    }

    /// Back to the first batch.
    pub(crate) fn reset(&mut self) {
        self.batches.reset();
    }

    /// All ids that the iterator walks over.
    ///
    /// # Safety
    /// As [`IteratorState::next`].
    pub(crate) unsafe fn tokens<'a>(&self) -> Result<&'a [u32]> {
        ffi::slice(self.tokens.pointer, self.tokens.len, "tokens")
    }

    /// Fills the arrays of the next batch; how many positions are real, or `None` at the end.
    ///
    /// # Safety
    /// The tokens that the iterator was made over are still there.
    pub(crate) unsafe fn next(&mut self, batch: BatchMut<'_>) -> Result<Option<usize>> {
        let Some(start) = self.batches.next_start() else {
            return Ok(None);
        };
        Ok(Some(batch::fill(self.tokens()?, start, batch)))
    }
}

/// Makes a zeroed batch: no tokens, everything padding.
///
/// @param batch_size sequences, 1 or more.
/// @param seq_len    positions of each, 1 or more.
/// @return the batch; free it with `cllm_batch_free`. NULL if a size is 0, their product exceeds
///         2^28, or there is no memory.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn cllm_batch_create(batch_size: u32, seq_len: u32) -> *mut CLLMBatch {
    Arrays::new(batch_size, seq_len)?.into_batch(batch_size, seq_len, 0)
}

/// Frees a batch and its three arrays, whoever made them.
///
/// @param batch the batch; NULL is fine. A second free of a batch that the library made is
///              reported and does nothing.
///
/// # Safety
/// `batch` is NULL or a batch that nothing uses any more; it and its arrays, where not NULL, are
/// separate blocks of malloc's family.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_batch_free(batch: *mut CLLMBatch) {
    if batch.is_null() {
        return Ok(());
    }
    BATCHES.find(batch)?;
    let b = *ffi::get(batch, "batch")?;
    ffi::free(b.input_ids);
    ffi::free(b.target_ids);
    ffi::free(b.attention_mask);
    BATCHES.free_struct(batch);
    Ok(())
}

/// Makes an iterator over the batches of an array of tokens, standing before the first.
///
/// Batch k covers positions `k*B*S` to `(k+1)*B*S - 1`: slot (i, j) holds position
/// `r = k*B*S + i*S + j`, its input is `tokens[r]`, its target `tokens[r+1]`. Sequences are
/// consecutive: the last target of one row is the first input of the next. Where there is no
/// token r+1, the slot is padding.
///
/// @param tokens     `[num_tokens]` ids; not copied: they must stay as long as the iterator does.
/// @param num_tokens how many, 1 or more.
/// @param batch_size B, 1 or more.
/// @param seq_len    S, 1 or more.
/// @param shuffle    0: in order. Otherwise the full batches come in a permuted order that
///                   depends only on their number and on how often the iterator was reset; a
///                   partial batch comes last.
/// @param drop_last  not 0: a last batch that would need padding is left out.
/// @return the iterator; free it with `cllm_batch_iterator_free`. NULL on NULL tokens or a size 0.
///
/// # Safety
/// `tokens` is NULL or has `num_tokens` ids that outlive the iterator.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_batch_iterator_create(
    tokens: *mut u32,
    num_tokens: usize,
    batch_size: u32,
    seq_len: u32,
    shuffle: c_int,
    drop_last: c_int,
) -> *mut CLLMBatchIterator {
    // The slice only checks the pointer and the size.
    ffi::slice(tokens, num_tokens, "tokens")?;
    let positions = product("a batch", &[batch_size as usize, seq_len as usize])?;
    let state = IteratorState {
        tokens: Borrowed { pointer: tokens, len: num_tokens },
        batch_size,
        seq_len,
        batches: Batches::new(num_tokens, positions, shuffle != 0, drop_last != 0)?,
    };
    ITERATORS.new_handle("an iterator", state)
}

/// Frees an iterator, not its tokens nor the batches it gave out.
///
/// @param iter the iterator; NULL is fine. A second free is reported and does nothing.
///
/// # Safety
/// `iter` is NULL or an iterator that no threaded training system uses any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_batch_iterator_free(iter: *mut CLLMBatchIterator) {
    ITERATORS.free_handle(iter)
}

/// Puts an iterator back before its first batch. A shuffling one takes another order.
///
/// # Safety
/// `iter` is NULL or an iterator that no other thread uses meanwhile.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_batch_iterator_reset(iter: *mut CLLMBatchIterator) {
    let state = ITERATORS.get(iter)?;
    lock(&state).reset();
    Ok(())
}

/// The next batch of a walk.
///
/// @return the batch, the program's to free with `cllm_batch_free`; NULL after the last one (and
///         again until `cllm_batch_iterator_reset`: no error), if iter is NULL, or without memory.
///         The number of batches is `cllm_batch_iterator_num_batches`.
///
/// # Safety
/// `iter` is NULL or an iterator whose tokens are still there.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_batch_iterator_next(iter: *mut CLLMBatchIterator) -> *mut CLLMBatch {
    let state = ITERATORS.get(iter)?;
    let mut state = lock(&state);
    let (b, s) = (state.batch_size, state.seq_len);
    let mut walk = state.batches.clone();
    let Some(start) = walk.next_start() else {
        return Ok(ptr::null_mut());
    };
    let mut arrays = Arrays::new(b, s)?;
    let tokens = ffi::slice(state.tokens.pointer, state.tokens.len, "tokens")?;
    let valid = arrays.fill(tokens, start);
    let batch = arrays.into_batch(b, s, valid)?;
    // Only now: a batch that there is no memory for is not skipped.
    state.batches = walk;
    Ok(batch)
}

/// How many batches a whole walk has: with u = num_tokens - 1 and q = batch_size * seq_len, the
/// whole part of u/q, and one more if there is a remainder and it is not dropped.
///
/// @return the number, wherever the iterator stands; 0 if iter is NULL.
///
/// # Safety
/// `iter` is NULL or an iterator.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_batch_iterator_num_batches(iter: *mut CLLMBatchIterator) -> usize {
    let state = ITERATORS.get(iter)?;
    let count = lock(&state).batches.count();
    Ok(count)
}

/// Makes one batch from the start of an array of tokens, filled and padded as by
/// `cllm_batch_iterator_create`. Tokens that do not fit are ignored.
///
/// @param tokens     `[num_tokens]` ids, copied.
/// @param num_tokens how many, 1 or more.
/// @param batch_size sequences, 1 or more.
/// @param seq_len    positions of each, 1 or more.
/// @return the batch; free it with `cllm_batch_free`. NULL on NULL tokens, a size 0, or no memory.
///
/// # Safety
/// `tokens` is NULL or has `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_create_batch_from_tokens(
    tokens: *mut u32,
    num_tokens: usize,
    batch_size: u32,
    seq_len: u32,
) -> *mut CLLMBatch {
    let tokens = ffi::slice(tokens, num_tokens, "tokens")?;
    if tokens.is_empty() {
        return Err(Error::argument("num_tokens", 0, "1 or more"));
    }
    let mut arrays = Arrays::new(batch_size, seq_len)?;
    let valid = arrays.fill(tokens, 0);
    arrays.into_batch(batch_size, seq_len, valid)
}

/// Prints a batch's sizes and how much of it is padding to stdout. NULL prints nothing.
///
/// ```text
/// Batch Statistics:
///   Batch size: 4
///   Sequence length: 32
///   Total tokens: 128
///   Valid tokens: 96
///   Padding tokens: 32
///   Padding ratio: 25.00%
/// ```
///
/// # Safety
/// `batch` is NULL or points to a `CLLMBatch`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_batch_print_stats(batch: *mut CLLMBatch) {
    BATCHES.find(batch)?;
    let b = ffi::get(batch, "batch")?;
    let total = u64::from(b.batch_size) * u64::from(b.seq_len);
    let valid = u64::from(b.num_valid_tokens);
    let padding = total.saturating_sub(valid);
    // In single precision, as programs for the original read it.
    let ratio = if padding == 0 { 0.0 } else { 100.0 * (1.0 - valid as f32 / total as f32) };
    ffi::print(format!(
        "Batch Statistics:\n  Batch size: {}\n  Sequence length: {}\n  Total tokens: {total}\n  \
             Valid tokens: {valid}\n  Padding tokens: {padding}\n  Padding ratio: {ratio:.2}%\n",
        b.batch_size, b.seq_len
    ));
    Ok(())
}

/// Checks a batch: arrays and sizes are there, every position with a mask above 0.5 has input and
/// target other than 0, every other position has both 0, and num_valid_tokens counts the former.
///
/// A genuine token 0 makes a batch invalid, since 0 stands for padding: kept from the original.
///
/// @return 1 if all hold; 0 otherwise (`cllm_last_error` says why), and if batch is NULL.
///
/// # Safety
/// `batch` is NULL or a batch whose non-NULL arrays have `batch_size * seq_len` values.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_batch_validate(batch: *mut CLLMBatch) -> c_int {
    BATCHES.find(batch)?;
    let b = ffi::get(batch, "batch")?;
    let view = view(b)?;
    let valid = b.num_valid_tokens as usize;
    check::batch(view.inputs, view.targets, view.mask, valid)?;
    Ok(1)
}
