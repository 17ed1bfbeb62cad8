#include "text_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cllm_ext.h"

void add_path(Paths *paths, const char *path) {
    if (paths->count == paths->capacity) {
        paths->capacity = paths->capacity ? paths->capacity * 2 : 64;
        paths->values = checked_resize(paths->values, paths->capacity, sizeof *paths->values);
    }
    paths->values[paths->count++] = copy_text(path, strlen(path));
}

void free_paths(Paths *paths) {
    for (size_t i = 0; i < paths->count; i++) {
        free(paths->values[i]);
    }
    free(paths->values);
    *paths = (Paths){0};
}

enum { LINES = 8 }; /* of those that are named */

void leave_out(LeftOut *left_out, const char *path, const char *reason) {
    bool by_rule = strncmp(reason, "is ", 3) == 0;
    size_t *count = by_rule ? &left_out->by_rule : &left_out->unreadable;
    if ((*count)++ < LINES) {
        warn("warning: %s: '%s': %s", by_rule ? "left out" : "can't read", path, reason);
    }
}

void finish_left_out(const LeftOut *left_out) {
    if (left_out->by_rule > LINES) {
        warn("warning: left out: %zu files and folders in all", left_out->by_rule);
    }
    if (left_out->unreadable > LINES) {
        warn("warning: can't read: %zu files and folders in all", left_out->unreadable);
    }
}

/* Whether what this program prints is to become its own text. */
static bool is_own_output(const char *path) {
    struct stat file, stream;
    bool found = false;
    for (int d = STDOUT_FILENO; d <= STDERR_FILENO && stat(path, &file) == 0; d++) {
        found |= fstat(d, &stream) == 0 && S_ISREG(stream.st_mode) &&
                 stream.st_dev == file.st_dev && stream.st_ino == file.st_ino;
    }
    return found;
}

typedef struct Search {
    const char *folder;
    bool (*wanted)(const char *folder, const char *path);
    Paths *paths;
    LeftOut *left_out;
} Search;

static bool on_file(const char *path, const char *reason, void *user_data) {
    Search *search = user_data;
    if (search->wanted && !search->wanted(search->folder, path)) {
        return true;
    }
    if (!reason && is_own_output(path)) {
        reason = "is where this program prints";
    }
    if (reason) {
        leave_out(search->left_out, path, reason);
    } else {
        add_path(search->paths, path);
    }
    return true;
}

void find_text_files(const char *folder, bool (*wanted)(const char *folder, const char *path),
                     Paths *paths, LeftOut *left_out) {
    Search search = {folder, wanted, paths, left_out};
    if (cllm_text_files(folder, on_file, &search) != 0) {
        fail("can't read folder '%s': %s", folder, library_error());
    }
}
