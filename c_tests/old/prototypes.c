/* Declares by itself what no header of the original declared, in the original's words. */
#include "../../include/cllm.h"
#include "../../include/cllm_utils.h"
#include <stdio.h>

extern int cllm_validate_config(CLLMConfig* config);
extern void cllm_print_config(CLLMConfig* config);
extern uint64_t cllm_get_parameter_count(CLLMModel* model);
extern uint64_t cllm_get_memory_usage(CLLMModel* model);
extern void cllm_print_model_stats(CLLMModel* model);
extern int cllm_check_model_health(CLLMModel* model);
extern int cllm_compare_configs(CLLMConfig* a, CLLMConfig* b);

int main(void) {
    CLLMConfig config = {1000, 64, 2, 4, 256, 512, 0.1f};
    CLLMConfig other = config;
    printf("valid: %d\n", cllm_validate_config(&config));
    other.num_heads = 5;
    printf("valid: %d, equal: %d\n", cllm_validate_config(&other), cllm_compare_configs(&config, &other));
    cllm_print_config(&config);
    CLLMModel *model = cllm_create_model(&config);
    printf("health: %d\n", cllm_check_model_health(model));
    cllm_print_model_stats(model);
    printf("%lu parameters in %lu bytes\n", (unsigned long)cllm_get_parameter_count(model),
           (unsigned long)cllm_get_memory_usage(model));
    cllm_free_model(model);
    return 0;
}
