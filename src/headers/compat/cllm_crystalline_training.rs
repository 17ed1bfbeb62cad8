//! `cllm_crystalline_training.h`: an epoch under another name, and a measure of how alike ids are.

use crate::border::ffi;
use crate::headers::cllm_training::state::{TRAININGS, batch_shape};
use crate::headers::cllm_training::{CLLMTraining, loops};
use crate::model::view;
use cllm_compat::lattice::similarity;
use cllm_kernels::Pool;
use cllm_macros::c_api;
use std::ffi::c_int;

/// cllm_train_epoch under another name: the same bits, fields and result. Nothing is printed.
///
/// @return as cllm_train_epoch.
///
/// # Safety
/// As cllm_train_epoch.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_train_epoch_crystalline(training: *mut CLLMTraining) -> f32 {
    loops::epoch(training, &Pool::automatic()).map(|run| run.mean_loss())
}

/// gcd(token1, token2)/max(token1, token2).
///
/// @return the quotient; 0 if either is 0.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn crystalline_gcd_similarity(token1: u32, token2: u32) -> f32 {
    Ok(similarity::by_divisors(token1.into(), token2.into()) as f32)
}

/// How far pairs of ids are from each other by their numbers alone. No weight of the model has a part
/// in it, so it says nothing about what was learnt.
///
/// For a pair, with a and b the two ids plus 1: −ln max(c, 1e-10), where
/// c = 0.7·gcd(a, b)/max(a, b) + 0.3/(1 + |P(a) − P(b)|), and P(i) = (√i·cos θ, √i·sin θ, ln(i + 1))
/// with θ = 2.3999632·i in single precision.
///
/// @param training      of which `model->vocab_size`, `config.batch_size` and
///                      `config.sequence_length` are used.
/// @param input_tokens  `[num_tokens]`.
/// @param target_tokens `[num_tokens]`.
/// @param num_tokens    1 or more; at most batch_size*sequence_length pairs are looked at. Pairs
///                      with an id that is not below vocab_size don't count.
/// @return the mean over the pairs that count, 0 without any; 0 on NULL or a size that is not
///         positive.
///
/// # Safety
/// `training` is NULL or live; the arrays are NULL or hold as many ids.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_loss_crystalline(
    training: *mut CLLMTraining,
    input_tokens: *mut u32,
    target_tokens: *mut u32,
    num_tokens: c_int,
) -> f32 {
    let n = ffi::positive(num_tokens, "num_tokens")?;
    TRAININGS.find(training)?;
    let t = ffi::get(training, "training")?;
    let vocab = view::live(t.model)?.vocab_size;
    let (sequences, positions) = batch_shape(&t.config)?;
    let n = n.min(sequences.saturating_mul(positions));
    let inputs = ffi::slice(input_tokens, n, "input_tokens")?;
    let targets = ffi::slice(target_tokens, n, "target_tokens")?;
    let pairs = inputs.iter().zip(targets);
    let known = pairs.filter(|(a, b)| u64::from(**a.max(b)) < vocab);
    let losses = known.map(|(a, b)| similarity::loss(*a, *b));
    let (sum, count) = losses.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    Ok(if count > 0.0 { (sum / count) as f32 } else { 0.0 })
}

/// Sorts ids by their distance from the middle of the spiral, which grows with them: ascending.
///
/// @param tokens     `[num_tokens]`, changed in place.
/// @param num_tokens 1 or less changes nothing.
///
/// # Safety
/// `tokens` is NULL or holds `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn crystalline_sort_by_locality(tokens: *mut u32, num_tokens: c_int) {
    let n = ffi::len(num_tokens, "num_tokens")?;
    ffi::slice_mut(tokens, n, "tokens")?.sort_unstable();
    Ok(())
}
