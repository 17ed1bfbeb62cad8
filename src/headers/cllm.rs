//! `cllm.h`: the model and its parts, as C sees them.

use crate::border::ffi::zeroable;
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

/// Header of a model: the first 1576 bytes of a model file, as they are in memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMHeader {
    /// "CLLM\1\0\0\0"; in models from cllm_create_model() "CLLM" and zeros. Both are read.
    pub magic: [c_char; 8],
    /// Version of the header, 1.
    pub version: u32,
    /// Name, NUL-terminated.
    pub model_name: [c_char; MAX_MODEL_NAME],
    /// Description, NUL-terminated.
    pub description: [c_char; MAX_DESCRIPTION],
    /// V, tokens in the vocabulary.
    pub vocab_size: u64,
    /// Lattice points; 0 in every model of the library.
    pub num_lattice_points: u64,
    /// d, components of an embedding.
    pub embedding_dim: u64,
    /// L, transformer layers.
    pub num_layers: u64,
    /// Seconds since 1970-01-01 UTC; 0 where not known.
    pub created_timestamp: u64,
    /// Seconds since 1970-01-01 UTC; 0 where not known.
    pub modified_timestamp: u64,
    /// 12 in files; 0 in files of the original library.
    pub symmetry_order: u32,
    /// 2: two norms in each layer; anything else: one, or not stated. For information: the library
    /// keeps its own record.
    pub architecture: u32,
    /// Attention heads of every layer.
    pub num_heads: u32,
    /// Rows of the position tables.
    pub context_length: u32,
    /// 1.618033988749895 in files of this library.
    pub golden_ratio: f64,
    /// Seconds since 1970-01-01 UTC; 0 where not known.
    pub timestamp: u64,
    /// Floats in CLLMModel.weights.
    pub total_params: u64,
    /// Where the extension of a file of this library is; zeros elsewhere.
    pub reserved: [u8; 192],
}
layout!(CLLMHeader, 1576, magic: 0, version: 8, model_name: 12, description: 268, vocab_size: 1296, num_lattice_points: 1304, embedding_dim: 1312, num_layers: 1320, created_timestamp: 1328, modified_timestamp: 1336, symmetry_order: 1344, architecture: 1348, num_heads: 1352, context_length: 1356, golden_ratio: 1360, timestamp: 1368, total_params: 1376, reserved: 1384);

/// A token of the vocabulary.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMToken {
    /// Its id, 0..V-1.
    pub token_id: u32,
    /// The prime that stands for it; 0 until set.
    pub prime_encoding: u64,
    /// x, y, z of its prime.
    pub lattice_coords: [f32; 3],
    /// Not used by the library; 0.
    pub angle: f32,
    /// Not used by the library; 0.
    pub radius: f32,
    /// Its text, NUL-terminated, cut at a character's boundary. The program may change it.
    pub token_str: [c_char; 64],
    /// How often it occurred, where that is known.
    pub frequency: f32,
    /// prime_encoding mod 12.
    pub symmetry_group: u32,
    /// Angle of its prime in radians, 0 to below 2 pi.
    pub spiral_angle: f32,
    /// Distance of its prime from the axis.
    pub radial_distance: f32,
    /// Zeros.
    pub reserved: [u8; 20],
}
layout!(CLLMToken, 136, token_id: 0, prime_encoding: 8, lattice_coords: 16, angle: 28, radius: 32, token_str: 36, frequency: 100, symmetry_group: 104, spiral_angle: 108, radial_distance: 112, reserved: 116);

/// A point of the lattice. See cllm_lattice_point_create().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLatticePoint {
    /// Its id.
    pub point_id: u32,
    /// The program's; cllm_lattice_point_create() leaves it 0.
    pub prime: u64,
    /// The prime that it was made with.
    pub prime_factor: u64,
    /// x, y, z.
    pub coords: [f32; 3],
    /// The program's; not used by the library.
    pub angle: f32,
    /// The program's; not used by the library.
    pub radius: f32,
    /// 1/ln(prime_factor + 1).
    pub resonance: f32,
    /// point_id of the neighbours that cllm_lattice_find_neighbors() found.
    pub neighbors: [u32; MAX_NEIGHBORS],
    /// The program's; not used by the library.
    pub neighbor_ids: [u32; MAX_NEIGHBORS],
    /// The program's; not used by the library.
    pub num_neighbors: u32,
    /// How many entries of `neighbors` count, 0..12.
    pub neighbor_count: u32,
    /// The program's: never set, read or freed by the library.
    pub embedding: *mut f32,
    /// prime_factor mod 12.
    pub symmetry_group: u32,
    /// Zeros.
    pub reserved: [u8; 48],
}
layout!(CLLMLatticePoint, 216, point_id: 0, prime: 8, prime_factor: 16, coords: 24, angle: 36, radius: 40, resonance: 44, neighbors: 48, neighbor_ids: 96, num_neighbors: 144, neighbor_count: 148, embedding: 152, symmetry_group: 160, reserved: 164);

/// The embedding matrix E, which is also the output matrix.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Embeddings {
    /// Rows of E.
    pub vocab_size: u32,
    /// d, columns of E.
    pub embedding_dim: u32,
    /// `[vocab_size][embedding_dim]`. Inside CLLMModel.weights in models of the library; never
    /// free() it there.
    pub embeddings: *mut f32,
    /// `[embedding_dim][embedding_dim]` or NULL: applied by cllm_get_embedding_transformed() and
    /// cllm_embed_tokens_batch(), not by the forward pass. A malloc block of the model.
    pub lattice_transform: *mut f32,
    /// `[embedding_dim][embedding_dim]` or NULL: applied by cllm_project_to_vocab(), not by the
    /// forward pass. A malloc block of the model.
    pub inverse_transform: *mut f32,
}
layout!(Embeddings, 32, vocab_size: 0, embedding_dim: 4, embeddings: 8, lattice_transform: 16, inverse_transform: 24);

/// The attention part of a layer. Head h uses components h*head_dim .. (h+1)*head_dim - 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AttentionLayer {
    /// Its index.
    pub layer_id: u32,
    /// H, heads.
    pub num_heads: u32,
    /// Components of a head; num_heads * head_dim = d.
    pub head_dim: u32,
    /// Wq, rows `[out][in]`: d x d in models that the library made or read with extension; else one
    /// head_dim x head_dim block per head, at offset h*head_dim*head_dim. Inside
    /// CLLMModel.weights, or a malloc block of the layer (cllm_attention_init()).
    pub query_lattice: *mut f32,
    /// Wk, likewise.
    pub key_lattice: *mut f32,
    /// Wv, likewise.
    pub value_lattice: *mut f32,
}
layout!(AttentionLayer, 40, layer_id: 0, num_heads: 4, head_dim: 8, query_lattice: 16, key_lattice: 24, value_lattice: 32);

/// The feed-forward part of a layer: W2 * GELU(W1 * x + b1) + b2.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FeedForwardLayer {
    /// Its index.
    pub layer_id: u32,
    /// Components of x.
    pub input_dim: u32,
    /// F, components between the two products.
    pub hidden_dim: u32,
    /// Components of the result.
    pub output_dim: u32,
    /// W1, `[hidden_dim][input_dim]`. This and the next three lie inside CLLMModel.weights, or are
    /// malloc blocks of the layer (cllm_feedforward_init()).
    pub w1_lattice: *mut f32,
    /// W2, `[output_dim][hidden_dim]`.
    pub w2_lattice: *mut f32,
    /// b1, `[hidden_dim]`; NULL counts as zeros.
    pub bias1: *mut f32,
    /// b2, `[output_dim]`; NULL counts as zeros.
    pub bias2: *mut f32,
}
layout!(FeedForwardLayer, 48, layer_id: 0, input_dim: 4, hidden_dim: 8, output_dim: 12, w1_lattice: 16, w2_lattice: 24, bias1: 32, bias2: 40);

/// A layer norm: gamma * (x - mean)/sqrt(variance + epsilon) + beta.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLayerNorm {
    /// Its index: 0..L-1 before attention, L..2L-1 (in models of the library) before feed-forward.
    pub layer_id: u32,
    /// Components of x.
    pub dim: u32,
    /// Added to the variance; 1e-5 is used where it is not positive.
    pub epsilon: f32,
    /// `[dim]`; NULL counts as ones. Inside CLLMModel.weights, or a malloc block
    /// (cllm_layer_norm_init()).
    pub gamma: *mut f32,
    /// `[dim]`; NULL counts as zeros.
    pub beta: *mut f32,
}
layout!(CLLMLayerNorm, 32, layer_id: 0, dim: 4, epsilon: 8, gamma: 16, beta: 24);

/// Tables added to embeddings by position, each `[max_length][embedding_dim]`, NULL (absent) or a
/// malloc block of the model that a program may replace.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PositionalEncoding {
    /// Rows: positions that the model can tell apart.
    pub max_length: u32,
    /// Columns, d.
    pub embedding_dim: u32,
    /// Constant, part of the forward pass.
    pub spiral_positions: *mut f32,
    /// Used by cllm_apply_positional_encoding_complete() only.
    pub clock_positions: *mut f32,
    /// Used by cllm_apply_positional_encoding_complete() only.
    pub prime_positions: *mut f32,
    /// Part of the forward pass, and trained.
    pub learned_positions: *mut f32,
}
layout!(PositionalEncoding, 40, max_length: 0, embedding_dim: 4, spiral_positions: 8, clock_positions: 16, prime_positions: 24, learned_positions: 32);

/// Room for a program's lattice of embeddings. No function of the library takes one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLatticeEmbedding {
    /// V, tokens.
    pub vocab_size: u32,
    /// d, components of an embedding.
    pub embedding_dim: u32,
    /// `[vocab_size][3]`.
    pub lattice_coords: *mut f32,
    /// `[embedding_dim][embedding_dim]`.
    pub lattice_transform: *mut f32,
    /// `[embedding_dim][embedding_dim]`.
    pub inverse_transform: *mut f32,
    /// `[vocab_size][vocab_size]`.
    pub distance_matrix: *mut f32,
    /// `[vocab_size][k_neighbors]`.
    pub nearest_neighbors: *mut u32,
    /// Neighbours listed for each token.
    pub k_neighbors: u32,
}
layout!(CLLMLatticeEmbedding, 56, vocab_size: 0, embedding_dim: 4, lattice_coords: 8, lattice_transform: 16, inverse_transform: 24, distance_matrix: 32, nearest_neighbors: 40, k_neighbors: 48);

/// Room for a program's symmetry operations. No function of the library takes one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMSymmetryOps {
    /// d, components of a vector.
    pub d_model: u32,
    /// Matrices in rotation_matrices.
    pub num_rotations: u32,
    /// Matrices in reflection_matrices.
    pub num_reflections: u32,
    /// `[num_rotations][d_model][d_model]`.
    pub rotation_matrices: *mut f32,
    /// `[num_reflections][d_model][d_model]`.
    pub reflection_matrices: *mut f32,
    /// Matrices `[d_model][d_model]`.
    pub scaling_matrices: *mut f32,
    /// `[num_invariants]`.
    pub invariant_features: *mut f32,
    /// Features.
    pub num_invariants: u32,
}
layout!(CLLMSymmetryOps, 56, d_model: 0, num_rotations: 4, num_reflections: 8, rotation_matrices: 16, reflection_matrices: 24, scaling_matrices: 32, invariant_features: 40, num_invariants: 48);

/// Sizes of a model to be created by cllm_create_model().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMConfig {
    /// V, tokens; 1 or more.
    pub vocab_size: u32,
    /// d, components of an embedding; a multiple of num_heads.
    pub embedding_dim: u32,
    /// L, transformer layers; 1 or more.
    pub num_layers: u32,
    /// H, attention heads; 1 or more.
    pub num_heads: u32,
    /// F, components of the feed-forward part, usually 4d; 0: no feed-forward weights.
    pub ff_dim: u32,
    /// Rows of the position tables; 0: no positions.
    pub max_seq_len: u32,
    /// Not used.
    pub dropout: f32,
}
layout!(CLLMConfig, 28, vocab_size: 0, embedding_dim: 4, num_layers: 8, num_heads: 12, ff_dim: 16, max_seq_len: 20, dropout: 24);

/// What is known of a model's training. The training loops write it; model files carry it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TrainingMetadata {
    /// Batches trained, `current_step` of the training.
    pub training_steps: u64,
    /// Rate of the last batch.
    pub learning_rate: f32,
    /// Loss of the last batch in nats per token.
    pub loss: f32,
    /// When that was, in seconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// Name of the optimizer, NUL-terminated.
    pub optimizer: [c_char; 64],
    /// Zeros.
    pub reserved: [u8; 128],
}
layout!(TrainingMetadata, 216, training_steps: 0, learning_rate: 8, loss: 12, timestamp: 16, optimizer: 24, reserved: 88);

/// A model. Made by cllm_create_model() or cllm_read_model(), freed by cllm_free_model(); a
/// program may also assemble one, with calloc() and its own arrays, and a NULL pointer means that
/// this part is absent. Fields and weights may be read and written at any time when no call uses
/// the model.
///
/// A program that defines CLLM_MODEL_EXTENDED before it includes a header has five fields more, 2752
/// bytes instead of 1952. They are the program's: zero in a model that the library made, which has
/// room for them in any case, never read by the library, and in no file.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMModel {
    /// What stands at the head of its file.
    pub header: CLLMHeader,
    /// `[vocab_size]` or NULL: the vocabulary. A malloc block of the model.
    pub tokens: *mut CLLMToken,
    /// `[num_lattice_points]` or NULL. A malloc block of the model.
    pub lattice_points: *mut CLLMLatticePoint,
    /// V, tokens.
    pub vocab_size: u64,
    /// Entries of lattice_points.
    pub num_lattice_points: u64,
    /// d; 0 means embeddings.embedding_dim.
    pub embedding_dim: u64,
    /// All weights of a model of the library in one malloc block: E; then for each layer Wq, Wk,
    /// Wv; then for each layer W1, b1, W2, b2; then the norms, gamma and beta of each. NULL in
    /// models that a program assembled.
    pub weights: *mut f32,
    /// Floats in weights.
    pub num_weights: u64,
    /// The embedding matrix.
    pub embeddings: Embeddings,
    /// L, transformer layers.
    pub num_layers: u32,
    /// `[num_layers]` or NULL. This and the next two are malloc blocks of the model.
    pub attention_layers: *mut AttentionLayer,
    /// `[num_layers]` or NULL.
    pub ff_layers: *mut FeedForwardLayer,
    /// `[2 * num_layers]` in models of the library, `[num_layers]` in others, or NULL.
    pub layer_norms: *mut CLLMLayerNorm,
    /// The position tables.
    pub pos_encoding: PositionalEncoding,
    /// What is known of its training.
    pub training_meta: TrainingMetadata,
}
layout!(CLLMModel, 1952, header: 0, tokens: 1576, lattice_points: 1584, vocab_size: 1592, num_lattice_points: 1600, embedding_dim: 1608, weights: 1616, num_weights: 1624, embeddings: 1632, num_layers: 1664, attention_layers: 1672, ff_layers: 1680, layer_norms: 1688, pos_encoding: 1696, training_meta: 1736);

/// A layer norm of a program's own. No function of the library takes one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LayerNorm {
    /// `[size]`.
    pub gamma: *mut f32,
    /// `[size]`.
    pub beta: *mut f32,
    /// Added to the variance.
    pub epsilon: f32,
    /// Components.
    pub size: u32,
}
layout!(LayerNorm, 24, gamma: 0, beta: 8, epsilon: 16, size: 20);

/// An attention head of a program's own. No function of the library takes one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AttentionHead {
    /// Wq of the head.
    pub query_weights: *mut f32,
    /// Wk of the head.
    pub key_weights: *mut f32,
    /// Wv of the head.
    pub value_weights: *mut f32,
    /// Wo of the head.
    pub output_weights: *mut f32,
    /// Components of the head.
    pub head_dim: u32,
}
layout!(AttentionHead, 40, query_weights: 0, key_weights: 8, value_weights: 16, output_weights: 24, head_dim: 32);

/// A layer of a program's own. No function of the library takes one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLayer {
    /// `[num_heads]`.
    pub attention_heads: *mut AttentionHead,
    /// Heads.
    pub num_heads: u32,
    /// Norm before attention.
    pub ln1: *mut LayerNorm,
    /// Norm before feed-forward.
    pub ln2: *mut LayerNorm,
    /// W1, `[ffn_dim][d]`.
    pub ffn_weights1: *mut f32,
    /// W2, `[d][ffn_dim]`.
    pub ffn_weights2: *mut f32,
    /// Components between the two products.
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
pub mod models;
