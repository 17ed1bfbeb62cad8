/* Files that a run makes before it is known whether it can begin: beside those of the earlier run, under
 * names of their own, until they are put in their places. */
#include "train_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Preparation *pending; /* what exit() removes */

static char *real_place(const char *path);

/* Removes what killed runs left in the folder of files that this run does not make: under the names that
 * they have until a run begins. */
static void remove_leftovers(const Preparation *preparation) {
    static const char *const names[] = {"dataset.bin", "held_out.bin", "old.bin", "tokenizer.json",
                                        "tokenizer.shared"};
    for (size_t n = 0; first_rank() && n < sizeof names / sizeof *names; n++) {
        char *path = join_path(preparation->folder->path, names[n]), *place = NULL;
        for (size_t i = 0; i < preparation->count && !place; i++) {
            const NewFile *file = &preparation->files[i];
            place = strcmp(file->name, names[n]) == 0 ? copy_text(file->place, strlen(file->place)) : NULL;
        }
        bool mine = place != NULL;
        place = mine ? place : real_place(path);
        Text left = {0};
        text_append_string(&left, place);
        text_append_string(&left, ".new");
        if (!mine) {
            unlink(left.bytes);
        }
        text_append_string(&left, ".partial"); /* whose writer is gone: the folder is locked */
        unlink(left.bytes);
        text_free(&left);
        free(place);
        free(path);
    }
}

void abandon_preparation(void) {
    if (!pending || pending->kept) {
        return;
    }
    for (size_t i = 0; i < pending->count; i++) {
        unlink(pending->files[i].made);
    }
    remove_leftovers(pending);
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

/* The folder, or the last one on the way to it that is there. */
static char *existing_folder(const char *path) {
    char *folder = copy_text(path, strlen(path));
    while (!is_directory(folder)) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder) {
            strcpy(folder, slash ? "/" : ".");
            break;
        }
        *slash = '\0';
    }
    return folder;
}

void begin_preparation(Preparation *preparation, Folder *folder) {
    preparation->folder = folder;
    if (atexit(abandon_preparation) != 0) {
        fail("can't prepare the run: no memory");
    }
    if (first_rank()) {
        preparation->folders_made = missing_folders(folder->path);
        make_directories(folder->path);
        lock_folder(folder);
    }
    pending = preparation; /* not before: the files that are there may be those of a run that has the lock */
    preparation->scratch = existing_folder(folder->path);
}

/* Where a file of the folder is: a link is somebody's arrangement, and the file that it names is written. */
static char *real_place(const char *path) {
    char target[4096];
    char *real = realpath(path, NULL);
    if (real) {
        return real;
    }
    ssize_t length = readlink(path, target, sizeof target - 1); /* of one to nothing yet */
    if (length <= 0) {
        return copy_text(path, strlen(path));
    }
    target[length] = '\0';
    const char *slash = strrchr(path, '/');
    if (target[0] == '/' || !slash) {
        return copy_text(target, strlen(target));
    }
    char *folder = copy_text(path, (size_t)(slash - path) + 1);
    char *joined = join_path(folder, target);
    free(folder);
    return joined;
}

const NewFile *new_file(Preparation *preparation, const char *name) {
    char *path = join_path(preparation->folder->path, name), *place = real_place(path);
    Text made = {0};
    text_append_string(&made, place);
    text_append_string(&made, ".new");
    if (preparation->count == sizeof preparation->files / sizeof *preparation->files) {
        fail("can't prepare the run: too many files");
    }
    NewFile *file = &preparation->files[preparation->count++];
    *file = (NewFile){.name = name, .made = made.bytes, .place = place};
    free(path);
    return file;
}

void drop_file(const NewFile *file) {
    unlink(file->made);
}

/* A file that is a mount point of its own can't be renamed over. */
static bool write_over(const char *from, const char *to) {
    FILE *source = fopen(from, "rb"), *target = fopen(to, "wb");
    char bytes[65536];
    size_t got = 1, written = 1;
    while (source && target && got > 0 && written == got) {
        got = fread(bytes, 1, sizeof bytes, source);
        written = fwrite(bytes, 1, got, target);
    }
    bool whole = source && target && written == got && !ferror(source);
    whole = target && fclose(target) == 0 && whole;
    if (source) {
        fclose(source);
    }
    return whole && unlink(from) == 0;
}

/* Gives a file its name, with the mode of the one that is there: else that of a new file. */
static bool put_in_place(const NewFile *file, mode_t mask) {
    struct stat made, there;
    if (stat(file->made, &made) != 0) {
        return errno == ENOENT; /* not needed after all */
    }
    bool old = stat(file->place, &there) == 0;
    if (old && made.st_dev == there.st_dev && made.st_ino == there.st_ino) {
        return unlink(file->made) == 0; /* one file under both names */
    }
    if (chmod(file->made, old ? there.st_mode & 07777 : 0666 & ~mask) != 0) {
        return false;
    }
    return rename(file->made, file->place) == 0 ||
           (errno == EBUSY && write_over(file->made, file->place));
}

void end_preparation(Preparation *preparation, const Folder *folder) {
    mode_t mask = umask(0); /* which may be that of an earlier run's files */
    umask(mask);
    remove_leftovers(preparation);
    for (size_t i = 0; i < preparation->count; i++) {
        NewFile *file = &preparation->files[i];
        if (!put_in_place(file, mask)) {
            fail("can't write '%s': %s", file->place, strerror(errno));
        }
        keep_owner(folder, file->place);
        free(file->made);
        free(file->place);
    }
    free(preparation->scratch);
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
        if (first_rank()) {
            complain("interrupted before the first step; the same command begins anew, and with --tokens "
                     "%s it does not learn the tokens again",
                     tokenizer);
        }
    } else if (first_rank()) {
        complain("interrupted before the first step; the same command begins anew");
    }
    leave_all_ranks(EXIT_INTERRUPTED);
}
