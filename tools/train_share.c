/* What the first rank made of the text, on the other ranks of train_model_mpi: they never read the text
 * themselves, so that it can be no other. */
#include "train_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 20 };

/* What tells a file of ids from others: its size, and what stands behind its ids, which has a checksum of
 * them; of a file without such a record all bytes. */
typedef struct Mark {
    uint64_t size, hash;
} Mark;

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const unsigned char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* Why less than was asked for was read. */
static const char *why_short(FILE *file) {
    return ferror(file) ? strerror(errno) : "it was cut";
}

/* NULL, or why the file can't be read. */
static const char *mark_of(const char *path, Mark *mark) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        return strerror(errno);
    }
    uint64_t count = 0, hash = UINT64_C(0xcbf29ce484222325);
    bool whole = fread(&count, sizeof count, 1, file) == 1;
    off_t size = whole && fseeko(file, 0, SEEK_END) == 0 ? ftello(file) : -1;
    whole = size >= 8 && count <= ((uint64_t)size - 8) / 4;
    uint64_t ids_end = whole ? 8 + 4 * count : 0;
    bool recorded = ids_end < (uint64_t)size;
    whole = whole && fseeko(file, recorded ? (off_t)ids_end : 0, SEEK_SET) == 0;
    unsigned char *block = checked_alloc(BLOCK_BYTES, 1);
    for (size_t got = 1; whole && got > 0;) {
        got = fread(block, 1, BLOCK_BYTES, file);
        hash = hash_bytes(hash, block, got);
    }
    const char *problem = whole && !ferror(file) ? NULL : why_short(file);
    free(block);
    fclose(file);
    *mark = (Mark){.size = (uint64_t)size, .hash = hash};
    return problem;
}

/* ---- Files ---- */

/* Sends a file of the first rank to another one. */
static void send_file(const char *path, uint64_t size, int to) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail("can't read '%s': %s", path, strerror(errno));
    }
    char *block = checked_alloc(BLOCK_BYTES, 1);
    for (uint64_t left = size; left > 0;) {
        size_t part = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
        if (fread(block, 1, part, file) != part) {
            fail("can't read '%s': %s", path, why_short(file));
        }
        pass_bytes(to, 0, block, part);
        left -= part;
    }
    fclose(file);
    free(block);
}

/* A file of a rank that is not the first, which ends with the program, however that ends. */
typedef struct Nameless {
    FILE *file;
    char path[32]; /* which opens it as long as `file` is */
} Nameless;

static Nameless make_nameless(const Preparation *preparation) {
    char *path = join_path(preparation->scratch, ".cllm-XXXXXX");
    int descriptor = mkstemp(path); /* nobody else's: the folder may be one for all, such as /tmp */
    bool nameless = descriptor >= 0 && unlink(path) == 0;
    Nameless made = {.file = nameless ? fdopen(descriptor, "w+b") : NULL};
    if (!made.file) {
        fail("can't create a file in '%s': %s", preparation->scratch, strerror(errno));
    }
    snprintf(made.path, sizeof made.path, "/dev/fd/%d", descriptor);
    free(path);
    return made;
}

static Nameless receive_file(const Preparation *preparation, uint64_t size, int me) {
    Nameless copy = make_nameless(preparation);
    char *block = checked_alloc(BLOCK_BYTES, 1);
    bool whole = true;
    for (uint64_t left = size; whole && left > 0;) {
        size_t part = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
        pass_bytes(me, 0, block, part);
        whole = fwrite(block, 1, part, copy.file) == part;
        left -= part;
    }
    if (!whole || fflush(copy.file) != 0) {
        fail("can't write in '%s' a copy of the first rank's: %s", preparation->scratch, strerror(errno));
    }
    free(block);
    return copy;
}

/* The first rank's file of ids: itself where this rank sees it, else a copy that nobody else sees. */
static CLLMTokenFile *share_file(const Preparation *preparation, const NewFile *made, CLLMTokenFile *file) {
    char *path = first_rank() ? realpath(made->made, NULL) : NULL;
    if (first_rank() && !path) {
        fail("can't find '%s': %s", made->made, strerror(errno));
    }
    Mark first = {0}, here = {0};
    const char *problem = first_rank() ? mark_of(path, &first) : NULL;
    if (problem) {
        fail("can't read '%s': %s", path, problem);
    }
    path = text_of_first(path);
    take_from_first(&first, sizeof first);
    bool mine = first_rank();
    Nameless copy = {0};
    if (!mine) {
        mine = !mark_of(path, &here) && here.size == first.size && here.hash == first.hash;
    }
    bool *has = checked_alloc((size_t)rank_count(), sizeof *has);
    tell_who_has(mine, has);
    for (int rank = 1; rank < rank_count(); rank++) {
        if (has[rank]) {
            continue;
        }
        if (first_rank()) {
            send_file(path, first.size, rank);
        } else if (rank == rank_number()) {
            copy = receive_file(preparation, first.size, rank);
            if (mark_of(copy.path, &here) || here.size != first.size || here.hash != first.hash) {
                fail("the copy of the first rank's '%s' is damaged", path);
            }
        }
    }
    if (!first_rank()) {
        file = open_token_file(copy.file ? copy.path : path);
    }
    if (copy.file) {
        fclose(copy.file);
    }
    free(has);
    free(path);
    return file;
}

/* ---- The tokenizer ---- */

static char *text_of(CLLMTokenizer *tokenizer, Preparation *preparation) {
    const NewFile *file = new_file(preparation, "tokenizer.shared");
    bool written = has_subwords(tokenizer) ? cllm_write_tokenizer(tokenizer, file->made) == 0
                                           : cllm_save_vocab(tokenizer, file->made);
    if (!written) {
        fail("can't write '%s': %s", file->made, library_error());
    }
    Text text = read_input(file->made);
    drop_file(file);
    return text.bytes;
}

static CLLMTokenizer *tokenizer_of(const char *text, const Preparation *preparation) {
    Nameless copy = make_nameless(preparation);
    if (fputs(text, copy.file) < 0 || fflush(copy.file) != 0) {
        fail("can't write in '%s' a copy of the first rank's: %s", preparation->scratch, strerror(errno));
    }
    CLLMTokenizer *tokenizer = load_tokenizer(copy.path);
    fclose(copy.file);
    return tokenizer;
}

Data share_data(Options *options, CLLMTokenizer *given, Preparation *preparation, Data data) {
    if (rank_count() == 1) {
        return data;
    }
    if (!first_rank()) {
        settle_options(options, given, 0); /* by the length that the first rank knows */
    }
    wait_for_first();
    Data mine = data;
    take_from_first(&data, sizeof data);
    char *text = text_of_first(first_rank() ? text_of(data.tokenizer, preparation) : NULL);
    if (first_rank()) {
        data = mine;
    } else {
        cllm_free_tokenizer(given);
        data.tokenizer = tokenizer_of(text, preparation);
    }
    free(text);
    bool held_out = data.validation != NULL; /* an address of the first rank's */
    data.training = share_file(preparation, preparation->training, mine.training);
    data.validation = held_out ? share_file(preparation, preparation->validation, mine.validation) : NULL;
    return data;
}
