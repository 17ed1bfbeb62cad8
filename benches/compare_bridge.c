/* What benches/compare_torch.py needs of the library, without knowing its structs. */
#include <cllm.h>
#include <cllm_ext.h>
#include <cllm_inference.h>
#include <cllm_training.h>
#include <cllm_utils.h>
#include <string.h>

CLLMModel *bridge_model(int vocab, int dim, int layers, int heads, int length) {
    CLLMConfig config;
    memset(&config, 0, sizeof config);
    config.vocab_size = (uint32_t)vocab;
    config.embedding_dim = (uint32_t)dim;
    config.num_layers = (uint32_t)layers;
    config.num_heads = (uint32_t)heads;
    config.ff_dim = (uint32_t)(4 * dim);
    config.max_seq_len = (uint32_t)length;
    return cllm_create_model(&config);
}

float *bridge_weights(CLLMModel *model) { return model->weights; }

long bridge_count(CLLMModel *model) { return (long)model->num_weights; }

float *bridge_positions(CLLMModel *model) { return model->pos_encoding.learned_positions; }

CLLMTraining *bridge_training(CLLMModel *model, int batch, int length, float rate, uint32_t *tokens,
                              long count, int precision) {
    CLLMTrainingConfig config;
    memset(&config, 0, sizeof config);
    config.learning_rate = rate;
    config.batch_size = batch;
    config.sequence_length = length;
    config.weight_decay = 0.01f;
    config.gradient_clip = 1.0f;
    config.gradient_accumulation_steps = 1;
    CLLMTraining *training = cllm_training_init(model, &config);
    if (training) {
        training->tokens = tokens;
        training->num_tokens = (size_t)count;
        CLLMTrainingOptions options = {.struct_size = sizeof options, .precision = precision};
        if (cllm_training_set_options(training, &options) != 0) return NULL;
    }
    return training;
}

/* One step from the given batch on; its loss. */
float bridge_step(CLLMTraining *training, int batch, int threads) {
    float loss = -1.0f;
    training->current_batch_offset =
        batch * training->config.batch_size * training->config.sequence_length;
    cllm_train_steps(training, 1, threads, &loss);
    return loss;
}

CLLMInference *bridge_inference(CLLMModel *model, int threads) {
    CLLMInference *inference = cllm_inference_init(model);
    if (inference) cllm_inference_set_threads(inference, threads);
    return inference;
}

/* The logits after the tokens; those of the call before are not computed again. */
float *bridge_forward(CLLMInference *inference, uint32_t *tokens, int count) {
    cllm_forward(inference, tokens, count);
    return inference->logits;
}
