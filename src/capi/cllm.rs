//! `cllm.h`: the model and its parts, as C sees them.

use crate::capi::ffi::zeroable;
use std::ffi::c_char;

/// The bytes `CLLM` as one big-endian number.
pub const CLLM_MAGIC: u32 = 0x434C4C4D;
/// Version of the file format's header.
pub const CLLM_VERSION: u32 = 1;
/// Size of `CLLMHeader.model_name`, its NUL included.
pub const MAX_MODEL_NAME: usize = 256;
/// Size of `CLLMHeader.description`, its NUL included.
pub const MAX_DESCRIPTION: usize = 1024;
/// Most neighbours that a `CLLMLatticePoint` lists.
pub const MAX_NEIGHBORS: usize = 12;

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMHeader {
    /// DOC
    pub magic: [c_char; 8],
    /// DOC
    pub version: u32,
    /// DOC
    pub model_name: [c_char; MAX_MODEL_NAME],
    /// DOC
    pub description: [c_char; MAX_DESCRIPTION],
    /// DOC
    pub vocab_size: u64,
    /// DOC
    pub num_lattice_points: u64,
    /// DOC
    pub embedding_dim: u64,
    /// DOC
    pub num_layers: u64,
    /// DOC
    pub created_timestamp: u64,
    /// DOC
    pub modified_timestamp: u64,
    /// DOC
    pub symmetry_order: u32,
    /// DOC
    pub architecture: u32,
    /// DOC
    pub num_heads: u32,
    /// DOC
    pub context_length: u32,
    /// DOC
    pub golden_ratio: f64,
    /// DOC
    pub timestamp: u64,
    /// DOC
    pub total_params: u64,
    /// DOC
    pub reserved: [u8; 192],
}
layout!(CLLMHeader, 1576, magic: 0, version: 8, model_name: 12, description: 268, vocab_size: 1296, num_lattice_points: 1304, embedding_dim: 1312, num_layers: 1320, created_timestamp: 1328, modified_timestamp: 1336, symmetry_order: 1344, architecture: 1348, num_heads: 1352, context_length: 1356, golden_ratio: 1360, timestamp: 1368, total_params: 1376, reserved: 1384);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMToken {
    /// DOC
    pub token_id: u32,
    /// DOC
    pub prime_encoding: u64,
    /// DOC
    pub lattice_coords: [f32; 3],
    /// DOC
    pub angle: f32,
    /// DOC
    pub radius: f32,
    /// DOC
    pub token_str: [c_char; 64],
    /// DOC
    pub frequency: f32,
    /// DOC
    pub symmetry_group: u32,
    /// DOC
    pub spiral_angle: f32,
    /// DOC
    pub radial_distance: f32,
    /// DOC
    pub reserved: [u8; 20],
}
layout!(CLLMToken, 136, token_id: 0, prime_encoding: 8, lattice_coords: 16, angle: 28, radius: 32, token_str: 36, frequency: 100, symmetry_group: 104, spiral_angle: 108, radial_distance: 112, reserved: 116);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLatticePoint {
    /// DOC
    pub point_id: u32,
    /// DOC
    pub prime: u64,
    /// DOC
    pub prime_factor: u64,
    /// DOC
    pub coords: [f32; 3],
    /// DOC
    pub angle: f32,
    /// DOC
    pub radius: f32,
    /// DOC
    pub resonance: f32,
    /// DOC
    pub neighbors: [u32; MAX_NEIGHBORS],
    /// DOC
    pub neighbor_ids: [u32; MAX_NEIGHBORS],
    /// DOC
    pub num_neighbors: u32,
    /// DOC
    pub neighbor_count: u32,
    /// DOC
    pub embedding: *mut f32,
    /// DOC
    pub symmetry_group: u32,
    /// DOC
    pub reserved: [u8; 48],
}
layout!(CLLMLatticePoint, 216, point_id: 0, prime: 8, prime_factor: 16, coords: 24, angle: 36, radius: 40, resonance: 44, neighbors: 48, neighbor_ids: 96, num_neighbors: 144, neighbor_count: 148, embedding: 152, symmetry_group: 160, reserved: 164);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Embeddings {
    /// DOC
    pub vocab_size: u32,
    /// DOC
    pub embedding_dim: u32,
    /// DOC
    pub embeddings: *mut f32,
    /// DOC
    pub lattice_transform: *mut f32,
    /// DOC
    pub inverse_transform: *mut f32,
}
layout!(Embeddings, 32, vocab_size: 0, embedding_dim: 4, embeddings: 8, lattice_transform: 16, inverse_transform: 24);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AttentionLayer {
    /// DOC
    pub layer_id: u32,
    /// DOC
    pub num_heads: u32,
    /// DOC
    pub head_dim: u32,
    /// DOC
    pub query_lattice: *mut f32,
    /// DOC
    pub key_lattice: *mut f32,
    /// DOC
    pub value_lattice: *mut f32,
}
layout!(AttentionLayer, 40, layer_id: 0, num_heads: 4, head_dim: 8, query_lattice: 16, key_lattice: 24, value_lattice: 32);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FeedForwardLayer {
    /// DOC
    pub layer_id: u32,
    /// DOC
    pub input_dim: u32,
    /// DOC
    pub hidden_dim: u32,
    /// DOC
    pub output_dim: u32,
    /// DOC
    pub w1_lattice: *mut f32,
    /// DOC
    pub w2_lattice: *mut f32,
    /// DOC
    pub bias1: *mut f32,
    /// DOC
    pub bias2: *mut f32,
}
layout!(FeedForwardLayer, 48, layer_id: 0, input_dim: 4, hidden_dim: 8, output_dim: 12, w1_lattice: 16, w2_lattice: 24, bias1: 32, bias2: 40);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLayerNorm {
    /// DOC
    pub layer_id: u32,
    /// DOC
    pub dim: u32,
    /// DOC
    pub epsilon: f32,
    /// DOC
    pub gamma: *mut f32,
    /// DOC
    pub beta: *mut f32,
}
layout!(CLLMLayerNorm, 32, layer_id: 0, dim: 4, epsilon: 8, gamma: 16, beta: 24);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PositionalEncoding {
    /// DOC
    pub max_length: u32,
    /// DOC
    pub embedding_dim: u32,
    /// DOC
    pub spiral_positions: *mut f32,
    /// DOC
    pub clock_positions: *mut f32,
    /// DOC
    pub prime_positions: *mut f32,
    /// DOC
    pub learned_positions: *mut f32,
}
layout!(PositionalEncoding, 40, max_length: 0, embedding_dim: 4, spiral_positions: 8, clock_positions: 16, prime_positions: 24, learned_positions: 32);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLatticeEmbedding {
    /// DOC
    pub vocab_size: u32,
    /// DOC
    pub embedding_dim: u32,
    /// DOC
    pub lattice_coords: *mut f32,
    /// DOC
    pub lattice_transform: *mut f32,
    /// DOC
    pub inverse_transform: *mut f32,
    /// DOC
    pub distance_matrix: *mut f32,
    /// DOC
    pub nearest_neighbors: *mut u32,
    /// DOC
    pub k_neighbors: u32,
}
layout!(CLLMLatticeEmbedding, 56, vocab_size: 0, embedding_dim: 4, lattice_coords: 8, lattice_transform: 16, inverse_transform: 24, distance_matrix: 32, nearest_neighbors: 40, k_neighbors: 48);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMSymmetryOps {
    /// DOC
    pub d_model: u32,
    /// DOC
    pub num_rotations: u32,
    /// DOC
    pub num_reflections: u32,
    /// DOC
    pub rotation_matrices: *mut f32,
    /// DOC
    pub reflection_matrices: *mut f32,
    /// DOC
    pub scaling_matrices: *mut f32,
    /// DOC
    pub invariant_features: *mut f32,
    /// DOC
    pub num_invariants: u32,
}
layout!(CLLMSymmetryOps, 56, d_model: 0, num_rotations: 4, num_reflections: 8, rotation_matrices: 16, reflection_matrices: 24, scaling_matrices: 32, invariant_features: 40, num_invariants: 48);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMConfig {
    /// DOC
    pub vocab_size: u32,
    /// DOC
    pub embedding_dim: u32,
    /// DOC
    pub num_layers: u32,
    /// DOC
    pub num_heads: u32,
    /// DOC
    pub ff_dim: u32,
    /// DOC
    pub max_seq_len: u32,
    /// DOC
    pub dropout: f32,
}
layout!(CLLMConfig, 28, vocab_size: 0, embedding_dim: 4, num_layers: 8, num_heads: 12, ff_dim: 16, max_seq_len: 20, dropout: 24);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TrainingMetadata {
    /// DOC
    pub training_steps: u64,
    /// DOC
    pub learning_rate: f32,
    /// DOC
    pub loss: f32,
    /// DOC
    pub timestamp: u64,
    /// DOC
    pub optimizer: [c_char; 64],
    /// DOC
    pub reserved: [u8; 128],
}
layout!(TrainingMetadata, 216, training_steps: 0, learning_rate: 8, loss: 12, timestamp: 16, optimizer: 24, reserved: 88);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMModel {
    /// DOC
    pub header: CLLMHeader,
    /// DOC
    pub tokens: *mut CLLMToken,
    /// DOC
    pub lattice_points: *mut CLLMLatticePoint,
    /// DOC
    pub vocab_size: u64,
    /// DOC
    pub num_lattice_points: u64,
    /// DOC
    pub embedding_dim: u64,
    /// DOC
    pub weights: *mut f32,
    /// DOC
    pub num_weights: u64,
    /// DOC
    pub embeddings: Embeddings,
    /// DOC
    pub num_layers: u32,
    /// DOC
    pub attention_layers: *mut AttentionLayer,
    /// DOC
    pub ff_layers: *mut FeedForwardLayer,
    /// DOC
    pub layer_norms: *mut CLLMLayerNorm,
    /// DOC
    pub pos_encoding: PositionalEncoding,
    /// DOC
    pub training_meta: TrainingMetadata,
}
layout!(CLLMModel, 1952, header: 0, tokens: 1576, lattice_points: 1584, vocab_size: 1592, num_lattice_points: 1600, embedding_dim: 1608, weights: 1616, num_weights: 1624, embeddings: 1632, num_layers: 1664, attention_layers: 1672, ff_layers: 1680, layer_norms: 1688, pos_encoding: 1696, training_meta: 1736);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LayerNorm {
    /// DOC
    pub gamma: *mut f32,
    /// DOC
    pub beta: *mut f32,
    /// DOC
    pub epsilon: f32,
    /// DOC
    pub size: u32,
}
layout!(LayerNorm, 24, gamma: 0, beta: 8, epsilon: 16, size: 20);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AttentionHead {
    /// DOC
    pub query_weights: *mut f32,
    /// DOC
    pub key_weights: *mut f32,
    /// DOC
    pub value_weights: *mut f32,
    /// DOC
    pub output_weights: *mut f32,
    /// DOC
    pub head_dim: u32,
}
layout!(AttentionHead, 40, query_weights: 0, key_weights: 8, value_weights: 16, output_weights: 24, head_dim: 32);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLayer {
    /// DOC
    pub attention_heads: *mut AttentionHead,
    /// DOC
    pub num_heads: u32,
    /// DOC
    pub ln1: *mut LayerNorm,
    /// DOC
    pub ln2: *mut LayerNorm,
    /// DOC
    pub ffn_weights1: *mut f32,
    /// DOC
    pub ffn_weights2: *mut f32,
    /// DOC
    pub ffn_dim: u32,
}
layout!(CLLMLayer, 56, attention_heads: 0, num_heads: 8, ln1: 16, ln2: 24, ffn_weights1: 32, ffn_weights2: 40, ffn_dim: 48);
zeroable!(
    CLLMHeader,
    CLLMToken,
    CLLMLatticePoint,
    Embeddings,
    AttentionLayer,
    FeedForwardLayer,
    CLLMLayerNorm,
    PositionalEncoding,
    CLLMLatticeEmbedding,
    CLLMSymmetryOps,
    CLLMConfig,
    TrainingMetadata,
    CLLMModel,
    LayerNorm,
    AttentionHead,
    CLLMLayer
);

pub mod config;
pub mod init;
pub mod inspect;
