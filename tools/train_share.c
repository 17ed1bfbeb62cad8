/* What the first rank made of the text, on the other ranks of train_model_mpi: they never read the text
 * themselves, so that it can be no other. */
#include "train_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* Whether the file can be read. */
static bool mark_of(const char *path, Mark *mark) {
    uint64_t count = 0;
    FILE *file = fopen(path, "rb");
    bool good = file && fread(&count, sizeof count, 1, file) == 1 && fseeko(file, 0, SEEK_END) == 0;
    off_t size = good ? ftello(file) : -1;
    unsigned char *block = good && size >= 8 ? malloc(BLOCK_BYTES) : NULL;
    good = block && count <= ((uint64_t)size - 8) / 4;
    uint64_t ids_end = 8 + 4 * count;
    bool recorded = good && ids_end < (uint64_t)size;
    good = good && fseeko(file, recorded ? (off_t)ids_end : 0, SEEK_SET) == 0;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t got = 1; good && got > 0;) {
        got = fread(block, 1, BLOCK_BYTES, file);
        hash = hash_bytes(hash, block, got);
    }
    good = good && !ferror(file);
    free(block);
    if (file) {
        fclose(file);
    }
    *mark = (Mark){.size = (uint64_t)size, .hash = hash};
    return good;
}

/* ---- Files ---- */

/* Sends a file of the first rank to another one. */
static void send_file(const char *path, uint64_t size, int to) {
    FILE *file = fopen(path, "rb");
    char *block = checked_alloc(BLOCK_BYTES, 1);
    for (uint64_t left = size; left > 0;) {
        size_t part = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
        if (!file || fread(block, 1, part, file) != part) {
            fail("can't read '%s': %s", path, strerror(errno));
        }
        pass_bytes(to, 0, block, part);
        left -= part;
    }
    fclose(file);
    free(block);
}

static void receive_file(const char *path, uint64_t size, int me) {
    FILE *file = fopen(path, "wb");
    char *block = checked_alloc(BLOCK_BYTES, 1);
    bool whole = file != NULL;
    for (uint64_t left = size; whole && left > 0;) {
        size_t part = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
        pass_bytes(me, 0, block, part);
        whole = fwrite(block, 1, part, file) == part;
        left -= part;
    }
    if (!whole || fclose(file) != 0) {
        fail("can't write '%s', a copy of the first rank's: %s", path, strerror(errno));
    }
    free(block);
}

/* The first rank's file of ids: itself where this rank sees it, else a copy that nobody else sees. */
static CLLMTokenFile *share_file(Preparation *preparation, const NewFile *made, const char *name,
                                 CLLMTokenFile *file) {
    char *path = first_rank() ? realpath(made->made, NULL) : NULL;
    if (first_rank() && !path) {
        fail("can't find '%s': %s", made->made, strerror(errno));
    }
    Mark first = {0}, here = {0};
    if (first_rank() && !mark_of(path, &first)) {
        fail("can't read '%s': %s", path, strerror(errno));
    }
    path = text_of_first(path);
    take_from_first(&first, sizeof first);
    bool mine = first_rank();
    const NewFile *copy = NULL;
    if (!mine) {
        mine = mark_of(path, &here) && here.size == first.size && here.hash == first.hash;
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
            copy = new_file(preparation, name);
            receive_file(copy->made, first.size, rank);
            if (!mark_of(copy->made, &here) || here.size != first.size || here.hash != first.hash) {
                fail("the copy of the first rank's '%s' is damaged", path);
            }
        }
    }
    if (!first_rank()) {
        file = open_token_file(copy ? copy->made : path);
    }
    if (copy) {
        drop_file(copy); /* it stays open as long as it is needed, and nothing is left of it */
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

static CLLMTokenizer *tokenizer_of(const char *text, Preparation *preparation) {
    const NewFile *file = new_file(preparation, "tokenizer.shared");
    FILE *out = fopen(file->made, "wb");
    bool written = out && fputs(text, out) >= 0;
    if (!out || fclose(out) != 0 || !written) {
        fail("can't write '%s': %s", file->made, strerror(errno));
    }
    CLLMTokenizer *tokenizer = load_tokenizer(file->made);
    drop_file(file);
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
    data.training = share_file(preparation, preparation->training, "dataset.bin", mine.training);
    data.validation = held_out ? share_file(preparation, preparation->validation, "held_out.bin",
                                            mine.validation)
                               : NULL;
    return data;
}
