/* Files and folders: read as a whole, written as a whole. */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cllm_ext.h"
#include "terminal.h"

bool is_directory(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

void require_readable(const char *path) {
    if (access(path, R_OK) != 0) {
        fail("can't open '%s': %s", path, strerror(errno));
    }
}

void require_model(const char *path) {
    require_readable(path);
    if (is_directory(path)) {
        fail("'%s' is a folder: name a model in it, such as final_model.cllm", path);
    }
}

void make_directories(const char *path) {
    char *partial = copy_text(path, strlen(path));
    for (char *p = partial + 1;; p++) {
        if (*p == '/' || *p == '\0') {
            char separator = *p;
            *p = '\0';
            if (mkdir(partial, 0777) != 0 && errno != EEXIST && !is_directory(partial)) {
                fail("can't create folder '%s': %s", partial, strerror(errno));
            }
            *p = separator;
            if (separator == '\0') {
                break;
            }
        }
    }
    free(partial);
    if (!is_directory(path)) {
        fail("'%s' is not a folder", path);
    }
}

char *join_path(const char *directory, const char *name) {
    Text path = {0};
    text_append_string(&path, directory);
    if (path.length > 0 && path.bytes[path.length - 1] != '/') {
        text_append(&path, "/", 1);
    }
    text_append_string(&path, name);
    return path.bytes;
}

/* A device or a pipe can't be replaced by a rename. */
static bool is_special(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

static void write_stream(FILE *stream, const char *name, const Text *text) {
    if (fwrite(text->bytes, 1, text->length, stream) != text->length || fflush(stream) != 0) {
        fail("can't write '%s': %s", name, strerror(errno));
    }
}

void write_output(const char *path, const Text *text) {
    if (!path || strcmp(path, "-") == 0) {
        Text clean = {0};
        if (isatty(STDOUT_FILENO)) {
            Cleaner cleaner = {0};
            text_append(&clean, "", 0);
            clean_piece(&cleaner, &clean, text->bytes, text->length, true);
            clean_end(&cleaner, &clean);
        }
        write_stream(stdout, "standard output", clean.bytes ? &clean : text);
        text_free(&clean);
        return;
    }
    if (is_special(path)) {
        FILE *stream = fopen(path, "wb");
        if (!stream) {
            fail("can't write '%s': %s", path, strerror(errno));
        }
        write_stream(stream, path, text);
        fclose(stream);
        return;
    }
    if (cllm_write_file(path, text->bytes, text->length) != 0) {
        fail("can't write '%s': %s", path, library_error());
    }
}

/* A stream that never ends must not take all memory. */
enum { MOST_BYTES = 1 << 30 };

static Text read_all(FILE *stream, const char *name) {
    Text bytes = {0};
    for (size_t got = 1; got > 0;) {
        text_reserve(&bytes, 65536);
        got = fread(bytes.bytes + bytes.length, 1, 65536, stream);
        bytes.length += got;
        if (bytes.length > MOST_BYTES) {
            fail("can't read '%s': more than %d bytes", name, MOST_BYTES);
        }
    }
    if (ferror(stream)) {
        fail("can't read '%s': %s", name, strerror(errno));
    }
    bytes.bytes[bytes.length] = '\0';
    return bytes;
}

Text read_bytes(const char *path) {
    if (strcmp(path, "-") == 0) {
        return read_all(stdin, shown_name(path));
    }
    require_readable(path);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail("can't open '%s': %s", path, strerror(errno));
    }
    Text bytes = read_all(file, path);
    fclose(file);
    return bytes;
}

Text read_input(const char *path) {
    Text bytes = read_bytes(path);
    Text text = {.bytes = cllm_decode_text(bytes.bytes, bytes.length)};
    if (!text.bytes) {
        fail("can't read '%s': %s", shown_name(path), library_error());
    }
    text_free(&bytes);
    text.length = strlen(text.bytes);
    text.capacity = text.length + 1;
    return text;
}

const char *input_name(const char *path) {
    return strcmp(path, "-") == 0 ? "/dev/stdin" : path;
}

const char *shown_name(const char *path) {
    return strcmp(path, "-") == 0 ? "standard input" : path;
}
