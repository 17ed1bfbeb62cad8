//! Loss and accuracy of given logits, without a training object.

use crate::border::ffi;
use cllm_compat::losses;
use cllm_engine::error::Result;
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_int;

/// One row of logits.
///
/// # Safety
/// As [`ffi::slice`].
unsafe fn row<'a>(pointer: *const f32, vocab: c_int) -> Result<&'a [f32]> {
    let n = ffi::positive(vocab, "vocab_size")?;
    ffi::slice(pointer, n, "logits")
}

/// Rows of logits with their targets and their width.
struct Rows<'a> {
    logits: &'a [f32],
    targets: &'a [u32],
    vocab: usize,
}

/// # Safety
/// As [`ffi::slice`] for both.
unsafe fn rows<'a>(
    logits: *const f32,
    targets: *const u32,
    (count, count_name): (c_int, &'static str),
    vocab: c_int,
) -> Result<Rows<'a>> {
    let count = ffi::positive(count, count_name)?;
    let vocab = ffi::positive(vocab, "vocab_size")?;
    let len = product("logits", &[count, vocab])?;
    Ok(Rows {
        logits: ffi::slice(logits, len, "logits")?,
        targets: ffi::slice(targets, count, "targets")?,
        vocab,
    })
}

/// Cross-entropy of one row: -ln(p_target + 1e-8), p = softmax(logits); at most 18.42.
///
/// @param logits      `[vocab_size]` floats, not changed.
/// @param target      the right token, below `vocab_size`.
/// @param vocab_size  number of logits, 1 or more.
/// @return the loss in nats; 0 for NULL, vocab_size <= 0 or a target out of range, where
/// cllm_last_error() says so; NaN where a logit is NaN.
///
/// # Safety
/// `logits` has `vocab_size` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_cross_entropy_loss(
    logits: *mut f32,
    target: u32,
    vocab_size: c_int,
) -> f32 {
    let row = row(logits, vocab_size)?;
    Ok(losses::cross_entropy(row, target as usize)? as f32)
}

/// Gradient of the cross-entropy by the logits: softmax(logits) - onehot(target), of one row, not
/// averaged over anything.
///
/// @param logits       `[vocab_size]` floats, not changed unless it is also `grad_output`.
/// @param target       the right token, below `vocab_size`.
/// @param grad_output  `[vocab_size]` floats, overwritten; may be `logits`.
/// @param vocab_size   number of logits, 1 or more.
///
/// On NULL, vocab_size <= 0 or a target out of range `grad_output` is untouched and
/// cllm_last_error() says why.
///
/// # Safety
/// The arrays have `vocab_size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_compute_loss_gradient(
    logits: *mut f32,
    target: u32,
    grad_output: *mut f32,
    vocab_size: c_int,
) {
    let n = ffi::positive(vocab_size, "vocab_size")?;
    if target as usize >= n {
        return Err(cllm_engine::error::Error::argument("target", target, "below vocab_size"));
    }
    // Logits that overlap the gradient are a copy.
    let input = ffi::input(logits, n, "logits", (grad_output, n))?;
    let grad = ffi::slice_mut(grad_output, n, "grad_output")?;
    grad.copy_from_slice(&input);
    losses::loss_gradient(grad, target as usize)
}

/// Mean cross-entropy of several rows. A row whose target is out of range adds 0 but is counted.
///
/// @param logits      `[batch_size][vocab_size]` floats, not changed.
/// @param targets     `[batch_size]` tokens.
/// @param batch_size  number of rows, 1 or more.
/// @param vocab_size  number of logits in a row, 1 or more.
/// @return the loss in nats; 0 for NULL or a size <= 0.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_batch_loss(
    logits: *mut f32,
    targets: *mut u32,
    batch_size: c_int,
    vocab_size: c_int,
) -> f32 {
    let r = rows(logits, targets, (batch_size, "batch_size"), vocab_size)?;
    Ok(losses::mean_cross_entropy(r.logits, r.vocab, r.targets) as f32)
}

/// Perplexity e^loss.
///
/// @param loss  a mean cross-entropy in nats.
/// @return e^loss; infinite above a loss of about 88.7.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn cllm_compute_perplexity(loss: f32) -> f32 {
    Ok(f64::from(loss).exp() as f32)
}

/// Cross-entropy against smoothed targets: -sum of q_i * ln(p_i + 1e-8) with p = softmax(logits),
/// q_i = smoothing / vocab_size, and 1 - smoothing more at the target.
///
/// @param logits      `[vocab_size]` floats, not changed.
/// @param target      the right token, below `vocab_size`.
/// @param vocab_size  number of logits, 1 or more.
/// @param smoothing   share of the uniform distribution, 0..1; 0 is plain cross-entropy.
/// @return the loss in nats; 0 for NULL, vocab_size <= 0 or a target out of range.
///
/// Source: "Rethinking the Inception Architecture", section 7.
///
/// # Safety
/// `logits` has `vocab_size` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_label_smoothing_loss(
    logits: *mut f32,
    target: u32,
    vocab_size: c_int,
    smoothing: f32,
) -> f32 {
    let row = row(logits, vocab_size)?;
    Ok(losses::label_smoothing(row, target as usize, smoothing)? as f32)
}

/// Kullback-Leibler divergence KL(target || softmax(logits)): the sum over target_i > 1e-8 of
/// target_i * ln((target_i + 1e-8) / (p_i + 1e-8)).
///
/// @param logits       `[vocab_size]` floats, not changed.
/// @param target_dist  `[vocab_size]` probabilities, not changed.
/// @param vocab_size   number of logits, 1 or more.
/// @return the divergence in nats; 0 for NULL or vocab_size <= 0.
///
/// # Safety
/// The arrays have `vocab_size` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_kl_divergence(
    logits: *mut f32,
    target_dist: *mut f32,
    vocab_size: c_int,
) -> f32 {
    let row = row(logits, vocab_size)?;
    let target = ffi::slice(target_dist, row.len(), "target_dist")?;
    Ok(losses::kl_divergence(row, target) as f32)
}

/// Mean cross-entropy of a sequence: the same as cllm_compute_batch_loss() with a row for each
/// position.
///
/// @param logits      `[seq_len][vocab_size]` floats, not changed.
/// @param targets     `[seq_len]` tokens.
/// @param seq_len     number of positions, 1 or more.
/// @param vocab_size  number of logits of a position, 1 or more.
/// @return the loss in nats; 0 for NULL or a size <= 0.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_sequence_loss(
    logits: *mut f32,
    targets: *mut u32,
    seq_len: c_int,
    vocab_size: c_int,
) -> f32 {
    let r = rows(logits, targets, (seq_len, "seq_len"), vocab_size)?;
    Ok(losses::mean_cross_entropy(r.logits, r.vocab, r.targets) as f32)
}

/// Fraction of rows whose largest logit (the first of equal ones) is the target's.
///
/// @param logits      `[batch_size][vocab_size]` floats, not changed.
/// @param targets     `[batch_size]` tokens; one out of range is a miss.
/// @param batch_size  number of rows, 1 or more.
/// @param vocab_size  number of logits in a row, 1 or more.
/// @return 0..1; 0 for NULL or a size <= 0.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_accuracy(
    logits: *mut f32,
    targets: *mut u32,
    batch_size: c_int,
    vocab_size: c_int,
) -> f32 {
    let r = rows(logits, targets, (batch_size, "batch_size"), vocab_size)?;
    Ok(losses::top_k_accuracy(r.logits, r.vocab, r.targets, 1) as f32)
}

/// Fraction of rows whose target is among the k largest logits; of equal ones those with the lower
/// index come first.
///
/// @param logits      `[batch_size][vocab_size]` floats, not changed.
/// @param targets     `[batch_size]` tokens; one out of range is a miss.
/// @param batch_size  number of rows, 1 or more.
/// @param vocab_size  number of logits in a row, 1 or more.
/// @param k           1 or more; from `vocab_size` on every valid target is a hit.
/// @return 0..1; 0 for NULL, a size <= 0 or k <= 0.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_top_k_accuracy(
    logits: *mut f32,
    targets: *mut u32,
    batch_size: c_int,
    vocab_size: c_int,
    k: c_int,
) -> f32 {
    let k = ffi::positive(k, "k")?;
    let r = rows(logits, targets, (batch_size, "batch_size"), vocab_size)?;
    Ok(losses::top_k_accuracy(r.logits, r.vocab, r.targets, k) as f32)
}
