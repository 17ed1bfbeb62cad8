/* Finds what is unusual in a log: prints the ten lines that a model expects least, strangest first.
 *
 *     cc strange_lines.c $(pkg-config --cflags --libs cllm) -o strange_lines
 *     ./strange_lines model.cllm today.log
 */
#include <stdio.h>
#include <string.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"

enum { STRANGEST = 10 };

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: %s MODEL LOG\n", argv[0]), 2;
    CLLMModel *model = cllm_read_model(argv[1]);
    CLLMInference *inference = cllm_inference_init(model);
    FILE *log = fopen(argv[2], "r");
    if (!log) perror(argv[2]);
    if (!inference || !log) return 1;

    /* One place more than is printed: the line that falls out. */
    static struct { double bits; char text[1024]; } top[STRANGEST + 1], line;
    int count = 0;
    while (fgets(line.text, sizeof line.text, log)) {
        CLLMScore score = {.struct_size = sizeof score};
        line.text[strcspn(line.text, "\n")] = '\0';
        if (line.text[strspn(line.text, " \t\r")] == '\0') continue;
        if (cllm_score_text(inference, line.text, strlen(line.text), 0, &score) != 0) continue;
        line.bits = score.bits_per_byte;
        int at = count < STRANGEST ? count++ : STRANGEST;
        for (; at > 0 && top[at - 1].bits < line.bits; at--) top[at] = top[at - 1];
        top[at] = line;
    }
    for (int i = 0; i < count; i++) printf("%6.3f  %s\n", top[i].bits, top[i].text);
    fclose(log);
    cllm_inference_cleanup(inference);
    cllm_free(model);
}
