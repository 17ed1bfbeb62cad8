"""The library's structs, as far as this package reads them: include/*.h has the meaning of each field."""

import ctypes as c
from typing import Any, ClassVar, List, Tuple

Fields = List[Tuple[str, Any]]
Floats = c.POINTER(c.c_float)
Ids = c.POINTER(c.c_uint32)


class Config(c.Structure):
    """CLLMConfig"""

    _fields_: ClassVar[Fields] = [
        ("vocab_size", c.c_uint32), ("embedding_dim", c.c_uint32), ("num_layers", c.c_uint32),
        ("num_heads", c.c_uint32), ("ff_dim", c.c_uint32), ("max_seq_len", c.c_uint32),
        ("dropout", c.c_float)]


class Header(c.Structure):
    """CLLMHeader"""

    _fields_: ClassVar[Fields] = [
        ("magic", c.c_char * 8), ("version", c.c_uint32), ("model_name", c.c_char * 256),
        ("description", c.c_char * 1024), ("vocab_size", c.c_uint64),
        ("num_lattice_points", c.c_uint64), ("embedding_dim", c.c_uint64),
        ("num_layers", c.c_uint64), ("created_timestamp", c.c_uint64),
        ("modified_timestamp", c.c_uint64), ("symmetry_order", c.c_uint32),
        ("architecture", c.c_uint32), ("num_heads", c.c_uint32), ("context_length", c.c_uint32),
        ("golden_ratio", c.c_double), ("timestamp", c.c_uint64), ("total_params", c.c_uint64),
        ("reserved", c.c_uint8 * 192)]


class Embeddings(c.Structure):
    """Embeddings"""

    _fields_: ClassVar[Fields] = [
        ("vocab_size", c.c_uint32), ("embedding_dim", c.c_uint32), ("embeddings", Floats),
        ("lattice_transform", Floats), ("inverse_transform", Floats)]


class AttentionLayer(c.Structure):
    """AttentionLayer"""

    _fields_: ClassVar[Fields] = [
        ("layer_id", c.c_uint32), ("num_heads", c.c_uint32), ("head_dim", c.c_uint32),
        ("query_lattice", Floats), ("key_lattice", Floats), ("value_lattice", Floats)]


class FeedForwardLayer(c.Structure):
    """FeedForwardLayer"""

    _fields_: ClassVar[Fields] = [
        ("layer_id", c.c_uint32), ("input_dim", c.c_uint32), ("hidden_dim", c.c_uint32),
        ("output_dim", c.c_uint32), ("w1_lattice", Floats), ("w2_lattice", Floats),
        ("bias1", Floats), ("bias2", Floats)]


class LayerNorm(c.Structure):
    """CLLMLayerNorm"""

    _fields_: ClassVar[Fields] = [
        ("layer_id", c.c_uint32), ("dim", c.c_uint32), ("epsilon", c.c_float), ("gamma", Floats),
        ("beta", Floats)]


class PositionalEncoding(c.Structure):
    """PositionalEncoding"""

    _fields_: ClassVar[Fields] = [
        ("max_length", c.c_uint32), ("embedding_dim", c.c_uint32), ("spiral_positions", Floats),
        ("clock_positions", Floats), ("prime_positions", Floats), ("learned_positions", Floats)]


class TrainingMetadata(c.Structure):
    """TrainingMetadata"""

    _fields_: ClassVar[Fields] = [
        ("training_steps", c.c_uint64), ("learning_rate", c.c_float), ("loss", c.c_float),
        ("timestamp", c.c_uint64), ("optimizer", c.c_char * 64), ("reserved", c.c_uint8 * 128)]


class Model(c.Structure):
    """CLLMModel"""

    _fields_: ClassVar[Fields] = [
        ("header", Header), ("tokens", c.c_void_p), ("lattice_points", c.c_void_p),
        ("vocab_size", c.c_uint64), ("num_lattice_points", c.c_uint64),
        ("embedding_dim", c.c_uint64), ("weights", Floats), ("num_weights", c.c_uint64),
        ("embeddings", Embeddings), ("num_layers", c.c_uint32),
        ("attention_layers", c.POINTER(AttentionLayer)), ("ff_layers", c.POINTER(FeedForwardLayer)),
        ("layer_norms", c.POINTER(LayerNorm)), ("pos_encoding", PositionalEncoding),
        ("training_meta", TrainingMetadata)]


class Inference(c.Structure):
    """CLLMInference"""

    _fields_: ClassVar[Fields] = [
        ("model", c.POINTER(Model)), ("temperature", c.c_float), ("top_p", c.c_float),
        ("top_k", c.c_int), ("max_tokens", c.c_int), ("repetition_penalty", c.c_float),
        ("kv_cache_size", c.c_int), ("kv_cache_used", c.c_int), ("key_cache", Floats),
        ("value_cache", Floats), ("hidden_states", Floats), ("logits", Floats)]


class IndexProb(c.Structure):
    """IndexProb"""

    _fields_: ClassVar[Fields] = [("idx", c.c_int), ("prob", c.c_float)]


class Score(c.Structure):
    """CLLMScore"""

    _fields_: ClassVar[Fields] = [
        ("struct_size", c.c_size_t), ("tokens", c.c_uint64), ("bytes", c.c_uint64),
        ("nats", c.c_double), ("nats_per_token", c.c_double), ("bits_per_byte", c.c_double)]


class Recipe(c.Structure):
    """CLLMRecipe"""

    _fields_: ClassVar[Fields] = [
        ("struct_size", c.c_size_t), ("training_tokens", c.c_uint64), ("held_out_tokens", c.c_uint64),
        ("epochs", c.c_double), ("steps", c.c_int), ("tokenizer", c.c_int), ("vocab_size", c.c_int),
        ("embedding_dim", c.c_int), ("num_layers", c.c_int), ("num_heads", c.c_int),
        ("ff_dim", c.c_int), ("sequence_length", c.c_int), ("batch_size", c.c_int),
        ("warmup_steps", c.c_int), ("learning_rate", c.c_float), ("weight_decay", c.c_float),
        ("gradient_clip", c.c_float), ("beta2", c.c_float), ("dropout", c.c_float),
        ("evaluate_every", c.c_int), ("evaluate_tokens", c.c_uint64),
        ("tokens_per_second", c.c_double), ("text", c.c_char * 640),
        ("short_windows", c.c_int), ("short_part", c.c_float)]


class TrainingOptions(c.Structure):
    """CLLMTrainingOptions"""

    _fields_: ClassVar[Fields] = [
        ("struct_size", c.c_size_t), ("seed", c.c_uint64), ("beta2", c.c_float),
        ("dropout", c.c_float), ("shuffle", c.c_int), ("decay_to_zero", c.c_int),
        ("precision", c.c_int), ("short_windows", c.c_int), ("short_part", c.c_float)]


class TrainingConfig(c.Structure):
    """CLLMTrainingConfig"""

    _fields_: ClassVar[Fields] = [
        ("learning_rate", c.c_float), ("batch_size", c.c_int), ("num_epochs", c.c_int),
        ("max_steps", c.c_int), ("weight_decay", c.c_float), ("gradient_clip", c.c_float),
        ("warmup_steps", c.c_int), ("save_interval", c.c_int), ("save_every", c.c_int),
        ("eval_interval", c.c_int), ("sequence_length", c.c_int), ("optimizer", c.c_char * 32),
        ("lr_scheduler", c.c_char * 32), ("lr_decay_factor", c.c_float),
        ("lr_decay_steps", c.c_int), ("min_lr", c.c_float), ("initial_learning_rate", c.c_float),
        ("gradient_accumulation_steps", c.c_int), ("use_mixed_precision", c.c_int),
        ("loss_scale", c.c_float), ("loss_scale_growth", c.c_float),
        ("loss_scale_backoff", c.c_float), ("loss_scale_window", c.c_int)]


class Training(c.Structure):
    """The first fields of CLLMTraining."""

    _fields_: ClassVar[Fields] = [
        ("model", c.POINTER(Model)), ("config", TrainingConfig), ("tokens", Ids),
        ("num_tokens", c.c_size_t), ("current_epoch", c.c_int), ("current_step", c.c_int),
        ("best_loss", c.c_float), ("current_loss", c.c_float)]
