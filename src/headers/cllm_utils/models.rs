//! Making and freeing models.

use crate::border::ffi::{self, Draft};
use crate::headers::cllm::*;
use crate::model::build;
use crate::model::view;
use cllm_engine::error::Result;
use cllm_engine::model::{ModelConfig, init};
use cllm_engine::rng::{self, Rng};
use cllm_macros::c_api;
use std::ptr;

/// The sizes that a configuration asks for. `dropout` is not one: the model has none.
pub(crate) fn sizes(config: &CLLMConfig) -> ModelConfig {
    ModelConfig {
        vocab: config.vocab_size as usize,
        dim: config.embedding_dim as usize,
        layers: config.num_layers as usize,
        heads: config.num_heads as usize,
        hidden: config.ff_dim as usize,
        context: config.max_seq_len as usize,
        ..ModelConfig::default()
    }
}

/// A model of the modern block whose draws start from `seed`.
pub(crate) fn create_modern(config: &CLLMConfig, seed: u64) -> Result<*mut CLLMModel> {
    let ModelConfig { architecture, norm_parameters, biases, .. } = ModelConfig::modern();
    new(&ModelConfig { architecture, norm_parameters, biases, ..sizes(config) }, || seed)
}

/// A configuration with the dropout that the presets state.
const fn preset(v: u32, d: u32, layers: u32, heads: u32, ff: u32, context: u32) -> CLLMConfig {
    CLLMConfig {
        vocab_size: v,
        embedding_dim: d,
        num_layers: layers,
        num_heads: heads,
        ff_dim: ff,
        max_seq_len: context,
        dropout: 0.1,
    }
}

const SMALL: CLLMConfig = preset(1000, 128, 4, 4, 512, 512);
const MEDIUM: CLLMConfig = preset(50_000, 1024, 8, 8, 4096, 1024);
const LARGE: CLLMConfig = preset(50_000, 1024, 12, 16, 4096, 2048);

/// Draws new values for all parameters of a model.
///
/// # Safety
/// As [`view::plan`]; nothing else uses the weights meanwhile, and no two of its arrays overlap.
pub(crate) unsafe fn initialize(model: *mut CLLMModel, rng: &mut Rng) -> Result<()> {
    let plan = view::plan(model)?;
    let (dim, architecture) = (plan.dim, view::architecture(model)?);
    init::initialize(view::write(plan.params)?, dim, architecture, rng);
    view::weights_changed(model);
    Ok(())
}

pub(crate) fn create(config: &CLLMConfig) -> Result<*mut CLLMModel> {
    create_from(config, ffi::libc_seed)
}

/// A model whose draws start from `seed`, which is asked for only after there is room.
pub(crate) fn create_from(
    config: &CLLMConfig,
    seed: impl FnOnce() -> u64,
) -> Result<*mut CLLMModel> {
    new(&sizes(config), seed)
}

fn new(config: &ModelConfig, seed: impl FnOnce() -> u64) -> Result<*mut CLLMModel> {
    let model = build::build(&config.shape()?)?;
    // SAFETY: `build` made the model just now, and nobody else knows it.
    unsafe {
        let draft = Draft::new(model, build::free);
        initialize(model, &mut rng::seeded(seed()))?;
        Ok(draft.keep())
    }
}

/// Frees a model with all that belongs to it, whoever made it; the same as `cllm_free`.
///
/// Each pointer of the model that lies outside its block `weights` is freed once, also where
/// several fields hold it. In a model that the program assembled, each such pointer must be NULL
/// or a block of malloc's family of its own: a model whose matrices point into another private
/// block of the program can't be freed by the library. `lattice_points[i].embedding` stays the
/// program's. Contexts and training objects that use the model must be freed before it, or not
/// be used any more.
///
/// @param model the model; NULL is fine. Freeing twice a model that the library made is reported
///              and does nothing.
///
/// # Safety
/// `model` is NULL or a model as above that nothing uses any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_free_model(model: *mut CLLMModel) {
    build::free(model)
}

/// `cllm_create_model` with 1000 tokens, 128 dimensions, 4 layers, 4 heads, feed-forward width
/// 512, 512 positions: 853 504 weights.
///
/// @return the model; free it with `cllm_free_model`. NULL without memory.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn cllm_create_small_model() -> *mut CLLMModel {
    create(&SMALL)
}

/// `cllm_create_model` with 50000 tokens, 1024 dimensions, 8 layers, 8 heads, feed-forward width
/// 4096, 1024 positions: 143 548 416 weights, about 0.6 GB.
///
/// @return the model; free it with `cllm_free_model`. NULL without memory.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn cllm_create_medium_model() -> *mut CLLMModel {
    create(&MEDIUM)
}

/// `cllm_create_model` with 50000 tokens, 1024 dimensions, 12 layers, 16 heads, feed-forward
/// width 4096, 2048 positions: 189 722 624 weights, about 0.8 GB.
///
/// @return the model; free it with `cllm_free_model`. NULL without memory.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn cllm_create_large_model() -> *mut CLLMModel {
    create(&LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_documented_number_of_weights() {
        let weights = |config| sizes(config).num_weights().unwrap();
        assert_eq!(weights(&SMALL), 853_504);
        assert_eq!(weights(&MEDIUM), 143_548_416);
        assert_eq!(weights(&LARGE), 189_722_624);
    }
}
