"""What the hostile sweep knows of the API beyond what the headers say (interface.py)."""

# Valid numbers by parameter name; NUMBERS_OF overrides them for one function.
NUMBERS = {
    "max_tokens": 8, "num_tokens": 4, "max_length": 64, "max_output_length": 64,
    "max_output": 64, "position": 1, "token_id": 3, "dim": 8, "embedding_dim": 8,
    "input_dim": 8, "hidden_dim": 16, "output_dim": 8, "num_heads": 2, "head_dim": 4,
    "seq_len": 4, "seq_length": 4, "batch_size": 2, "layer_idx": 0, "prime": 7, "k": 2,
    "symmetry_group": 3, "num_features": 8, "vocab_size": 16, "top_k": 5, "num_points": 4,
    "num_threads": 2, "thread_count": 2, "count": 2, "sphere_id": 0, "num_iterations": 2,
    "duration_seconds": 0, "num_epochs": 1, "patience": 3, "capacity": 4, "steps": 2,
    "threads": 1, "size": 16, "n": 4, "m": 4, "p": 4, "shuffle": 0, "drop_last": 0,
    "num_gradients": 16, "num_parameters": 16, "max_vocab_size": 32, "ff_dim": 16, "num_layers": 2,
    "num_decay_steps": 2, "weight_idx": 1, "target": 3, "warmup_steps": 2, "total_steps": 9,
    "learning_rate": 0.01, "length": 4, "stride": 2, "pooling": 0, "num_words": 3,
    "bytes": 1000000, "seconds": 60, "speed": 1e11, "done": 10, "elapsed": 1, "planned": 10,
    "seconds_left": 1, "precision": 1,
}
NUMBERS_OF = {
    ("cllm_recipe", "bytes"): 100000,
    ("cllm_recipe", "seconds"): 60.0,
    ("cllm_recipe", "speed"): 1e10,
    ("cllm_embedding_backward", "batch_size"): 4,
    ("cllm_backward", "num_tokens"): 8,
    ("cllm_compute_loss", "num_tokens"): 8,
    ("cllm_batch_iterator_create", "num_tokens"): 64,
    ("cllm_create_batch_from_tokens", "num_tokens"): 64,
    ("cllm_evaluate", "num_tokens"): 64,
    ("cllm_generate_lattice_transform", "dim"): 8,
    ("cllm_sample_top_p", "p"): 0.5,
    ("cllm_create_config", "vocab_size"): 16,
    ("cllm_train_tokenizer", "vocab_size"): 262,
    ("cllm_train_tokenizer_files", "vocab_size"): 262,
    ("cllm_texts_train_tokenizer", "vocab_size"): 262,
    ("cllm_texts_train_tokenizer", "from"): 0, ("cllm_texts_train_tokenizer", "to"): 60,
    ("cllm_texts_encode", "from"): 0, ("cllm_texts_encode", "to"): 60,
    ("cllm_texts_words", "from"): 0, ("cllm_texts_words", "to"): 60,
    ("cllm_texts_count_words", "from"): 0, ("cllm_texts_count_words", "to"): 60,
    ("cllm_evaluate_file", "num_tokens"): 10, ("cllm_training_evaluate_file", "num_tokens"): 10,
    ("cllm_train_tokenizer_files", "num_paths"): 1,
}

# Numbers that say how long an array of the program's is: the library can't know better, so too
# large ones are left out (and listed), unless the array's size in bytes could not exist at all.
SIZES = {
    "dim", "seq_len", "num_tokens", "size", "n", "m", "p", "vocab_size", "batch_size",
    "num_points", "num_gradients", "embedding_dim", "seq_length", "num_decay_steps",
    "length", "num_parameters",
}
# ... except where the function does not read or write that much.
NOT_SIZES = {
    ("cllm_backward", "num_tokens"): "only the first batch is read",
    ("cllm_validate_training_batch", "vocab_size"): "a bound of ids",
    ("cllm_sample_top_p", "p"): "a probability",
    ("cllm_train_tokenizer", "vocab_size"): "tokens to reach",
    ("cllm_train_tokenizer_files", "vocab_size"): "tokens to reach",
    ("cllm_batch_iterator_create", "batch_size"): "the shape of what is made",
    ("cllm_batch_iterator_create", "seq_len"): "the shape of what is made",
    ("cllm_create_batch_from_tokens", "batch_size"): "the shape of what is made",
    ("cllm_create_batch_from_tokens", "seq_len"): "the shape of what is made",
    ("cllm_evaluate", "seq_len"): "a window, cut to the text",
    ("cllm_evaluate_file", "seq_len"): "a window, cut to the text",
    ("cllm_evaluate_file", "num_tokens"): "cut to the file",
    ("cllm_training_evaluate_file", "num_tokens"): "cut to the file",
    ("cllm_token_file_mix", "length"): "cut to the file",
    ("cllm_evaluate_bytes", "seq_len"): "a window, cut to the text",
    ("cllm_benchmark_inference_batch", "batch_size"): "every row reads the same ids",
}
# Sizes without an array: work is proportional to them, and a run may take half a minute.
LONG_WORK = {
    ("cllm_benchmark_inference_batch", "batch_size"): "asks for that much work",
}

# Functions that release their first argument.
RELEASES = {
    "cllm_free": "model", "cllm_free_model": "model", "cllm_inference_cleanup": "inference",
    "cllm_training_free": "training", "cllm_training_cleanup": "training",
    "cllm_free_tokenizer": "tokenizer", "cllm_data_loader_free": "loader",
    "cllm_texts_free": "texts", "cllm_token_file_free": "token_file",
    "cllm_token_dataset_free": "dataset", "cllm_batch_free": "batch",
    "cllm_batch_iterator_free": "iterator", "threaded_training_free": "system",
    "hierarchical_training_free": "hierarchy", "cllm_metrics_free": "live_metrics",
    "free_validation_set": "validation", "free_training_metrics": "metrics",
    "cllm_free_config": "config", "optimizer_free": "optimizer",
}

# What they return is still somebody else's.
BORROWED = {
    "threaded_training_get_metrics", "model_manager_acquire_read", "model_manager_acquire_write",
    "model_manager_get_first",
}

# Functions whose purpose is printing.
PRINTS = {
    "cllm_print_vocab_stats", "cllm_data_loader_print_stats", "cllm_print_lr_schedule",
    "cllm_print_model_info", "cllm_print_memory_stats", "cllm_run_benchmark_suite",
    "cllm_profile_memory", "cllm_batch_print_stats", "threaded_training_print_stats",
    "cllm_print_config", "cllm_print_model_stats", "cllm_metrics_print",
    "optimizer_print_state",
}

# Sizes of 0 (and of less) that are no failure: nothing to do, and a result.
EMPTY_IS_FINE = {
    ("cllm_check_numerical_stability", "size"), ("cllm_validate_training_batch", "batch_size"),
    ("cllm_validate_training_batch", "seq_length"), ("simd_matrix_vector_multiply", "n"),
    ("simd_matrix_multiply", "n"), ("simd_matrix_multiply_transposed", "n"),
    ("cllm_get_learning_rate_step_decay", "num_decay_steps"),
    ("cllm_detokenize", "num_tokens"), ("cllm_detokenize_with_vocab", "num_tokens"),
    ("cllm_tokenizer_decode", "num_tokens"), ("cllm_decode_text", "length"),
    ("cllm_text_to_tokens", "length"), ("cllm_train_tokenizer", "length"),
    ("cllm_token_file_read", "num_tokens"),
    ("cllm_tokens_to_text", "num_tokens"),
    ("cllm_write_file", "size"), ("cllm_set_allowed_tokens", "num_tokens"),
    ("cllm_write_file", "size"), ("optimizer_compute_gradient_norm", "num_parameters"),
    ("optimizer_compute_parameter_norm", "num_parameters"),
}

# `const char*` that are bytes with a length beside them: no NUL ends them.
BYTES = {("cllm_train_tokenizer", "text"), ("cllm_text_to_tokens", "text"),
         ("cllm_decode_text", "bytes"), ("cllm_score_text", "text"), ("cllm_embed_text", "text")}

# Numbers with which a function does nothing, without an error.
QUIET = {"max_norm", "clip_value"}

# Further numbers that must be refused: function, parameter, values.
REFUSED = {
    ("cllm_train_tokenizer", "vocab_size"): ["0", "1", "0x80000000u", "(uint32_t)INT_MAX", "UINT32_MAX"],
    ("cllm_train_tokenizer_files", "vocab_size"): ["0", "1", "0x80000000u", "UINT32_MAX"],
    ("cllm_train_tokenizer_files", "num_paths"): ["0"],
    ("cllm_texts_train_tokenizer", "vocab_size"): ["0", "1", "0x80000000u", "UINT32_MAX"],
    ("cllm_texts_encode", "threads"): ["-1", "INT_MIN"],
    ("cllm_texts_words", "threads"): ["-1", "INT_MIN"],
    ("cllm_texts_count_words", "threads"): ["-1", "INT_MIN"],
    ("cllm_token_file_mix", "share"): ["-1.0", "DBL_MAX", "(double)NAN"],
    ("cllm_token_file_mix", "length"): ["0", "-1", "INT_MIN"],
    ("cllm_evaluate_file", "seq_len"): ["0", "-1", "INT_MIN"],
    ("cllm_evaluate_file", "num_tokens"): ["0", "1"],
    ("cllm_text_to_tokens", "threads"): ["-1", "INT_MIN"],
    ("cllm_model_tokenizer", "max_vocab_size"): ["0x80000000u", "UINT32_MAX"],
    ("cllm_batch_create", "batch_size"): ["0"], ("cllm_batch_create", "seq_len"): ["0"],
    ("cllm_batch_iterator_create", "batch_size"): ["0"],
    ("cllm_batch_iterator_create", "seq_len"): ["0"],
    ("cllm_create_batch_from_tokens", "batch_size"): ["0"],
    ("cllm_create_batch_from_tokens", "seq_len"): ["0"],
    ("create_validation_set", "batch_size"): ["0", "-1", "INT_MIN"],
    ("create_validation_set", "seq_len"): ["0", "-1", "INT_MIN"],
    ("create_training_metrics", "capacity"): ["-1", "INT_MIN"],
    ("cllm_train_epoch_mt", "num_threads"): ["-1", "INT_MIN"],
    ("threaded_training_get_sphere_stats", "sphere_id"): ["-1", "INT_MIN", "INT_MAX"],
    ("hierarchical_training_create", "num_threads"): ["0", "-1", "INT_MIN"],
    ("cllm_metrics_get_worker_threads", "max_workers"): ["-1", "INT_MIN"],
    ("cllm_gradient_check_weight", "weight_idx"): ["SIZE_MAX"],
    ("cllm_profile_memory", "duration_seconds"): ["INT_MAX"],
    ("cllm_tokenize", "max_tokens"): ["0", "-1", "INT_MIN"],
    ("cllm_tokenize_with_vocab", "max_tokens"): ["0", "-1", "INT_MIN"],
    ("cllm_generate", "max_output_length"): ["0", "-1", "INT_MIN"],
    ("cllm_detokenize", "max_length"): ["0", "-1", "INT_MIN"],
    ("cllm_multi_head_attention", "layer_idx"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_transformer_layer_backward", "layer_idx"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_apply_symmetry_transform", "symmetry_group"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_apply_inverse_symmetry_transform", "symmetry_group"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_apply_positional_encoding", "position"): ["-1", "INT_MIN"],
    ("cllm_apply_positional_encoding_complete", "position"): ["-1", "INT_MIN"],
    ("cllm_compute_top_k_accuracy", "k"): ["0", "-1", "INT_MIN"],
    ("cllm_benchmark_inference_single", "num_iterations"): ["0", "-1", "INT_MIN", "INT_MAX"],
    ("cllm_benchmark_inference_batch", "num_iterations"): ["0", "-1", "INT_MIN", "INT_MAX"],
    ("cllm_benchmark_forward_pass", "num_iterations"): ["0", "-1", "INT_MIN", "INT_MAX"],
    ("cllm_benchmark_training_step", "num_iterations"): ["0", "-1", "INT_MIN", "INT_MAX"],
    ("cllm_score_tokens", "stride"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_dynamic_evaluation", "stride"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_dynamic_evaluation", "learning_rate"): ["NAN", "-1.0f", "INFINITY"],
    ("cllm_score_text", "stride"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_next_tokens", "count"): ["0", "-1", "INT_MIN"],
    ("cllm_next_words", "num_words"): ["0", "-1", "INT_MIN", "INT_MAX"],
    ("cllm_embed_tokens", "pooling"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_embed_text", "pooling"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_precision_support", "precision"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_measure_speed_in", "precision"): ["-1", "INT_MIN", "INT_MAX"],
    ("cllm_set_repetition_penalty", "penalty"): ["NAN", "-1.0f"],
    ("cllm_set_min_p", "min_p"): ["NAN", "-1.0f", "INFINITY"],
    ("cllm_apply_gradient_clipping", "max_norm"): ["0.0f", "-1.0f", "NAN"],
    ("cllm_clip_gradients_by_value", "clip_value"): ["0.0f", "-1.0f", "NAN"],
    ("cllm_nearest_prime", "n"): ["UINT64_MAX"],
    ("optimizer_create", "num_parameters"): ["0", "SIZE_MAX / 4 + 1", "SIZE_MAX"],
    ("optimizer_set_learning_rate", "learning_rate"): ["0.0f", "-1.0f", "NAN", "INFINITY"],
    ("optimizer_clip_gradients_by_value", "clip_value"): ["0.0f", "-1.0f", "NAN"],
    ("optimizer_clip_gradients_by_norm", "max_norm"): ["0.0f", "-1.0f", "NAN"],
    ("cllm_lattice_aware_init", "scale"): ["NAN", "INFINITY", "-INFINITY"],
    ("cllm_compute_loss_crystalline", "num_tokens"): ["0", "-1", "INT_MIN"],
    ("crystalline_sort_by_locality", "num_tokens"): ["-1", "INT_MIN"],
}

# The file that a function's parameters name, or one of them, in the folder of the sweep.
FILES = {
    "cllm_read_model": "model.cllm", "cllm_map_model": "model.cllm", "cllm_read_checkpoint": "model.cllm",
    "cllm_validate": "model.cllm", "cllm_read_model_unchecked": "model.cllm",
    "cllm_describe_file": "model.cllm",
    "cllm_write_model": "out.cllm", "cllm_write_best_model": "out.cllm", "cllm_write_checkpoint": "out.cllm",
    "cllm_save_vocab": "out.txt", "cllm_load_vocab": "vocab.txt",
    "cllm_model_load_vocab": "vocab.txt", "cllm_read_vocab": "vocab.txt",
    "cllm_data_loader_load_file": "text.txt",
    "cllm_data_loader_load_directory": "texts", "cllm_token_dataset_save": "out.bin",
    "cllm_token_dataset_load": "dataset.bin", "cllm_load_training_data": "text.txt",
    "cllm_save_checkpoint": "out.ckpt", "cllm_load_checkpoint": "training.ckpt",
    "save_checkpoint": "out.pckpt", "load_checkpoint": "training.pckpt",
    "cllm_generate_performance_report": "out.md",
    "cllm_build_vocabulary_from_file": "text.txt", "create_validation_set": "text.txt",
    "save_metrics_csv": "out.csv", "cllm_inference_save_state": "out.state",
    "cllm_inference_load_state": "context.state", "cllm_plot_metrics": "metrics.csv",
    ("cllm_plot_metrics", "svg_path"): "out.svg",
    "cllm_write_file": "out.txt", "cllm_text_files": "texts", "cllm_texts_create": "texts",
    "cllm_texts_add": "text.txt", "cllm_texts_encode": "out.bin", "cllm_token_file_open": "dataset.bin",
    "cllm_token_file_mix": "out.bin",
    "cllm_read_tokenizer": "tokenizer.json", "cllm_write_tokenizer": "out.json",
    ("cllm_read_tokenizer_gpt2", "vocab_path"): "vocab.json",
    ("cllm_read_tokenizer_gpt2", "merges_path"): "merges.txt",
    ("cllm_write_tokenizer_gpt2", "vocab_path"): "out.json",
    ("cllm_write_tokenizer_gpt2", "merges_path"): "out.txt",
    "model_manager_init": "models", ("model_manager_load", "path"): "model.cllm",
    ("model_manager_load", "name"): "new", ("model_manager_create", "name"): "new",
}

# Pointer and number fields of the public structs: each is set to NULL or to hostile numbers in
# turn, on a good object, for every function that takes it. Sizes only get 0: a larger one would
# be a lie about the program's own memory.
SHARED = {
    "CLLMModel": {
        "pointers": [
            "tokens", "weights", "embeddings.embeddings", "embeddings.lattice_transform",
            "attention_layers", "ff_layers", "layer_norms", "pos_encoding.spiral_positions",
            "pos_encoding.clock_positions", "pos_encoding.prime_positions",
            "pos_encoding.learned_positions", "attention_layers[1].query_lattice",
            "attention_layers[0].value_lattice", "ff_layers[0].w1_lattice",
            "ff_layers[1].w2_lattice", "ff_layers[0].bias1", "ff_layers[0].bias2",
            "layer_norms[0].gamma", "layer_norms[1].beta",
        ],
        "sizes": [
            "vocab_size", "embedding_dim", "num_layers", "num_weights",
            "embeddings.vocab_size", "embeddings.embedding_dim", "pos_encoding.max_length",
            "pos_encoding.embedding_dim", "attention_layers[0].num_heads",
            "attention_layers[0].head_dim", "ff_layers[0].hidden_dim",
            "ff_layers[0].input_dim", "ff_layers[0].output_dim", "layer_norms[0].dim",
            "header.num_heads", "header.vocab_size", "header.embedding_dim",
        ],
        "huge": ["header.num_heads", "header.total_params", "header.num_layers",
                 "header.context_length", "num_lattice_points", "layer_norms[0].layer_id",
                 "attention_layers[0].num_heads", "attention_layers[0].head_dim"],
        "floats": ["layer_norms[0].epsilon", "embeddings.embeddings[3]",
                   "ff_layers[0].w1_lattice[2]", "training_meta.loss"],
    },
    "CLLMInference": {
        "pointers": ["model", "hidden_states", "logits"],
        "ints": ["top_k", "max_tokens", "kv_cache_size", "kv_cache_used"],
        "floats": ["temperature", "top_p", "repetition_penalty"],
    },
    "CLLMTraining": {
        "pointers": [
            "model", "tokens", "gradients", "optimizer_state", "attention_grads", "ff_grads",
            "ln_grads", "backward_embeddings", "backward_grad_output", "input_embeddings",
            "layer_inputs", "attention_outputs", "ff_outputs", "layer_outputs", "ff_hidden",
            "final_hidden", "logits", "attention_cache", "cached_input_embeddings",
            "cached_target_embeddings", "layer_inputs[1]", "ff_hidden[0]",
            "attention_grads[0].query_lattice", "ff_grads[1].bias1", "ln_grads[0].gamma",
            "attention_cache[0].scores", "attention_cache[1].keys",
        ],
        "sizes": ["num_tokens", "config.batch_size", "config.sequence_length",
                  "cached_batch_size", "cached_seq_len"],
        "ints": ["current_step", "current_epoch", "current_batch_offset", "accumulation_step",
                 "total_batches", "config.max_steps", "config.warmup_steps",
                 "config.save_every", "config.gradient_accumulation_steps",
                 "config.lr_decay_steps", "loss_scale_steps", "store_attention_weights",
                 "config.batch_size", "config.sequence_length"],
        "floats": ["config.learning_rate", "config.initial_learning_rate", "config.min_lr",
                   "config.weight_decay", "config.gradient_clip", "config.lr_decay_factor",
                   "current_loss_scale", "best_loss", "current_loss"],
    },
    "CLLMTrainingConfig": {
        "ints": ["batch_size", "sequence_length", "num_epochs", "gradient_accumulation_steps",
                 "use_mixed_precision"],
        "floats": ["learning_rate", "min_lr", "loss_scale"],
    },
    "CLLMConfig": {
        "huge": ["vocab_size", "embedding_dim", "num_layers", "num_heads", "ff_dim",
                 "max_seq_len"],
        "sizes": ["vocab_size", "embedding_dim", "num_layers", "num_heads", "ff_dim",
                  "max_seq_len"],
        "floats": ["dropout"],
    },
    "CLLMTokenizer": {
        "pointers": ["vocab", "token_counts", "vocab[5]", "vocab[1]"],
        "sizes": ["vocab_size", "max_vocab_size"],
    },
    "CLLMDataLoader": {
        "pointers": ["tokenizer", "documents", "documents[0]"],
        "sizes": ["num_documents", "capacity"],
        "huge": ["total_chars", "total_tokens", "total_lines"],
        "ints": ["min_token_length", "max_token_length", "lowercase", "remove_punctuation",
                 "remove_numbers"],
    },
    "TokenDataset": {"pointers": ["tokens"], "sizes": ["num_tokens", "capacity"]},
    "CLLMBatch": {
        "pointers": ["input_ids", "target_ids", "attention_mask"],
        "sizes": ["batch_size", "seq_len", "num_valid_tokens"],
        "huge": ["num_valid_tokens"],
        "floats": ["attention_mask[1]"],
    },
    "AttentionLayer": {
        "pointers": ["query_lattice", "key_lattice", "value_lattice"],
        "sizes": ["num_heads", "head_dim"],
    },
    "FeedForwardLayer": {
        "pointers": ["w1_lattice", "w2_lattice", "bias1", "bias2"],
        "sizes": ["input_dim", "hidden_dim", "output_dim"],
    },
    "CLLMLayerNorm": {"pointers": ["gamma", "beta"], "sizes": ["dim"], "floats": ["epsilon"]},
    "PositionalEncoding": {
        "pointers": ["spiral_positions", "clock_positions", "prime_positions",
                     "learned_positions"],
        "sizes": ["max_length", "embedding_dim"],
    },
    "Embeddings": {"pointers": ["embeddings"], "sizes": ["vocab_size", "embedding_dim"]},
    "CLLMMetrics": {
        "ints": ["num_threads", "control_thread_id", "threads[3].thread_id", "training.current_step"],
        "huge": ["threads[3].state", "threads[3].role"],
        "floats": ["training.best_loss", "training.tokens_per_second"],
    },
    "OptimizerState": {
        "pointers": ["parameters", "gradients", "momentum_buffer", "variance_buffer",
                     "max_variance_buffer"],
        "sizes": ["num_parameters"],
        "ints": ["step", "config.warmup_steps", "config.total_steps", "config.decay_steps",
                 "config.cycle_steps", "config.type", "config.scheduler"],
        "floats": ["current_lr", "config.learning_rate", "config.min_lr", "config.beta1",
                   "config.beta2", "config.epsilon", "config.weight_decay", "config.clip_value",
                   "config.clip_norm"],
    },
    "OptimizerConfig": {
        "ints": ["type", "scheduler", "warmup_steps", "total_steps", "decay_steps"],
        "floats": ["learning_rate", "min_lr", "max_lr", "momentum", "beta1", "beta2", "epsilon",
                   "weight_decay", "clip_value", "clip_norm", "decay_rate"],
    },
    "CompleteTrainingConfig": {
        "pointers": ["val_data_path", "checkpoint_dir", "metrics_path"],
        "ints": ["batch_size", "sequence_length", "num_threads", "lll_target_dim",
                 "warmup_epochs", "val_interval", "early_stop_patience",
                 "checkpoint_interval"],
        "floats": ["learning_rate", "grad_clip_norm"],
    },
}
