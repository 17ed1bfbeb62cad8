/* abi_check.c - checks that headers and library keep the tier 1 interface recorded in
 * structs.json, functions.json and constants.json. Generated from those files.
 *   cc -I include c_tests/abi_check.c -L. -lcllm -o abi_check && LD_LIBRARY_PATH=. ./abi_check
 * Layout, type and prototype mismatches fail the compile; missing functions fail the link.
 * -DABI_ONLY_EXPORTED   leave out functions that the original declared but never defined
 * -DABI_SKIP_CONSTANTS  leave out the #define checks
 */
#include <stddef.h>
#include <stdio.h>
#include "cllm.h"
#include "cllm_inference.h"
#include "cllm_format.h"
#include "cllm_tokenizer.h"
#include "cllm_data_loader.h"
#include "cllm_training.h"
#include "cllm_training_mt.h"
#include "cllm_utils.h"

#pragma GCC diagnostic error "-Wincompatible-pointer-types"

_Static_assert(sizeof(void *) == 8 && sizeof(long) == 8, "layouts were recorded on an LP64 target");

#define STRUCT(T, size, al) \
    _Static_assert(sizeof(T) == (size), "sizeof " #T); \
    _Static_assert(_Alignof(T) == (al), "alignof " #T)
#define FIELD(T, f, off, size) \
    _Static_assert(offsetof(T, f) == (off), "offsetof " #T "." #f); \
    _Static_assert(sizeof(((T *)0)->f) == (size), "sizeof " #T "." #f)
#define TYPED(T, f, off, size, type) \
    FIELD(T, f, off, size); \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((T *)0)->f), type), "type of " #T "." #f)
/* the struct that pointer field f of T points to */
#define ELEM(T, f) __typeof__(*((T *)0)->f)
#define ELEM_SIZE(T, f, size) \
    _Static_assert(sizeof(*((T *)0)->f) == (size), "sizeof *" #T "." #f)
#define ELEM_FIELD(T, f, g, off, size, type) \
    _Static_assert(offsetof(ELEM(T, f), g) == (off), "offsetof *" #T "." #f "." #g); \
    _Static_assert(sizeof(((T *)0)->f->g) == (size), "sizeof *" #T "." #f "." #g); \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((T *)0)->f->g), type), "type of *" #T "." #f "." #g)

/* structs: cllm.h */
STRUCT(CLLMHeader, 1576, 8);
TYPED(CLLMHeader, magic, 0, 8, char[8]);
TYPED(CLLMHeader, version, 8, 4, uint32_t);
TYPED(CLLMHeader, model_name, 12, 256, char[256]);
TYPED(CLLMHeader, description, 268, 1024, char[1024]);
TYPED(CLLMHeader, vocab_size, 1296, 8, uint64_t);
TYPED(CLLMHeader, num_lattice_points, 1304, 8, uint64_t);
TYPED(CLLMHeader, embedding_dim, 1312, 8, uint64_t);
TYPED(CLLMHeader, num_layers, 1320, 8, uint64_t);
TYPED(CLLMHeader, created_timestamp, 1328, 8, uint64_t);
TYPED(CLLMHeader, modified_timestamp, 1336, 8, uint64_t);
TYPED(CLLMHeader, symmetry_order, 1344, 4, uint32_t);
TYPED(CLLMHeader, architecture, 1348, 4, uint32_t);
TYPED(CLLMHeader, num_heads, 1352, 4, uint32_t);
TYPED(CLLMHeader, context_length, 1356, 4, uint32_t);
TYPED(CLLMHeader, golden_ratio, 1360, 8, double);
TYPED(CLLMHeader, timestamp, 1368, 8, uint64_t);
TYPED(CLLMHeader, total_params, 1376, 8, uint64_t);
TYPED(CLLMHeader, reserved, 1384, 192, uint8_t[192]);
STRUCT(CLLMToken, 136, 8);
TYPED(CLLMToken, token_id, 0, 4, uint32_t);
TYPED(CLLMToken, prime_encoding, 8, 8, uint64_t);
TYPED(CLLMToken, lattice_coords, 16, 12, float[3]);
TYPED(CLLMToken, angle, 28, 4, float);
TYPED(CLLMToken, radius, 32, 4, float);
TYPED(CLLMToken, token_str, 36, 64, char[64]);
TYPED(CLLMToken, frequency, 100, 4, float);
TYPED(CLLMToken, symmetry_group, 104, 4, uint32_t);
TYPED(CLLMToken, spiral_angle, 108, 4, float);
TYPED(CLLMToken, radial_distance, 112, 4, float);
TYPED(CLLMToken, reserved, 116, 20, uint8_t[20]);
STRUCT(CLLMLatticePoint, 216, 8);
TYPED(CLLMLatticePoint, point_id, 0, 4, uint32_t);
TYPED(CLLMLatticePoint, prime, 8, 8, uint64_t);
TYPED(CLLMLatticePoint, prime_factor, 16, 8, uint64_t);
TYPED(CLLMLatticePoint, coords, 24, 12, float[3]);
TYPED(CLLMLatticePoint, angle, 36, 4, float);
TYPED(CLLMLatticePoint, radius, 40, 4, float);
TYPED(CLLMLatticePoint, resonance, 44, 4, float);
TYPED(CLLMLatticePoint, neighbors, 48, 48, uint32_t[12]);
TYPED(CLLMLatticePoint, neighbor_ids, 96, 48, uint32_t[12]);
TYPED(CLLMLatticePoint, num_neighbors, 144, 4, uint32_t);
TYPED(CLLMLatticePoint, neighbor_count, 148, 4, uint32_t);
TYPED(CLLMLatticePoint, embedding, 152, 8, float*);
TYPED(CLLMLatticePoint, symmetry_group, 160, 4, uint32_t);
TYPED(CLLMLatticePoint, reserved, 164, 48, uint8_t[48]);
STRUCT(Embeddings, 32, 8);
TYPED(Embeddings, vocab_size, 0, 4, uint32_t);
TYPED(Embeddings, embedding_dim, 4, 4, uint32_t);
TYPED(Embeddings, embeddings, 8, 8, float*);
TYPED(Embeddings, lattice_transform, 16, 8, float*);
TYPED(Embeddings, inverse_transform, 24, 8, float*);
STRUCT(AttentionLayer, 40, 8);
TYPED(AttentionLayer, layer_id, 0, 4, uint32_t);
TYPED(AttentionLayer, num_heads, 4, 4, uint32_t);
TYPED(AttentionLayer, head_dim, 8, 4, uint32_t);
TYPED(AttentionLayer, query_lattice, 16, 8, float*);
TYPED(AttentionLayer, key_lattice, 24, 8, float*);
TYPED(AttentionLayer, value_lattice, 32, 8, float*);
STRUCT(FeedForwardLayer, 48, 8);
TYPED(FeedForwardLayer, layer_id, 0, 4, uint32_t);
TYPED(FeedForwardLayer, input_dim, 4, 4, uint32_t);
TYPED(FeedForwardLayer, hidden_dim, 8, 4, uint32_t);
TYPED(FeedForwardLayer, output_dim, 12, 4, uint32_t);
TYPED(FeedForwardLayer, w1_lattice, 16, 8, float*);
TYPED(FeedForwardLayer, w2_lattice, 24, 8, float*);
TYPED(FeedForwardLayer, bias1, 32, 8, float*);
TYPED(FeedForwardLayer, bias2, 40, 8, float*);
STRUCT(CLLMLayerNorm, 32, 8);
TYPED(CLLMLayerNorm, layer_id, 0, 4, uint32_t);
TYPED(CLLMLayerNorm, dim, 4, 4, uint32_t);
TYPED(CLLMLayerNorm, epsilon, 8, 4, float);
TYPED(CLLMLayerNorm, gamma, 16, 8, float*);
TYPED(CLLMLayerNorm, beta, 24, 8, float*);
STRUCT(PositionalEncoding, 40, 8);
TYPED(PositionalEncoding, max_length, 0, 4, uint32_t);
TYPED(PositionalEncoding, embedding_dim, 4, 4, uint32_t);
TYPED(PositionalEncoding, spiral_positions, 8, 8, float*);
TYPED(PositionalEncoding, clock_positions, 16, 8, float*);
TYPED(PositionalEncoding, prime_positions, 24, 8, float*);
TYPED(PositionalEncoding, learned_positions, 32, 8, float*);
STRUCT(CLLMLatticeEmbedding, 56, 8);
TYPED(CLLMLatticeEmbedding, vocab_size, 0, 4, uint32_t);
TYPED(CLLMLatticeEmbedding, embedding_dim, 4, 4, uint32_t);
TYPED(CLLMLatticeEmbedding, lattice_coords, 8, 8, float*);
TYPED(CLLMLatticeEmbedding, lattice_transform, 16, 8, float*);
TYPED(CLLMLatticeEmbedding, inverse_transform, 24, 8, float*);
TYPED(CLLMLatticeEmbedding, distance_matrix, 32, 8, float*);
TYPED(CLLMLatticeEmbedding, nearest_neighbors, 40, 8, uint32_t*);
TYPED(CLLMLatticeEmbedding, k_neighbors, 48, 4, uint32_t);
STRUCT(CLLMSymmetryOps, 56, 8);
TYPED(CLLMSymmetryOps, d_model, 0, 4, uint32_t);
TYPED(CLLMSymmetryOps, num_rotations, 4, 4, uint32_t);
TYPED(CLLMSymmetryOps, num_reflections, 8, 4, uint32_t);
TYPED(CLLMSymmetryOps, rotation_matrices, 16, 8, float*);
TYPED(CLLMSymmetryOps, reflection_matrices, 24, 8, float*);
TYPED(CLLMSymmetryOps, scaling_matrices, 32, 8, float*);
TYPED(CLLMSymmetryOps, invariant_features, 40, 8, float*);
TYPED(CLLMSymmetryOps, num_invariants, 48, 4, uint32_t);
STRUCT(CLLMConfig, 28, 4);
TYPED(CLLMConfig, vocab_size, 0, 4, uint32_t);
TYPED(CLLMConfig, embedding_dim, 4, 4, uint32_t);
TYPED(CLLMConfig, num_layers, 8, 4, uint32_t);
TYPED(CLLMConfig, num_heads, 12, 4, uint32_t);
TYPED(CLLMConfig, ff_dim, 16, 4, uint32_t);
TYPED(CLLMConfig, max_seq_len, 20, 4, uint32_t);
TYPED(CLLMConfig, dropout, 24, 4, float);
STRUCT(TrainingMetadata, 216, 8);
TYPED(TrainingMetadata, training_steps, 0, 8, uint64_t);
TYPED(TrainingMetadata, learning_rate, 8, 4, float);
TYPED(TrainingMetadata, loss, 12, 4, float);
TYPED(TrainingMetadata, timestamp, 16, 8, uint64_t);
TYPED(TrainingMetadata, optimizer, 24, 64, char[64]);
TYPED(TrainingMetadata, reserved, 88, 128, uint8_t[128]);
STRUCT(CLLMModel, 1952, 8);
TYPED(CLLMModel, header, 0, 1576, CLLMHeader);
TYPED(CLLMModel, tokens, 1576, 8, CLLMToken*);
TYPED(CLLMModel, lattice_points, 1584, 8, CLLMLatticePoint*);
TYPED(CLLMModel, vocab_size, 1592, 8, uint64_t);
TYPED(CLLMModel, num_lattice_points, 1600, 8, uint64_t);
TYPED(CLLMModel, embedding_dim, 1608, 8, uint64_t);
TYPED(CLLMModel, weights, 1616, 8, float*);
TYPED(CLLMModel, num_weights, 1624, 8, uint64_t);
TYPED(CLLMModel, embeddings, 1632, 32, Embeddings);
TYPED(CLLMModel, num_layers, 1664, 4, uint32_t);
TYPED(CLLMModel, attention_layers, 1672, 8, AttentionLayer*);
TYPED(CLLMModel, ff_layers, 1680, 8, FeedForwardLayer*);
TYPED(CLLMModel, layer_norms, 1688, 8, CLLMLayerNorm*);
TYPED(CLLMModel, pos_encoding, 1696, 40, PositionalEncoding);
TYPED(CLLMModel, training_meta, 1736, 216, TrainingMetadata);
STRUCT(LayerNorm, 24, 8);
TYPED(LayerNorm, gamma, 0, 8, float*);
TYPED(LayerNorm, beta, 8, 8, float*);
TYPED(LayerNorm, epsilon, 16, 4, float);
TYPED(LayerNorm, size, 20, 4, uint32_t);
STRUCT(AttentionHead, 40, 8);
TYPED(AttentionHead, query_weights, 0, 8, float*);
TYPED(AttentionHead, key_weights, 8, 8, float*);
TYPED(AttentionHead, value_weights, 16, 8, float*);
TYPED(AttentionHead, output_weights, 24, 8, float*);
TYPED(AttentionHead, head_dim, 32, 4, uint32_t);
STRUCT(CLLMLayer, 56, 8);
TYPED(CLLMLayer, attention_heads, 0, 8, AttentionHead*);
TYPED(CLLMLayer, num_heads, 8, 4, uint32_t);
TYPED(CLLMLayer, ln1, 16, 8, LayerNorm*);
TYPED(CLLMLayer, ln2, 24, 8, LayerNorm*);
TYPED(CLLMLayer, ffn_weights1, 32, 8, float*);
TYPED(CLLMLayer, ffn_weights2, 40, 8, float*);
TYPED(CLLMLayer, ffn_dim, 48, 4, uint32_t);

/* structs: cllm_inference.h */
STRUCT(IndexProb, 8, 4);
TYPED(IndexProb, idx, 0, 4, int);
TYPED(IndexProb, prob, 4, 4, float);
STRUCT(CLLMInference, 72, 8);
TYPED(CLLMInference, model, 0, 8, CLLMModel*);
TYPED(CLLMInference, temperature, 8, 4, float);
TYPED(CLLMInference, top_p, 12, 4, float);
TYPED(CLLMInference, top_k, 16, 4, int);
TYPED(CLLMInference, max_tokens, 20, 4, int);
TYPED(CLLMInference, repetition_penalty, 24, 4, float);
TYPED(CLLMInference, kv_cache_size, 28, 4, int);
TYPED(CLLMInference, kv_cache_used, 32, 4, int);
TYPED(CLLMInference, key_cache, 40, 8, float*);
TYPED(CLLMInference, value_cache, 48, 8, float*);
TYPED(CLLMInference, hidden_states, 56, 8, float*);
TYPED(CLLMInference, logits, 64, 8, float*);

/* structs: cllm_tokenizer.h */
STRUCT(CLLMTokenizer, 24, 8);
TYPED(CLLMTokenizer, vocab, 0, 8, char**);
TYPED(CLLMTokenizer, token_counts, 8, 8, uint32_t*);
TYPED(CLLMTokenizer, vocab_size, 16, 4, uint32_t);
TYPED(CLLMTokenizer, max_vocab_size, 20, 4, uint32_t);

/* structs: cllm_data_loader.h */
STRUCT(CLLMDataLoader, 80, 8);
TYPED(CLLMDataLoader, tokenizer, 0, 8, CLLMTokenizer*);
TYPED(CLLMDataLoader, documents, 8, 8, char**);
TYPED(CLLMDataLoader, num_documents, 16, 8, size_t);
TYPED(CLLMDataLoader, capacity, 24, 8, size_t);
TYPED(CLLMDataLoader, total_chars, 32, 8, size_t);
TYPED(CLLMDataLoader, total_tokens, 40, 8, size_t);
TYPED(CLLMDataLoader, total_lines, 48, 8, size_t);
TYPED(CLLMDataLoader, min_token_length, 56, 4, int);
TYPED(CLLMDataLoader, max_token_length, 60, 4, int);
TYPED(CLLMDataLoader, lowercase, 64, 4, int);
TYPED(CLLMDataLoader, remove_punctuation, 68, 4, int);
TYPED(CLLMDataLoader, remove_numbers, 72, 4, int);
STRUCT(TokenDataset, 24, 8);
TYPED(TokenDataset, tokens, 0, 8, uint32_t*);
TYPED(TokenDataset, num_tokens, 8, 8, size_t);
TYPED(TokenDataset, capacity, 16, 8, size_t);

/* structs: cllm_training.h */
STRUCT(CLLMTrainingConfig, 148, 4);
TYPED(CLLMTrainingConfig, learning_rate, 0, 4, float);
TYPED(CLLMTrainingConfig, batch_size, 4, 4, int);
TYPED(CLLMTrainingConfig, num_epochs, 8, 4, int);
TYPED(CLLMTrainingConfig, max_steps, 12, 4, int);
TYPED(CLLMTrainingConfig, weight_decay, 16, 4, float);
TYPED(CLLMTrainingConfig, gradient_clip, 20, 4, float);
TYPED(CLLMTrainingConfig, warmup_steps, 24, 4, int);
TYPED(CLLMTrainingConfig, save_interval, 28, 4, int);
TYPED(CLLMTrainingConfig, save_every, 32, 4, int);
TYPED(CLLMTrainingConfig, eval_interval, 36, 4, int);
TYPED(CLLMTrainingConfig, sequence_length, 40, 4, int);
TYPED(CLLMTrainingConfig, optimizer, 44, 32, char[32]);
TYPED(CLLMTrainingConfig, lr_scheduler, 76, 32, char[32]);
TYPED(CLLMTrainingConfig, lr_decay_factor, 108, 4, float);
TYPED(CLLMTrainingConfig, lr_decay_steps, 112, 4, int);
TYPED(CLLMTrainingConfig, min_lr, 116, 4, float);
TYPED(CLLMTrainingConfig, initial_learning_rate, 120, 4, float);
TYPED(CLLMTrainingConfig, gradient_accumulation_steps, 124, 4, int);
TYPED(CLLMTrainingConfig, use_mixed_precision, 128, 4, int);
TYPED(CLLMTrainingConfig, loss_scale, 132, 4, float);
TYPED(CLLMTrainingConfig, loss_scale_growth, 136, 4, float);
TYPED(CLLMTrainingConfig, loss_scale_backoff, 140, 4, float);
TYPED(CLLMTrainingConfig, loss_scale_window, 144, 4, int);
STRUCT(CLLMTraining, 440, 8);
TYPED(CLLMTraining, model, 0, 8, CLLMModel*);
TYPED(CLLMTraining, config, 8, 148, CLLMTrainingConfig);
TYPED(CLLMTraining, tokens, 160, 8, uint32_t*);
TYPED(CLLMTraining, num_tokens, 168, 8, size_t);
TYPED(CLLMTraining, current_epoch, 176, 4, int);
TYPED(CLLMTraining, current_step, 180, 4, int);
TYPED(CLLMTraining, best_loss, 184, 4, float);
TYPED(CLLMTraining, current_loss, 188, 4, float);
TYPED(CLLMTraining, start_time, 192, 8, time_t);
TYPED(CLLMTraining, accumulation_step, 200, 4, int);
TYPED(CLLMTraining, master_weights, 208, 8, float*);
TYPED(CLLMTraining, fp16_activations, 216, 8, uint16_t*);
TYPED(CLLMTraining, fp16_gradients, 224, 8, uint16_t*);
TYPED(CLLMTraining, current_loss_scale, 232, 4, float);
TYPED(CLLMTraining, loss_scale_steps, 236, 4, int);
TYPED(CLLMTraining, total_batches, 240, 4, int);
TYPED(CLLMTraining, current_batch_offset, 244, 4, int);
TYPED(CLLMTraining, gradients, 248, 8, float*);
TYPED(CLLMTraining, optimizer_state, 256, 8, float*);
FIELD(CLLMTraining, attention_grads, 264, 8);
ELEM_SIZE(CLLMTraining, attention_grads, 24);
ELEM_FIELD(CLLMTraining, attention_grads, query_lattice, 0, 8, float*);
ELEM_FIELD(CLLMTraining, attention_grads, key_lattice, 8, 8, float*);
ELEM_FIELD(CLLMTraining, attention_grads, value_lattice, 16, 8, float*);
FIELD(CLLMTraining, ff_grads, 272, 8);
ELEM_SIZE(CLLMTraining, ff_grads, 32);
ELEM_FIELD(CLLMTraining, ff_grads, w1_lattice, 0, 8, float*);
ELEM_FIELD(CLLMTraining, ff_grads, w2_lattice, 8, 8, float*);
ELEM_FIELD(CLLMTraining, ff_grads, bias1, 16, 8, float*);
ELEM_FIELD(CLLMTraining, ff_grads, bias2, 24, 8, float*);
FIELD(CLLMTraining, ln_grads, 280, 8);
ELEM_SIZE(CLLMTraining, ln_grads, 16);
ELEM_FIELD(CLLMTraining, ln_grads, gamma, 0, 8, float*);
ELEM_FIELD(CLLMTraining, ln_grads, beta, 8, 8, float*);
TYPED(CLLMTraining, backward_embeddings, 288, 8, float*);
TYPED(CLLMTraining, backward_grad_output, 296, 8, float*);
TYPED(CLLMTraining, backward_layer_input, 304, 8, float*);
TYPED(CLLMTraining, backward_layer_grad, 312, 8, float*);
TYPED(CLLMTraining, backward_temp_grad, 320, 8, float*);
TYPED(CLLMTraining, backward_buffer_size, 328, 8, size_t);
TYPED(CLLMTraining, cached_input_embeddings, 336, 8, float*);
TYPED(CLLMTraining, cached_target_embeddings, 344, 8, float*);
TYPED(CLLMTraining, cached_batch_size, 352, 4, int);
TYPED(CLLMTraining, input_embeddings, 360, 8, float*);
TYPED(CLLMTraining, layer_inputs, 368, 8, float**);
TYPED(CLLMTraining, attention_outputs, 376, 8, float**);
TYPED(CLLMTraining, ff_outputs, 384, 8, float**);
TYPED(CLLMTraining, layer_outputs, 392, 8, float**);
TYPED(CLLMTraining, ff_hidden, 400, 8, float**);
TYPED(CLLMTraining, final_hidden, 408, 8, float*);
TYPED(CLLMTraining, logits, 416, 8, float*);
FIELD(CLLMTraining, attention_cache, 424, 8);
ELEM_SIZE(CLLMTraining, attention_cache, 40);
ELEM_FIELD(CLLMTraining, attention_cache, attention_weights, 0, 8, float*);
ELEM_FIELD(CLLMTraining, attention_cache, queries, 8, 8, float*);
ELEM_FIELD(CLLMTraining, attention_cache, keys, 16, 8, float*);
ELEM_FIELD(CLLMTraining, attention_cache, values, 24, 8, float*);
ELEM_FIELD(CLLMTraining, attention_cache, scores, 32, 8, float*);
TYPED(CLLMTraining, cached_seq_len, 432, 4, int);
TYPED(CLLMTraining, store_attention_weights, 436, 4, int);

/* structs: cllm_utils.h */
STRUCT(BenchmarkResults, 56, 8);
TYPED(BenchmarkResults, inference_time_ms, 0, 8, double);
TYPED(BenchmarkResults, tokens_per_second, 8, 8, double);
TYPED(BenchmarkResults, memory_mb, 16, 8, double);
TYPED(BenchmarkResults, throughput_tokens_per_sec, 24, 8, double);
TYPED(BenchmarkResults, total_tokens, 32, 8, size_t);
TYPED(BenchmarkResults, batch_size, 40, 8, size_t);
TYPED(BenchmarkResults, seq_length, 48, 8, size_t);

/* functions: cllm_inference.h */
static CLLMInference* (*p_cllm_inference_init)(CLLMModel*) = cllm_inference_init;
static int (*p_cllm_tokenize)(CLLMInference*, const char*, uint32_t*, int) = cllm_tokenize;
static void (*p_cllm_detokenize)(CLLMInference*, uint32_t*, int, char*, int) = cllm_detokenize;
static void (*p_cllm_get_embedding)(CLLMInference*, uint32_t, float*) = cllm_get_embedding;
static void (*p_cllm_apply_positional_encoding)(CLLMInference*, float*, int) = cllm_apply_positional_encoding;
static void (*p_cllm_embed_token)(CLLMInference*, uint32_t, float*) = cllm_embed_token;
static void (*p_cllm_apply_lattice_transform)(float*, float*, int) = cllm_apply_lattice_transform;
static void (*p_cllm_get_embedding_transformed)(CLLMInference*, uint32_t, float*) = cllm_get_embedding_transformed;
static void (*p_cllm_embed_tokens_batch)(CLLMInference*, uint32_t*, int, float*) = cllm_embed_tokens_batch;
static void (*p_cllm_project_to_vocab)(CLLMInference*, float*, float*) = cllm_project_to_vocab;
static float (*p_cllm_embedding_norm)(float*, int) = cllm_embedding_norm;
static void (*p_cllm_normalize_embedding)(float*, int) = cllm_normalize_embedding;
static void (*p_cllm_attention_forward)(AttentionLayer*, float*, float*, float*, float*, int) = cllm_attention_forward;
static void (*p_cllm_multi_head_attention)(CLLMInference*, int, float*, float*, int) = cllm_multi_head_attention;
static void (*p_cllm_attention_init)(AttentionLayer*, uint32_t, uint32_t) = cllm_attention_init;
static void (*p_cllm_attention_free)(AttentionLayer*) = cllm_attention_free;
static void (*p_cllm_feedforward)(FeedForwardLayer*, float*, float*) = cllm_feedforward;
static void (*p_cllm_activation_gelu)(float*, int) = cllm_activation_gelu;
static void (*p_cllm_activation_relu)(float*, int) = cllm_activation_relu;
static void (*p_cllm_feedforward_inplace)(FeedForwardLayer*, float*) = cllm_feedforward_inplace;
static void (*p_cllm_feedforward_batch)(FeedForwardLayer*, float*, float*, int) = cllm_feedforward_batch;
static void (*p_cllm_feedforward_init)(FeedForwardLayer*, uint32_t, uint32_t, uint32_t) = cllm_feedforward_init;
static void (*p_cllm_feedforward_free)(FeedForwardLayer*) = cllm_feedforward_free;
static void (*p_cllm_layer_norm)(CLLMLayerNorm*, float*, float*) = cllm_layer_norm;
static void (*p_cllm_layer_norm_inplace)(CLLMLayerNorm*, float*) = cllm_layer_norm_inplace;
static void (*p_cllm_layer_norm_batch)(CLLMLayerNorm*, float*, float*, int) = cllm_layer_norm_batch;
static void (*p_cllm_layer_norm_init)(CLLMLayerNorm*, uint32_t, float) = cllm_layer_norm_init;
static void (*p_cllm_layer_norm_free)(CLLMLayerNorm*) = cllm_layer_norm_free;
static void (*p_cllm_layer_norm_stats)(float*, uint32_t, float*, float*) = cllm_layer_norm_stats;
static void (*p_cllm_compute_spiral_position)(uint64_t, float*, float*) = cllm_compute_spiral_position;
static void (*p_cllm_map_token_to_lattice)(uint32_t, uint64_t, float*) = cllm_map_token_to_lattice;
static void (*p_cllm_generate_lattice_embedding)(uint32_t, uint64_t, uint32_t, float*) = cllm_generate_lattice_embedding;
static void (*p_cllm_generate_lattice_embeddings)(CLLMModel*) = cllm_generate_lattice_embeddings;
static void (*p_cllm_generate_lattice_transform)(float*, int) = cllm_generate_lattice_transform;
static float (*p_cllm_lattice_token_distance)(uint32_t, uint64_t, uint32_t, uint64_t) = cllm_lattice_token_distance;
static void (*p_cllm_find_lattice_neighbors)(uint32_t, uint64_t, uint32_t*, uint64_t*, uint32_t, int, uint32_t*) = cllm_find_lattice_neighbors;
static void (*p_cllm_generate_spiral_encoding)(PositionalEncoding*) = cllm_generate_spiral_encoding;
static void (*p_cllm_generate_clock_encoding)(PositionalEncoding*) = cllm_generate_clock_encoding;
static void (*p_cllm_generate_prime_encoding)(PositionalEncoding*) = cllm_generate_prime_encoding;
static void (*p_cllm_initialize_learned_encoding)(PositionalEncoding*) = cllm_initialize_learned_encoding;
static void (*p_cllm_apply_positional_encoding_complete)(CLLMInference*, float*, int) = cllm_apply_positional_encoding_complete;
static void (*p_cllm_generate_all_positional_encodings)(CLLMModel*) = cllm_generate_all_positional_encodings;
static void (*p_cllm_free_positional_encoding)(PositionalEncoding*) = cllm_free_positional_encoding;
static uint32_t (*p_cllm_compute_symmetry_group)(uint64_t) = cllm_compute_symmetry_group;
static void (*p_cllm_apply_symmetry_transform)(float*, int, int) = cllm_apply_symmetry_transform;
static void (*p_cllm_apply_inverse_symmetry_transform)(float*, int, int) = cllm_apply_inverse_symmetry_transform;
static void (*p_cllm_compute_symmetry_invariants)(float*, int, float*, int) = cllm_compute_symmetry_invariants;
static void (*p_cllm_apply_equivariant_transform)(float*, int, float*, int) = cllm_apply_equivariant_transform;
static float (*p_cllm_symmetry_compatibility)(float*, int, float*, int, int) = cllm_symmetry_compatibility;
static void (*p_cllm_generate_symmetry_attention_mask)(int*, int, float*) = cllm_generate_symmetry_attention_mask;
static void (*p_cllm_forward)(CLLMInference*, uint32_t*, int) = cllm_forward;
#ifndef ABI_ONLY_EXPORTED
static void (*p_cllm_compute_logits)(CLLMInference*, float*) = cllm_compute_logits;
#endif
static int (*p_cllm_sample_token)(CLLMInference*, float*) = cllm_sample_token;
static void (*p_cllm_apply_temperature)(float*, int, float) = cllm_apply_temperature;
static void (*p_cllm_softmax)(float*, int) = cllm_softmax;
static uint32_t (*p_cllm_sample_top_k)(float*, int, int) = cllm_sample_top_k;
static uint32_t (*p_cllm_sample_top_p)(float*, int, float) = cllm_sample_top_p;
static int (*p_cllm_generate)(CLLMInference*, const char*, char*, int) = cllm_generate;
static void (*p_cllm_set_temperature)(CLLMInference*, float) = cllm_set_temperature;
static void (*p_cllm_set_top_p)(CLLMInference*, float) = cllm_set_top_p;
static void (*p_cllm_set_top_k)(CLLMInference*, int) = cllm_set_top_k;
static void (*p_cllm_set_max_tokens)(CLLMInference*, int) = cllm_set_max_tokens;
static void (*p_cllm_inference_cleanup)(CLLMInference*) = cllm_inference_cleanup;

/* functions: cllm_format.h */
static void (*p_cllm_header_init)(CLLMHeader*, const char*, const char*) = cllm_header_init;
static void (*p_cllm_prime_to_lattice)(uint64_t, float[3], float*, float*) = cllm_prime_to_lattice;
static uint64_t (*p_cllm_nearest_prime)(uint64_t) = cllm_nearest_prime;
static uint64_t (*p_cllm_token_to_prime)(uint32_t) = cllm_token_to_prime;
static void (*p_cllm_token_create)(CLLMToken*, uint32_t, const char*) = cllm_token_create;
static void (*p_cllm_lattice_point_create)(CLLMLatticePoint*, uint32_t, float, float, float, uint32_t) = cllm_lattice_point_create;
static float (*p_cllm_lattice_distance)(const CLLMLatticePoint*, const CLLMLatticePoint*) = cllm_lattice_distance;
static void (*p_cllm_lattice_find_neighbors)(CLLMLatticePoint*, CLLMLatticePoint*, int, float) = cllm_lattice_find_neighbors;
static CLLMModel* (*p_cllm_read_model)(const char*) = cllm_read_model;
static int (*p_cllm_write_model)(const CLLMModel*, const char*) = cllm_write_model;
static int (*p_cllm_validate_model)(void*) = cllm_validate_model;
#ifndef ABI_ONLY_EXPORTED
static int (*p_cllm_write_checkpoint)(const char*, CLLMModel*) = cllm_write_checkpoint;
#endif
#ifndef ABI_ONLY_EXPORTED
static CLLMModel* (*p_cllm_read_checkpoint)(const char*) = cllm_read_checkpoint;
#endif
static bool (*p_cllm_validate)(const char*) = cllm_validate;
static void (*p_cllm_free)(CLLMModel*) = cllm_free;

/* functions: cllm_tokenizer.h */
static CLLMTokenizer* (*p_cllm_create_tokenizer)(uint32_t) = cllm_create_tokenizer;
static void (*p_cllm_free_tokenizer)(CLLMTokenizer*) = cllm_free_tokenizer;
static uint32_t (*p_cllm_find_token)(CLLMTokenizer*, const char*) = cllm_find_token;
static uint32_t (*p_cllm_add_token)(CLLMTokenizer*, const char*) = cllm_add_token;
static uint32_t* (*p_cllm_tokenizer_encode)(CLLMTokenizer*, const char*, uint32_t*) = cllm_tokenizer_encode;
static char* (*p_cllm_tokenizer_decode)(CLLMTokenizer*, uint32_t*, uint32_t) = cllm_tokenizer_decode;
static void (*p_cllm_build_vocab)(CLLMTokenizer*, const char*) = cllm_build_vocab;
static int (*p_cllm_save_vocab)(CLLMTokenizer*, const char*) = cllm_save_vocab;
static int (*p_cllm_load_vocab)(CLLMTokenizer*, const char*) = cllm_load_vocab;
static uint32_t (*p_cllm_get_vocab_size)(CLLMTokenizer*) = cllm_get_vocab_size;
static const char* (*p_cllm_get_token_string)(CLLMTokenizer*, uint32_t) = cllm_get_token_string;
static void (*p_cllm_print_vocab_stats)(CLLMTokenizer*) = cllm_print_vocab_stats;
static uint32_t* (*p_cllm_encode_with_special)(CLLMTokenizer*, const char*, uint32_t*) = cllm_encode_with_special;

/* functions: cllm_data_loader.h */
static CLLMDataLoader* (*p_cllm_data_loader_create)(CLLMTokenizer*) = cllm_data_loader_create;
static void (*p_cllm_data_loader_free)(CLLMDataLoader*) = cllm_data_loader_free;
static int (*p_cllm_data_loader_add_document)(CLLMDataLoader*, const char*) = cllm_data_loader_add_document;
static int (*p_cllm_data_loader_load_file)(CLLMDataLoader*, const char*) = cllm_data_loader_load_file;
static int (*p_cllm_data_loader_load_directory)(CLLMDataLoader*, const char*) = cllm_data_loader_load_directory;
static void (*p_cllm_data_loader_build_vocab)(CLLMDataLoader*) = cllm_data_loader_build_vocab;
static TokenDataset* (*p_cllm_data_loader_create_dataset)(CLLMDataLoader*) = cllm_data_loader_create_dataset;
static void (*p_cllm_token_dataset_free)(TokenDataset*) = cllm_token_dataset_free;
static int (*p_cllm_token_dataset_save)(TokenDataset*, const char*) = cllm_token_dataset_save;
static TokenDataset* (*p_cllm_token_dataset_load)(const char*) = cllm_token_dataset_load;
static void (*p_cllm_data_loader_print_stats)(CLLMDataLoader*) = cllm_data_loader_print_stats;

/* functions: cllm_training.h */
static float (*p_cllm_compute_loss)(CLLMTraining*, uint32_t*, uint32_t*, int) = cllm_compute_loss;
static float (*p_cllm_compute_cross_entropy_loss)(float*, uint32_t, int) = cllm_compute_cross_entropy_loss;
static void (*p_cllm_compute_loss_gradient)(float*, uint32_t, float*, int) = cllm_compute_loss_gradient;
static float (*p_cllm_compute_batch_loss)(float*, uint32_t*, int, int) = cllm_compute_batch_loss;
static float (*p_cllm_compute_perplexity)(float) = cllm_compute_perplexity;
static float (*p_cllm_compute_label_smoothing_loss)(float*, uint32_t, int, float) = cllm_compute_label_smoothing_loss;
static float (*p_cllm_compute_kl_divergence)(float*, float*, int) = cllm_compute_kl_divergence;
static float (*p_cllm_compute_sequence_loss)(float*, uint32_t*, int, int) = cllm_compute_sequence_loss;
static float (*p_cllm_compute_accuracy)(float*, uint32_t*, int, int) = cllm_compute_accuracy;
static float (*p_cllm_compute_top_k_accuracy)(float*, uint32_t*, int, int, int) = cllm_compute_top_k_accuracy;
static void (*p_cllm_apply_gradient_clipping)(float*, size_t, float) = cllm_apply_gradient_clipping;
static void (*p_cllm_clip_gradients_by_value)(float*, size_t, float) = cllm_clip_gradients_by_value;
static CLLMTraining* (*p_cllm_training_init)(CLLMModel*, CLLMTrainingConfig*) = cllm_training_init;
static void (*p_cllm_training_free)(CLLMTraining*) = cllm_training_free;
static void (*p_cllm_training_cleanup)(CLLMTraining*) = cllm_training_cleanup;
static void (*p_cllm_adam_step)(CLLMTraining*, float) = cllm_adam_step;
static void (*p_cllm_sgd_momentum_step)(CLLMTraining*, float, float) = cllm_sgd_momentum_step;
static void (*p_cllm_update_learning_rate)(CLLMTraining*) = cllm_update_learning_rate;
#ifndef ABI_ONLY_EXPORTED
static float (*p_cllm_get_learning_rate)(CLLMTraining*) = cllm_get_learning_rate;
#endif
#ifndef ABI_ONLY_EXPORTED
static float (*p_cllm_get_learning_rate_step_decay)(CLLMTraining*, int*, int, float) = cllm_get_learning_rate_step_decay;
#endif
#ifndef ABI_ONLY_EXPORTED
static float (*p_cllm_get_learning_rate_exponential)(CLLMTraining*, float) = cllm_get_learning_rate_exponential;
#endif
#ifndef ABI_ONLY_EXPORTED
static float (*p_cllm_get_learning_rate_polynomial)(CLLMTraining*, float) = cllm_get_learning_rate_polynomial;
#endif
#ifndef ABI_ONLY_EXPORTED
static void (*p_cllm_print_lr_schedule)(CLLMTraining*) = cllm_print_lr_schedule;
#endif
#ifndef ABI_ONLY_EXPORTED
static int (*p_cllm_adam_init)(CLLMTraining*) = cllm_adam_init;
#endif
static void (*p_cllm_apply_weight_decay)(float*, size_t, float, float) = cllm_apply_weight_decay;
static void (*p_cllm_zero_gradients)(float*, size_t) = cllm_zero_gradients;
static float (*p_cllm_compute_gradient_norm)(float*, size_t) = cllm_compute_gradient_norm;
static void (*p_cllm_accumulate_gradients)(float*, float*, size_t) = cllm_accumulate_gradients;
static void (*p_cllm_scale_gradients)(float*, size_t, float) = cllm_scale_gradients;
static int (*p_cllm_check_gradients_valid)(float*, size_t) = cllm_check_gradients_valid;
static void (*p_cllm_update_ema_weights)(float*, float*, size_t, float) = cllm_update_ema_weights;
#ifndef ABI_ONLY_EXPORTED
static void (*p_cllm_layer_norm_backward)(CLLMLayerNorm*, float*, float*, float*, float*, float*) = cllm_layer_norm_backward;
#endif
#ifndef ABI_ONLY_EXPORTED
static void (*p_cllm_feedforward_backward)(FeedForwardLayer*, float*, float*, float*, float*, float*, float*, float*, float*) = cllm_feedforward_backward;
#endif
#ifndef ABI_ONLY_EXPORTED
static void (*p_cllm_attention_backward)(AttentionLayer*, float*, float*, float*, float*, float*, float*, int) = cllm_attention_backward;
#endif
#ifndef ABI_ONLY_EXPORTED
static void (*p_cllm_embedding_backward)(Embeddings*, uint32_t*, float*, float*, int) = cllm_embedding_backward;
#endif
#ifndef ABI_ONLY_EXPORTED
static void (*p_cllm_transformer_layer_backward)(CLLMTraining*, int, float*, float*, float*, int) = cllm_transformer_layer_backward;
#endif
static void (*p_cllm_zero_all_gradients)(CLLMTraining*) = cllm_zero_all_gradients;
static void (*p_cllm_backward)(CLLMTraining*, uint32_t*, uint32_t*, int) = cllm_backward;
static int (*p_cllm_load_training_data)(CLLMTraining*, const char*) = cllm_load_training_data;
static int (*p_cllm_get_batch)(CLLMTraining*, uint32_t*, uint32_t*) = cllm_get_batch;
static void (*p_cllm_optimizer_step)(CLLMTraining*) = cllm_optimizer_step;
static void (*p_cllm_optimizer_step_adam)(CLLMTraining*) = cllm_optimizer_step_adam;
static float (*p_cllm_train_epoch)(CLLMTraining*) = cllm_train_epoch;
static int (*p_cllm_train)(CLLMTraining*) = cllm_train;
static int (*p_cllm_save_checkpoint)(CLLMTraining*, const char*) = cllm_save_checkpoint;
static int (*p_cllm_load_checkpoint)(CLLMTraining*, const char*) = cllm_load_checkpoint;
static float (*p_cllm_forward_training)(CLLMTraining*, uint32_t*) = cllm_forward_training;
static float (*p_cllm_compute_loss_training)(CLLMTraining*, uint32_t*) = cllm_compute_loss_training;
static void (*p_cllm_backward_training)(CLLMTraining*, uint32_t*) = cllm_backward_training;

/* functions: cllm_training_mt.h */
static float (*p_cllm_train_epoch_mt)(CLLMTraining*, int) = cllm_train_epoch_mt;

/* functions: cllm_utils.h */
static CLLMModel* (*p_cllm_create_model)(const CLLMConfig*) = cllm_create_model;
static void (*p_cllm_free_model)(CLLMModel*) = cllm_free_model;
static size_t (*p_cllm_estimate_memory)(const CLLMConfig*) = cllm_estimate_memory;
static void (*p_cllm_print_model_info)(const CLLMModel*) = cllm_print_model_info;
static CLLMModel* (*p_cllm_create_small_model)(void) = cllm_create_small_model;
static CLLMModel* (*p_cllm_create_medium_model)(void) = cllm_create_medium_model;
static CLLMModel* (*p_cllm_create_large_model)(void) = cllm_create_large_model;
static bool (*p_cllm_check_numerical_stability)(const float*, size_t, const char*) = cllm_check_numerical_stability;
static bool (*p_cllm_validate_weights)(const CLLMModel*) = cllm_validate_weights;
static bool (*p_cllm_validate_layer_norms)(const CLLMModel*) = cllm_validate_layer_norms;
static bool (*p_cllm_validate_positional_encodings)(const CLLMModel*) = cllm_validate_positional_encodings;
static bool (*p_cllm_comprehensive_validation)(const CLLMModel*) = cllm_comprehensive_validation;
static bool (*p_cllm_gradient_check_weight)(CLLMModel*, size_t, float) = cllm_gradient_check_weight;
static bool (*p_cllm_validate_gradients)(CLLMModel*, const float*, size_t) = cllm_validate_gradients;
static bool (*p_cllm_validate_inference_output)(const float*, size_t) = cllm_validate_inference_output;
static bool (*p_cllm_validate_training_batch)(const uint32_t*, const uint32_t*, size_t, size_t, uint32_t) = cllm_validate_training_batch;
static bool (*p_cllm_validate_model_consistency)(const CLLMModel*) = cllm_validate_model_consistency;
static void (*p_cllm_reset_memory_stats)(void) = cllm_reset_memory_stats;
static void (*p_cllm_print_memory_stats)(void) = cllm_print_memory_stats;
static BenchmarkResults (*p_cllm_benchmark_inference_single)(CLLMModel*, uint32_t*, size_t, int) = cllm_benchmark_inference_single;
static BenchmarkResults (*p_cllm_benchmark_inference_batch)(CLLMModel*, uint32_t*, size_t, size_t, int) = cllm_benchmark_inference_batch;
static BenchmarkResults (*p_cllm_benchmark_forward_pass)(CLLMModel*, size_t, size_t, int) = cllm_benchmark_forward_pass;
static BenchmarkResults (*p_cllm_benchmark_training_step)(CLLMModel*, size_t, size_t, int) = cllm_benchmark_training_step;
static void (*p_cllm_run_benchmark_suite)(CLLMModel*) = cllm_run_benchmark_suite;
static void (*p_cllm_profile_memory)(CLLMModel*, int) = cllm_profile_memory;
static void (*p_cllm_generate_performance_report)(CLLMModel*, const char*) = cllm_generate_performance_report;

#ifndef ABI_SKIP_CONSTANTS
_Static_assert(CLLM_MAGIC == 0x434C4C4D, "CLLM_MAGIC");
_Static_assert(CLLM_VERSION == 1, "CLLM_VERSION");
_Static_assert(MAX_MODEL_NAME == 256, "MAX_MODEL_NAME");
_Static_assert(MAX_DESCRIPTION == 1024, "MAX_DESCRIPTION");
_Static_assert(MAX_NEIGHBORS == 12, "MAX_NEIGHBORS");
#define CONSTANT_CHECKS 5
#else
#define CONSTANT_CHECKS 0
#endif

#define LAYOUT_CHECKS 804 /* assertions over 24 structs */

typedef void (*any_function)(void);
static int functions, bad;

/* a volatile copy keeps the reference to the symbol */
#define USE(p) do { \
        volatile any_function v_ = (any_function)(p); \
        if (v_) functions++; else bad++; \
    } while (0)

int main(void)
{
    int constants = CONSTANT_CHECKS;
    /* cllm_inference.h */
    USE(p_cllm_inference_init);
    USE(p_cllm_tokenize);
    USE(p_cllm_detokenize);
    USE(p_cllm_get_embedding);
    USE(p_cllm_apply_positional_encoding);
    USE(p_cllm_embed_token);
    USE(p_cllm_apply_lattice_transform);
    USE(p_cllm_get_embedding_transformed);
    USE(p_cllm_embed_tokens_batch);
    USE(p_cllm_project_to_vocab);
    USE(p_cllm_embedding_norm);
    USE(p_cllm_normalize_embedding);
    USE(p_cllm_attention_forward);
    USE(p_cllm_multi_head_attention);
    USE(p_cllm_attention_init);
    USE(p_cllm_attention_free);
    USE(p_cllm_feedforward);
    USE(p_cllm_activation_gelu);
    USE(p_cllm_activation_relu);
    USE(p_cllm_feedforward_inplace);
    USE(p_cllm_feedforward_batch);
    USE(p_cllm_feedforward_init);
    USE(p_cllm_feedforward_free);
    USE(p_cllm_layer_norm);
    USE(p_cllm_layer_norm_inplace);
    USE(p_cllm_layer_norm_batch);
    USE(p_cllm_layer_norm_init);
    USE(p_cllm_layer_norm_free);
    USE(p_cllm_layer_norm_stats);
    USE(p_cllm_compute_spiral_position);
    USE(p_cllm_map_token_to_lattice);
    USE(p_cllm_generate_lattice_embedding);
    USE(p_cllm_generate_lattice_embeddings);
    USE(p_cllm_generate_lattice_transform);
    USE(p_cllm_lattice_token_distance);
    USE(p_cllm_find_lattice_neighbors);
    USE(p_cllm_generate_spiral_encoding);
    USE(p_cllm_generate_clock_encoding);
    USE(p_cllm_generate_prime_encoding);
    USE(p_cllm_initialize_learned_encoding);
    USE(p_cllm_apply_positional_encoding_complete);
    USE(p_cllm_generate_all_positional_encodings);
    USE(p_cllm_free_positional_encoding);
    USE(p_cllm_compute_symmetry_group);
    USE(p_cllm_apply_symmetry_transform);
    USE(p_cllm_apply_inverse_symmetry_transform);
    USE(p_cllm_compute_symmetry_invariants);
    USE(p_cllm_apply_equivariant_transform);
    USE(p_cllm_symmetry_compatibility);
    USE(p_cllm_generate_symmetry_attention_mask);
    USE(p_cllm_forward);
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_compute_logits);
#endif
    USE(p_cllm_sample_token);
    USE(p_cllm_apply_temperature);
    USE(p_cllm_softmax);
    USE(p_cllm_sample_top_k);
    USE(p_cllm_sample_top_p);
    USE(p_cllm_generate);
    USE(p_cllm_set_temperature);
    USE(p_cllm_set_top_p);
    USE(p_cllm_set_top_k);
    USE(p_cllm_set_max_tokens);
    USE(p_cllm_inference_cleanup);
    /* cllm_format.h */
    USE(p_cllm_header_init);
    USE(p_cllm_prime_to_lattice);
    USE(p_cllm_nearest_prime);
    USE(p_cllm_token_to_prime);
    USE(p_cllm_token_create);
    USE(p_cllm_lattice_point_create);
    USE(p_cllm_lattice_distance);
    USE(p_cllm_lattice_find_neighbors);
    USE(p_cllm_read_model);
    USE(p_cllm_write_model);
    USE(p_cllm_validate_model);
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_write_checkpoint);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_read_checkpoint);
#endif
    USE(p_cllm_validate);
    USE(p_cllm_free);
    /* cllm_tokenizer.h */
    USE(p_cllm_create_tokenizer);
    USE(p_cllm_free_tokenizer);
    USE(p_cllm_find_token);
    USE(p_cllm_add_token);
    USE(p_cllm_tokenizer_encode);
    USE(p_cllm_tokenizer_decode);
    USE(p_cllm_build_vocab);
    USE(p_cllm_save_vocab);
    USE(p_cllm_load_vocab);
    USE(p_cllm_get_vocab_size);
    USE(p_cllm_get_token_string);
    USE(p_cllm_print_vocab_stats);
    USE(p_cllm_encode_with_special);
    /* cllm_data_loader.h */
    USE(p_cllm_data_loader_create);
    USE(p_cllm_data_loader_free);
    USE(p_cllm_data_loader_add_document);
    USE(p_cllm_data_loader_load_file);
    USE(p_cllm_data_loader_load_directory);
    USE(p_cllm_data_loader_build_vocab);
    USE(p_cllm_data_loader_create_dataset);
    USE(p_cllm_token_dataset_free);
    USE(p_cllm_token_dataset_save);
    USE(p_cllm_token_dataset_load);
    USE(p_cllm_data_loader_print_stats);
    /* cllm_training.h */
    USE(p_cllm_compute_loss);
    USE(p_cllm_compute_cross_entropy_loss);
    USE(p_cllm_compute_loss_gradient);
    USE(p_cllm_compute_batch_loss);
    USE(p_cllm_compute_perplexity);
    USE(p_cllm_compute_label_smoothing_loss);
    USE(p_cllm_compute_kl_divergence);
    USE(p_cllm_compute_sequence_loss);
    USE(p_cllm_compute_accuracy);
    USE(p_cllm_compute_top_k_accuracy);
    USE(p_cllm_apply_gradient_clipping);
    USE(p_cllm_clip_gradients_by_value);
    USE(p_cllm_training_init);
    USE(p_cllm_training_free);
    USE(p_cllm_training_cleanup);
    USE(p_cllm_adam_step);
    USE(p_cllm_sgd_momentum_step);
    USE(p_cllm_update_learning_rate);
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_get_learning_rate);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_get_learning_rate_step_decay);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_get_learning_rate_exponential);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_get_learning_rate_polynomial);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_print_lr_schedule);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_adam_init);
#endif
    USE(p_cllm_apply_weight_decay);
    USE(p_cllm_zero_gradients);
    USE(p_cllm_compute_gradient_norm);
    USE(p_cllm_accumulate_gradients);
    USE(p_cllm_scale_gradients);
    USE(p_cllm_check_gradients_valid);
    USE(p_cllm_update_ema_weights);
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_layer_norm_backward);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_feedforward_backward);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_attention_backward);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_embedding_backward);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_cllm_transformer_layer_backward);
#endif
    USE(p_cllm_zero_all_gradients);
    USE(p_cllm_backward);
    USE(p_cllm_load_training_data);
    USE(p_cllm_get_batch);
    USE(p_cllm_optimizer_step);
    USE(p_cllm_optimizer_step_adam);
    USE(p_cllm_train_epoch);
    USE(p_cllm_train);
    USE(p_cllm_save_checkpoint);
    USE(p_cllm_load_checkpoint);
    USE(p_cllm_forward_training);
    USE(p_cllm_compute_loss_training);
    USE(p_cllm_backward_training);
    /* cllm_training_mt.h */
    USE(p_cllm_train_epoch_mt);
    /* cllm_utils.h */
    USE(p_cllm_create_model);
    USE(p_cllm_free_model);
    USE(p_cllm_estimate_memory);
    USE(p_cllm_print_model_info);
    USE(p_cllm_create_small_model);
    USE(p_cllm_create_medium_model);
    USE(p_cllm_create_large_model);
    USE(p_cllm_check_numerical_stability);
    USE(p_cllm_validate_weights);
    USE(p_cllm_validate_layer_norms);
    USE(p_cllm_validate_positional_encodings);
    USE(p_cllm_comprehensive_validation);
    USE(p_cllm_gradient_check_weight);
    USE(p_cllm_validate_gradients);
    USE(p_cllm_validate_inference_output);
    USE(p_cllm_validate_training_batch);
    USE(p_cllm_validate_model_consistency);
    USE(p_cllm_reset_memory_stats);
    USE(p_cllm_print_memory_stats);
    USE(p_cllm_benchmark_inference_single);
    USE(p_cllm_benchmark_inference_batch);
    USE(p_cllm_benchmark_forward_pass);
    USE(p_cllm_benchmark_training_step);
    USE(p_cllm_run_benchmark_suite);
    USE(p_cllm_profile_memory);
    USE(p_cllm_generate_performance_report);
    printf("tier 1: %d checks: %d layout, %d functions, %d constants; %d failed\n",
           LAYOUT_CHECKS + functions + constants, LAYOUT_CHECKS, functions, constants, bad);
    return bad != 0;
}
