#![allow(unsafe_code)]
//! The shapes that are measured, and the C objects of one run.

use crate::measure::seconds;
use cllm::headers::cllm::models::{cllm_create_model, cllm_write_model};
use cllm::headers::cllm::{CLLMConfig, CLLMModel};
use cllm::headers::cllm_ext::generation::cllm_inference_set_threads;
use cllm::headers::cllm_ext::mapping::cllm_map_model;
use cllm::headers::cllm_ext::options::{
    CLLM_PRECISION_BF16, CLLMTrainingOptions, cllm_training_set_options,
};
use cllm::headers::cllm_ext::precision::cllm_quantize_model;
use cllm::headers::cllm_ext::training::{cllm_create_modern_model, cllm_train_steps};
use cllm::headers::cllm_format::files::cllm_read_model;
use cllm::headers::cllm_inference::CLLMInference;
use cllm::headers::cllm_inference::context::{cllm_inference_cleanup, cllm_inference_init};
use cllm::headers::cllm_inference::generation::cllm_forward;
use cllm::headers::cllm_training::lifecycle::{cllm_training_free, cllm_training_init};
use cllm::headers::cllm_training::{CLLMTraining, CLLMTrainingConfig};
use cllm::headers::cllm_utils::models::cllm_free_model;
use std::ffi::CString;
use std::path::Path;

/// Sizes of a model and of its batches.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub vocab: usize,
    pub dim: usize,
    pub layers: usize,
    pub heads: usize,
    pub length: usize,
    pub batch: usize,
    /// Of the modern block, not the original one.
    pub modern: bool,
}

const fn shape(
    name: &'static str,
    [vocab, dim, layers, heads, length, batch]: [usize; 6],
) -> Shape {
    Shape { name, vocab, dim, layers, heads, length, batch, modern: false }
}

/// What is trained: S and M, of the original block and of the modern one.
pub const TRAINED: [Shape; 4] = [
    shape("S", [1000, 128, 4, 4, 128, 16]),
    shape("S2", [1000, 128, 4, 4, 128, 16]).modern(),
    shape("M", [5000, 384, 6, 6, 256, 8]),
    shape("M2", [5000, 384, 6, 6, 256, 8]).modern(),
];
/// What generates.
pub const GENERATING: Shape = shape("D", [32000, 768, 12, 12, 512, 1]);

impl Shape {
    const fn modern(self) -> Self {
        Self { modern: true, ..self }
    }

    /// Positions of a batch.
    pub fn rows(&self) -> usize {
        self.batch * self.length
    }

    /// Weights that take part in products, without the output matrix: 3d² + 8d² a layer, with Wo d² more.
    fn layer_weights(&self) -> usize {
        self.layers * if self.modern { 12 } else { 11 } * self.dim * self.dim
    }

    /// Operations of one training token: forward 2 per weight, backward 4; attention over the
    /// causal half likewise.
    pub fn training_flops(&self) -> f64 {
        let weights = self.layer_weights() + self.vocab * self.dim;
        let attention = self.layers * self.dim * (self.length + 1);
        6.0 * (weights + attention) as f64
    }

    /// Operations of a prompt of `rows` tokens; the output matrix serves only its last one.
    pub fn prefill_flops(&self, rows: usize) -> f64 {
        let attention = self.layers * self.dim * (rows + 1);
        2.0 * ((self.layer_weights() + attention) * rows + self.vocab * self.dim) as f64
    }

    /// Bytes of weights that one token of decoding reads.
    pub fn weight_bytes(&self) -> usize {
        4 * (self.layer_weights() + self.vocab * self.dim)
    }

    /// Bytes of weights, gradients and two moments of all parameters, and of what the backward
    /// pass needs: per layer and row 4d (input, normed twice, middle) + 3d (queries,
    /// keys, values) + 2·4d (hidden units and their slopes); for a pass 3d (output, its norm, a
    /// sublayer's result) + 3d (gradients of the stream) + 3d + 4d (of a layer).
    pub fn needed_bytes(&self) -> f64 {
        let d = self.dim;
        let others = if self.modern { 0 } else { self.length * d + self.layers * 9 * d };
        let parameters = self.layer_weights() + self.vocab * d + others;
        let activations = self.rows() * d * (self.layers * 15 + 13);
        4.0 * (4 * parameters + activations) as f64
    }

    fn model(&self) -> *mut CLLMModel {
        let config = CLLMConfig {
            vocab_size: self.vocab as u32,
            embedding_dim: self.dim as u32,
            num_layers: self.layers as u32,
            num_heads: self.heads as u32,
            ff_dim: 4 * self.dim as u32,
            max_seq_len: self.length as u32,
            dropout: 0.0,
        };
        // SAFETY: the config lives through the call.
        let model = unsafe {
            match self.modern {
                true => cllm_create_modern_model(&config, 1),
                false => cllm_create_model(&config),
            }
        };
        assert!(!model.is_null());
        model
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("a path without NUL")
}

/// Writes a new model of a shape; the seconds that writing took.
pub fn save(shape: &Shape, path: &Path) -> f64 {
    let model = shape.model();
    // SAFETY: the model is live; both arguments live through the call.
    unsafe {
        let time = seconds(|| assert_eq!(cllm_write_model(model, c_path(path).as_ptr()), 0));
        cllm_free_model(model);
        time
    }
}

/// Reads a model and frees it.
pub fn load(path: &Path) {
    // SAFETY: a path; a model of the library's.
    unsafe {
        let model = cllm_read_model(c_path(path).as_ptr());
        assert!(!model.is_null());
        cllm_free_model(model);
    }
}

/// Maps a model and frees it.
pub fn map(path: &Path) {
    // SAFETY: a path; a model of the library's.
    unsafe {
        let model = cllm_map_model(c_path(path).as_ptr());
        assert!(!model.is_null());
        cllm_free_model(model);
    }
}

/// A model being trained on ids without meaning.
pub struct Training {
    model: *mut CLLMModel,
    training: *mut CLLMTraining,
    tokens: Vec<u32>,
}

impl Training {
    pub fn new(shape: &Shape) -> Self {
        let model = shape.model();
        // SAFETY: plain numbers; zero is one of them.
        let mut config: CLLMTrainingConfig = unsafe { std::mem::zeroed() };
        config.learning_rate = 3e-4;
        config.batch_size = shape.batch as i32;
        config.sequence_length = shape.length as i32;
        config.weight_decay = 0.01;
        config.gradient_clip = 1.0;
        config.gradient_accumulation_steps = 1;
        config.num_epochs = 1;
        let mut state = 1u32;
        let tokens = (0..shape.rows() * 64 + 1).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % shape.vocab as u32
        });
        let mut tokens: Vec<u32> = tokens.collect();
        // SAFETY: model and config are live; the tokens outlive the object.
        let training = unsafe {
            let training = cllm_training_init(model, &mut config);
            assert!(!training.is_null());
            (*training).tokens = tokens.as_mut_ptr();
            (*training).num_tokens = tokens.len();
            training
        };
        Self { model, training, tokens }
    }

    /// The same in bfloat16.
    pub fn bfloat16(shape: &Shape) -> Self {
        let run = Self::new(shape);
        // SAFETY: plain numbers; zero is one of them. The object is live.
        unsafe {
            let mut options: CLLMTrainingOptions = std::mem::zeroed();
            options.struct_size = size_of::<CLLMTrainingOptions>();
            options.precision = CLLM_PRECISION_BF16;
            assert_eq!(cllm_training_set_options(run.training, &options), 0);
        }
        run
    }

    pub fn steps(&mut self, steps: i32, threads: i32) {
        assert!(self.tokens.len() > 1);
        let mut loss = 0f32;
        // SAFETY: the object is live.
        unsafe {
            if (*self.training).current_batch_offset > (self.tokens.len() / 2) as i32 {
                (*self.training).current_batch_offset = 0;
            }
            assert_eq!(cllm_train_steps(self.training, steps, threads, &mut loss), steps);
        }
        assert!(loss.is_finite() && loss > 0.0);
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        // SAFETY: made in `new`; the tokens are ours.
        unsafe {
            (*self.training).tokens = std::ptr::null_mut();
            cllm_training_free(self.training);
            cllm_free_model(self.model);
        }
    }
}

/// A model that generates.
pub struct Generation {
    model: *mut CLLMModel,
    inference: *mut CLLMInference,
    tokens: Vec<u32>,
    used: usize,
}

impl Generation {
    pub fn new(shape: &Shape, threads: i32) -> Self {
        Self::with_precision(shape, threads, false)
    }

    /// With floats, or with 8-bit weights.
    pub fn with_precision(shape: &Shape, threads: i32, int8: bool) -> Self {
        let mut model = shape.model();
        if int8 {
            // SAFETY: a live model, which is freed once.
            unsafe {
                let small = cllm_quantize_model(model, 0);
                assert!(!small.is_null());
                cllm_free_model(model);
                model = small;
            }
        }
        let tokens = (0..shape.length).map(|i| (i * 7919 % shape.vocab) as u32).collect();
        // SAFETY: the model is live.
        let inference = unsafe {
            let inference = cllm_inference_init(model);
            assert!(!inference.is_null());
            assert_eq!(cllm_inference_set_threads(inference, threads), 0);
            inference
        };
        Self { model, inference, tokens, used: 0 }
    }

    fn forward(&mut self, count: usize) {
        // SAFETY: the context is live, the array holds as many ids.
        unsafe { cllm_forward(self.inference, self.tokens.as_mut_ptr(), count as i32) };
        self.used = count;
    }

    /// A prompt that shares nothing with the one before.
    pub fn prefill(&mut self, count: usize) {
        self.tokens[0] ^= 1;
        self.forward(count);
    }

    pub fn decode(&mut self, count: usize) {
        for _ in 0..count {
            self.forward(self.used + 1);
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // SAFETY: made in `new`.
        unsafe {
            cllm_inference_cleanup(self.inference);
            cllm_free_model(self.model);
        }
    }
}
