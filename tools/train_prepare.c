/* Files that a run makes before it is known whether it can begin: beside those of the earlier run, under
 * names of their own, until they are put in their places. */
#include "train_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Preparation *pending; /* what exit() removes */

/* Removes what was made for a run that did not begin. */
static void remove_pending(void) {
    if (!pending || pending->kept) {
        return;
    }
    for (size_t i = 0; i < pending->count; i++) {
        unlink(pending->files[i].made);
    }
    char *folder = copy_text(pending->folder->path, strlen(pending->folder->path));
    for (int i = 0; i < pending->folders_made && rmdir(folder) == 0; i++) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder) {
            break;
        }
        *slash = '\0';
    }
    free(folder);
}

/* How many folders at the end of the path are still to be made. */
static int missing_folders(const char *path) {
    char *folder = copy_text(path, strlen(path));
    int missing = 0;
    while (*folder && !is_directory(folder)) {
        missing++;
        char *slash = strrchr(folder, '/');
        if (!slash) {
            break;
        }
        *slash = '\0';
    }
    free(folder);
    return missing;
}

void begin_preparation(Preparation *preparation, Folder *folder) {
    preparation->folder = folder;
    preparation->folders_made = missing_folders(folder->path);
    pending = preparation;
    if (atexit(remove_pending) != 0) {
        fail("can't prepare the run: no memory");
    }
    make_directories(folder->path);
    lock_folder(folder);
}

char *new_file(Preparation *preparation, const char *name) {
    char *place = join_path(preparation->folder->path, name);
    Text made = {0};
    text_append_string(&made, place);
    text_append_string(&made, ".new");
    preparation->files = checked_resize(preparation->files, preparation->count + 1,
                                        sizeof *preparation->files);
    preparation->files[preparation->count++] =
        (NewFile){.made = copy_text(made.bytes, made.length), .place = place};
    return made.bytes;
}

void drop_file(Preparation *preparation, const char *made) {
    unlink(made);
    for (size_t i = 0; i < preparation->count; i++) {
        if (strcmp(preparation->files[i].made, made) == 0) {
            free(preparation->files[i].made);
            free(preparation->files[i].place);
            preparation->files[i] = preparation->files[--preparation->count];
            return;
        }
    }
}

void end_preparation(Preparation *preparation) {
    mode_t mask = umask(0); /* which may be that of an earlier run's files */
    umask(mask);
    for (size_t i = 0; i < preparation->count; i++) {
        NewFile *file = &preparation->files[i];
        if (chmod(file->made, 0666 & ~mask) != 0 || rename(file->made, file->place) != 0) {
            fail("can't write '%s': %s", file->place, strerror(errno));
        }
        unlink(file->made); /* still there where both names were one file */
        keep_owner(preparation->folder, file->place);
        free(file->made);
        free(file->place);
    }
    free(preparation->files);
    preparation->files = NULL;
    preparation->count = 0;
    preparation->kept = true;
    pending = NULL;
}

void leave_unprepared(const Preparation *preparation) {
    const char *tokenizer = NULL;
    for (size_t i = 0; preparation && i < preparation->count; i++) {
        if (strstr(preparation->files[i].place, "tokenizer.json")) {
            tokenizer = preparation->files[i].made;
        }
    }
    if (pending && tokenizer) {
        pending->kept = true;
        complain("interrupted before the first step; the same command begins anew, and with --tokens %s "
                 "it does not learn the tokens again",
                 tokenizer);
    } else {
        complain("interrupted before the first step; the same command begins anew");
    }
    exit(EXIT_INTERRUPTED);
}
