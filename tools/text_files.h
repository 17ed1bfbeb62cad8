/* The texts in folders, and what is left out of them. */
#ifndef CLLM_TOOLS_TEXT_FILES_H
#define CLLM_TOOLS_TEXT_FILES_H

#include "common.h"

typedef struct Paths {
    char **values;
    size_t count, capacity;
} Paths;

void add_path(Paths *paths, const char *path);
void free_paths(Paths *paths);

/* What was left out of the texts, and why: a line each of the first few, then their number. What could
 * not be read is counted by itself, so that its lines are not lost among the others. */
typedef struct LeftOut {
    size_t by_rule, unreadable;
} LeftOut;

/* `reason`: as cllm_text_files() gives it; of a rule it begins with "is ". */
void leave_out(LeftOut *left_out, const char *path, const char *reason);
void finish_left_out(const LeftOut *left_out);

/* Adds the text files of a folder in the order of their paths, and says what is left out: see
 * cllm_text_files(). `wanted` may refuse more of them; NULL: none. */
void find_text_files(const char *folder, bool (*wanted)(const char *folder, const char *path),
                     Paths *paths, LeftOut *left_out);

#endif
