//! Models through files and back: what they compute, what they are called.

use super::*;
use crate::model::words::{Unused, set_words, shown_word};
use cllm_engine::model::{AttentionLayout, ModelConfig};
use cllm_engine::nn::activations::{Activations, Save};
use cllm_engine::nn::forward::{self, Beyond};
use cllm_kernels::Pool;

/// What a model computes for a few tokens, bit for bit.
fn computed(model: *const CLLMModel, vocab: u32) -> Vec<u32> {
    // SAFETY: the models of these tests are complete by their own sizes.
    let view = unsafe { view::model(model) }.unwrap();
    let input: Vec<u32> = (0..6).map(|i| i * 5 % vocab).collect();
    let mut activations = Activations::default();
    let save = Save::ForBackward;
    let pool = Pool::serial();
    forward::forward(&pool, &view, &input, 2, &mut activations, save, None, Beyond::NoPosition)
        .unwrap();
    activations.normed.iter().map(|x| x.to_bits()).collect()
}

/// Fills with values that no two places share, small enough that nothing overflows.
fn fill(values: &mut [f32], seed: usize) {
    for (i, x) in values.iter_mut().enumerate() {
        *x = ((i * 37 + seed * 101) % 199) as f32 / 500.0 - 0.2;
    }
}

fn round_trip(model: *const CLLMModel) -> *mut CLLMModel {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    // SAFETY: as above.
    unsafe { write_model(model, &path) }.unwrap();
    read_model(&path, false).unwrap()
}

#[test]
fn a_model_computes_the_same_after_a_round_trip() {
    for (layout, second_norms, heads) in [
        (AttentionLayout::Full, true, 3),
        (AttentionLayout::Full, false, 2),
        (AttentionLayout::PerHead, false, 3),
        (AttentionLayout::PerHead, true, 1),
    ] {
        let config = ModelConfig {
            vocab: 7,
            dim: 6,
            layers: 2,
            heads,
            hidden: 5,
            context: 4,
            ..ModelConfig::default()
        };
        let mut shape = config.shape().unwrap();
        shape.layout = layout;
        shape.norms.truncate(if second_norms { 4 } else { 2 });
        let model = build::build(&shape).unwrap();
        // SAFETY: the model was just made; its block and tables have these lengths.
        unsafe {
            let m = ffi::get_mut(model, "model").unwrap();
            fill(ffi::slice_mut(m.weights, m.num_weights as usize, "").unwrap(), 1);
            fill(ffi::slice_mut(m.pos_encoding.learned_positions, 24, "").unwrap(), 2);
            fill(ffi::slice_mut(m.pos_encoding.spiral_positions, 24, "").unwrap(), 3);
        }
        let loaded = round_trip(model);
        assert_eq!(computed(model, 7), computed(loaded, 7), "{shape:?}");
        let record = MODELS.get(loaded).unwrap();
        assert_eq!(lock(&record).layout, layout);
        assert_eq!(lock(&record).second_norms, second_norms);
        // SAFETY: nothing uses them any more.
        unsafe {
            build::free(model).unwrap();
            build::free(loaded).unwrap();
        }
    }
}

#[test]
fn an_assembled_model_computes_the_same_after_a_round_trip() {
    let block = |len: usize, seed: usize| {
        let mut block = CArray::<f32>::zeroed("a block", len).unwrap();
        fill(block.as_mut_slice(), seed);
        block.into_raw()
    };
    // Which parts are there: attention of layer 0, norms, biases, positions.
    for parts in 0..16 {
        let has = |bit: u32| parts >> bit & 1 == 1;
        let mut model = CArray::<CLLMModel>::zeroed("a model", 1).unwrap();
        let m = &mut model.as_mut_slice()[0];
        m.num_layers = 2;
        m.embeddings.vocab_size = 5;
        m.embeddings.embedding_dim = 6;
        m.embeddings.embeddings = block(30, 1);
        let mut attention = CArray::<AttentionLayer>::zeroed("layers", 2).unwrap();
        for (l, a) in attention.as_mut_slice().iter_mut().enumerate() {
            if l == 1 || has(0) {
                (a.num_heads, a.head_dim) = (3, 2);
                a.query_lattice = block(12, 2 + l);
                a.key_lattice = block(12, 4 + l);
                a.value_lattice = block(12, 6 + l);
            }
        }
        m.attention_layers = attention.into_raw();
        let mut ff = CArray::<FeedForwardLayer>::zeroed("layers", 2).unwrap();
        for (l, f) in ff.as_mut_slice().iter_mut().enumerate() {
            (f.input_dim, f.hidden_dim, f.output_dim) = (6, 3 + l as u32, 6);
            f.w1_lattice = block(6 * (3 + l), 8 + l);
            f.w2_lattice = block(6 * (3 + l), 10 + l);
            if has(2) {
                f.bias1 = block(3 + l, 12 + l);
            }
        }
        m.ff_layers = ff.into_raw();
        if has(1) {
            let mut norms = CArray::<CLLMLayerNorm>::zeroed("norms", 2).unwrap();
            norms.as_mut_slice()[1].dim = 6;
            norms.as_mut_slice()[1].epsilon = 0.01;
            norms.as_mut_slice()[1].beta = block(6, 14);
            m.layer_norms = norms.into_raw();
        }
        if has(3) {
            m.pos_encoding.max_length = 2;
            m.pos_encoding.spiral_positions = block(12, 15);
        }
        let model = model.into_raw();
        let loaded = round_trip(model);
        assert_eq!(computed(model, 5), computed(loaded, 5), "parts {parts:04b}");
        // SAFETY: nothing uses them any more.
        unsafe {
            build::free(model).unwrap();
            build::free(loaded).unwrap();
        }
    }
}

#[test]
fn words_of_any_length_survive() {
    let config = ModelConfig {
        vocab: 3,
        dim: 2,
        layers: 1,
        heads: 1,
        hidden: 2,
        context: 1,
        ..ModelConfig::default()
    };
    let model = build::build(&config.shape().unwrap()).unwrap();
    let long = "ß".repeat(1000);
    let words: [(&[u8], u64); 3] = [(b"a", 1), (long.as_bytes(), 2), (b"", 3)];
    // SAFETY: a whole model.
    let loaded = unsafe {
        set_words(model, &words, Unused::Placeholder).unwrap();
        round_trip(model)
    };
    for (id, (word, count)) in words.iter().enumerate() {
        // SAFETY: likewise.
        unsafe {
            let read = shown_word(loaded, id as u32).unwrap();
            assert_eq!(read.as_deref(), Some(*word));
            let m = ffi::get(loaded, "model").unwrap();
            let tokens = ffi::slice(m.tokens, 3, "tokens").unwrap();
            assert_eq!(tokens[id].frequency, *count as f32);
            // 63 bytes hold 31 letters of two bytes, not half of another one.
            let field = ffi::field_bytes(&tokens[id].token_str);
            assert_eq!(field, &word[..word.len().min(62)]);
        }
    }
    // SAFETY: nothing uses them any more.
    unsafe {
        build::free(model).unwrap();
        build::free(loaded).unwrap();
    }
}
