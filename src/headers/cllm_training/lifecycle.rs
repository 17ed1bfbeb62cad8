//! Making and freeing training objects.

use super::buffers;
use super::state::{Data, TRAININGS, TrainingState};
use super::weights::Buffers;
use super::{CLLMTraining, CLLMTrainingConfig};
use crate::border::ffi::{self, CArray};
use crate::border::registry::lock;
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_ext::options::CLLMTrainingOptions;
use crate::model::kept;
use crate::model::view;
use cllm_engine::error::{Error, Result};
use cllm_engine::system::date;
use cllm_engine::train::slots::Slots;
use cllm_engine::train::{Best, Trainer};
use cllm_macros::c_api;

/// Makes a training object for a model.
///
/// @param model   borrowed: not copied, not freed, must outlive the object. Its sizes must not
///                change; its pointers are read again at every call.
/// @param config  copied; `initial_learning_rate` of the copy becomes `learning_rate`. `batch_size`
///                and `sequence_length` of 0 are accepted, but no batch can be trained then.
/// @return the object, to be freed with cllm_training_free; NULL for NULL arguments, negative
///         sizes, a model without sizes, or no memory.
///
/// All public buffers are separate blocks of malloc: a program may free one and put its own in its
/// place. Moments of all parameters but the embeddings, and open accumulators, are private.
///
/// # Safety
/// `model` and `config` are NULL or point to live structs; the model's non-NULL pointers hold what
/// its sizes say.
#[unsafe(no_mangle)]
#[c_api(std::ptr::null_mut())]
pub unsafe extern "C" fn cllm_training_init(
    model: *mut CLLMModel,
    config: *mut CLLMTrainingConfig,
) -> *mut CLLMTraining {
    init(model, config)
}

/// # Safety
/// As [`cllm_training_init`].
pub(crate) unsafe fn init(
    model: *mut CLLMModel,
    config: *const CLLMTrainingConfig,
) -> Result<*mut CLLMTraining> {
    kept::floats(model)?;
    let (m, config) = (view::live(model)?, *ffi::get(config, "config")?);
    let batch = ffi::len(config.batch_size, "config.batch_size")?;
    let positions = ffi::len(config.sequence_length, "config.sequence_length")?;
    let (vocab, dim) = (view::vocab_size(m)?, view::embedding_dim(m)?);
    if m.num_layers as u64 > cllm_engine::limits::MAX_LAYERS {
        return Err(Error::argument("model->num_layers", m.num_layers, "at most 65536"));
    }
    // Layer arrays have an entry for each layer.
    let layers = buffers::layer_rooms(m)?;
    warn_unknown_optimizer(&config);

    let training = CArray::<CLLMTraining>::zeroed("the training object", 1)?;
    let mut draft = Draft { training: Some(training), layers: layers.len() };
    let t = draft.object().ok_or_else(|| Error::null("training"))?;
    t.model = model;
    t.config = config;
    t.config.initial_learning_rate = config.learning_rate;
    t.best_loss = 1e9;
    t.start_time = date::unix_now().cast_signed();
    t.current_loss_scale = if config.loss_scale > 0.0 { config.loss_scale } else { 1024.0 };
    t.store_attention_weights = 1;
    let mut state = TrainingState {
        trainer: Trainer::default(),
        buffers: Buffers { vocab, dim, layers, slots: Slots::default() },
        rows: 0,
        positions: 0,
        saved_config: None,
        saved_options: None,
        options: CLLMTrainingOptions::NONE,
        best: Best::default(),
        input: Vec::new(),
        own_tokens: 0,
        file: None,
        checked_tokens: None,
        foreign_tokens: None,
        progress: None,
        data: Data::default(),
    };
    let rows = cllm_kernels::memory::product("the batch", &[batch, positions])?;
    // SAFETY: the object is new: its buffers are NULL or just made.
    unsafe { buffers::make(t, m, &mut state, rows, positions)? };
    let training = draft.training.take().ok_or_else(|| Error::null("training"))?.into_raw();
    TRAININGS.insert(training, state);
    Ok(training)
}

/// An object in the making: its buffers go with it, unless it was taken out whole.
struct Draft {
    training: Option<CArray<CLLMTraining>>,
    layers: usize,
}

impl Draft {
    fn object(&mut self) -> Option<&mut CLLMTraining> {
        self.training.as_mut()?.as_mut_slice().first_mut()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let layers = self.layers;
        if let Some(training) = self.object() {
            // SAFETY: every buffer of the new object is NULL or was just made.
            unsafe { buffers::release(training, layers) };
        }
    }
}

fn warn_unknown_optimizer(config: &CLLMTrainingConfig) {
    if super::updates::named_optimizer(config).is_none() {
        let name = String::from_utf8_lossy(ffi::field_bytes(&config.optimizer));
        ffi::report(format_args!("optimizer \"{name}\" is not known: adam"));
    }
}

/// Frees a training object and every buffer that its public fields point to now, except `model`
/// and `tokens`. NULL is fine. An object that the program made itself is left alone, with a
/// message; so is one that is freed already.
///
/// # Safety
/// `training` is NULL or came from cllm_training_init; nothing uses it any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_training_free(training: *mut CLLMTraining) {
    release(training)
}

/// The same as cllm_training_free.
///
/// # Safety
/// As cllm_training_free.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_training_cleanup(training: *mut CLLMTraining) {
    release(training)
}

/// # Safety
/// As [`cllm_training_free`].
pub(crate) unsafe fn release(training: *mut CLLMTraining) -> Result<()> {
    if training.is_null() {
        return Ok(());
    }
    let layers = {
        let state = TRAININGS.get(training)?;
        lock(&state).buffers.layers.len()
    };
    TRAININGS.remove(training);
    // SAFETY: the registry knew the object: its buffers are blocks of malloc, the program's
    // replacements likewise, and nothing uses them any more.
    unsafe {
        buffers::release(ffi::get_mut(training, "training")?, layers);
        TRAININGS.retire(training);
    }
    Ok(())
}
