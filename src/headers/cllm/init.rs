//! Starting a model's weights anew.

use crate::border::ffi;
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_utils::models;
use crate::model::view;
use cllm_engine::error::Error;
use cllm_engine::model::Part;
use cllm_engine::rng;
use cllm_macros::c_api;
use std::ffi::c_uint;

/// Sets a model's embeddings, attention matrices and feed-forward matrices to zero. Biases, norms
/// and position tables stay.
///
/// @param model the model; NULL, or one without embeddings, is left alone.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL pointers hold what its sizes say, and nothing else
/// uses its weights meanwhile.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_reset_model(model: *mut CLLMModel) {
    let params = view::write(view::plan(model)?.params)?;
    params.map(|part, _, t| {
        use Part::{Embeddings, Key, Query, Value, W1, W2};
        if matches!(part, Embeddings | Query | Key | Value | W1 | W2) {
            t.fill(0.0);
        }
    });
    view::weights_changed(model);
    Ok(())
}

/// Draws new values for all weights of a model, as `cllm_create_model` does: matrices and learned
/// positions from a normal distribution, biases 0, gamma 1, beta 0. Parts that the model does not
/// have are skipped; spiral, clock and prime positions stay.
///
/// The draws start from two values of libc's `rand()`; `srand` is not called.
///
/// @param model the model; NULL, or one without embeddings, is left alone.
///
/// # Safety
/// As `cllm_reset_model`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_init_model(model: *mut CLLMModel) {
    models::initialize(model, &mut rng::seeded(ffi::libc_seed()))
}

/// `srand(seed)`, then as `cllm_init_model`: the same seed gives the same weights, and the
/// program's own `rand()` goes on from there.
///
/// @param model the model; NULL, or one without embeddings, is left alone.
/// @param seed  any number.
///
/// # Safety
/// As `cllm_reset_model`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_init_model_with_seed(model: *mut CLLMModel, seed: c_uint) {
    libc::srand(seed);
    models::initialize(model, &mut rng::seeded(ffi::libc_seed()))
}

/// Draws new values for the weights of a model, uniformly in [−scale, scale]: embeddings and
/// matrices; biases become 0, gamma 1, beta 0. Parts that the model does not have are skipped,
/// position tables stay.
///
/// For programs written for the original library: scale is an amplitude, whatever the width of the
/// model. cllm_init_model gives a start from which training goes better.
///
/// The draws start from two values of libc's `rand()`; `srand` is not called.
///
/// @param model the model; NULL, or one without embeddings, is left alone.
/// @param scale finite; others change nothing.
///
/// # Safety
/// As `cllm_reset_model`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_lattice_aware_init(model: *mut CLLMModel, scale: f32) {
    let params = view::write(view::plan(model)?.params)?;
    if !scale.is_finite() {
        return Err(Error::argument("scale", scale, "finite"));
    }
    let mut rng = rng::seeded(ffi::libc_seed());
    params.map(|part, _, t| match part {
        Part::Embeddings | Part::Query | Part::Key | Part::Value | Part::W1 | Part::W2 => {
            rng::fill_uniform(&mut rng, t, scale);
        }
        Part::Gamma1 | Part::Gamma2 => t.fill(1.0),
        Part::Bias1 | Part::Bias2 | Part::Beta1 | Part::Beta2 => t.fill(0.0),
        _ => {}
    });
    view::weights_changed(model);
    Ok(())
}
