/* Texts of any length, read in pieces and never held in memory, and what a phase of that shows while it
 * goes on. */
#ifndef CLLM_TOOLS_READ_TEXTS_H
#define CLLM_TOOLS_READ_TEXTS_H

#include "terminal.h"

#include "cllm_ext.h"

typedef struct Phase {
    const char *name;
    double began;
    uint64_t before; /* bytes of the phase that came before this call of the library */
    uint64_t all; /* bytes; 0: not known */
    uint32_t first; /* of a phase of tokens: how many there were at its beginning; 0: of bytes */
    ProgressBar bar;
    bool (*is_stopped)(void); /* asked again and again; NULL: nothing stops it */
} Phase;

Phase begin_phase(const char *name, ProgressBar bar, bool (*is_stopped)(void));
/* Clears the bar; where the phase spoke in lines, says how long it took. */
void end_phase(Phase *phase);
/* The callback of the library's functions that read texts, with a Phase. */
bool on_bytes(uint64_t bytes, uint64_t all, void *phase);

/* No texts yet. `scratch`: a folder for a copy of what can be read only once. */
CLLMTexts *create_texts(const char *scratch);
/* Adds the text in a file, or in stdin for "-": false where the library can't, or the phase was stopped. */
bool add_text(CLLMTexts *texts, const char *path, Phase *phase);
/* Bytes of a file; 0 for a pipe or a device, and where that is not known. */
uint64_t bytes_of(const char *path);

/* Learns subwords from a range of the bytes; NULL as cllm_texts_train_tokenizer(). */
CLLMTokenizer *learn_from_texts(const CLLMTexts *texts, uint64_t from, uint64_t to, uint32_t size, Phase *phase);

#endif
