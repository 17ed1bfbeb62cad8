/* The folder of a run: one run at a time, the files of earlier ones set aside, checkpoints found and
 * thinned out. */
#include "train_model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define EARLIER "earlier-" /* N: the folders with the files of earlier runs */

/* The checkpoint of a step, as far as its files are there. */
typedef struct Checkpoint {
    int step;
    bool model, state; /* checkpoint_step_N.cllm, and that with .state behind it */
} Checkpoint;

typedef struct Checkpoints {
    Checkpoint *values; /* by step */
    size_t count;
} Checkpoints;

static bool exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

static char *with_suffix(const char *path, const char *suffix) {
    Text text = {0};
    text_append_string(&text, path);
    text_append_string(&text, suffix);
    return text.bytes;
}

/* ---- Names ---- */

char *checkpoint_path(const char *folder, int step) {
    char name[64];
    snprintf(name, sizeof name, "checkpoint_step_%d.cllm", step);
    return join_path(folder, name);
}

/* The step in a checkpoint's name, and what follows; -1 for another name. */
static int step_of_name(const char *name, const char **rest) {
    static const char before[] = "checkpoint_step_";
    if (strncmp(name, before, sizeof before - 1) != 0) {
        return -1;
    }
    const char *digits = name + sizeof before - 1;
    size_t length = strspn(digits, "0123456789");
    long long step;
    char *number = copy_text(digits, length);
    bool valid = length > 0 && length < 10 && read_integer(number, &step);
    free(number);
    *rest = digits + length;
    return valid ? (int)step : -1;
}

static int by_step(const void *a, const void *b) {
    return ((const Checkpoint *)a)->step - ((const Checkpoint *)b)->step;
}

static Checkpoints list_checkpoints(const char *folder) {
    Checkpoints list = {0};
    DIR *directory = opendir(folder);
    if (!directory) {
        return list;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        const char *rest;
        int step = step_of_name(entry->d_name, &rest);
        bool model = step >= 0 && strcmp(rest, ".cllm") == 0;
        bool state = step >= 0 && strcmp(rest, ".cllm.state") == 0;
        if (model || state) {
            list.values = checked_resize(list.values, list.count + 1, sizeof *list.values);
            list.values[list.count++] = (Checkpoint){step, model, state};
        }
    }
    closedir(directory);
    if (list.count > 0) {
        qsort(list.values, list.count, sizeof *list.values, by_step);
    }
    size_t kept = 0; /* the two files of a step become one entry */
    for (size_t i = 0; i < list.count; i++) {
        if (kept > 0 && list.values[kept - 1].step == list.values[i].step) {
            list.values[kept - 1].model |= list.values[i].model;
            list.values[kept - 1].state |= list.values[i].state;
        } else {
            list.values[kept++] = list.values[i];
        }
    }
    list.count = kept;
    return list;
}

/* ---- --resume ---- */

char *newest_checkpoint(const char *folder) {
    Checkpoints list = list_checkpoints(folder);
    char *path = NULL;
    for (size_t i = list.count; i-- > 0 && !path;) {
        if (list.values[i].model && list.values[i].state) {
            path = checkpoint_path(folder, list.values[i].step);
        }
    }
    free(list.values);
    return path;
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? copy_text(path, (size_t)(slash - path) + (slash == path)) : copy_text(".", 1);
}

static char *earlier_folder(const char *folder, int number) {
    char name[32];
    snprintf(name, sizeof name, EARLIER "%d", number);
    return join_path(folder, name);
}

/* The highest N of the folders of earlier runs; 0: there are none. */
static int last_earlier(const char *folder) {
    int last = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;) {
        long long number;
        if (strncmp(entry->d_name, EARLIER, sizeof EARLIER - 1) == 0 &&
            read_integer(entry->d_name + sizeof EARLIER - 1, &number) && number > last &&
            number < 1000000000) {
            last = (int)number;
        }
    }
    if (directory) {
        closedir(directory);
    }
    return last;
}

/* A checkpoint of this name among those that were set aside, the latest first; or NULL. */
static char *find_earlier(const char *folder, const char *name) {
    for (int number = last_earlier(folder); number > 0; number--) {
        char *earlier = earlier_folder(folder, number), *path = join_path(earlier, name);
        char *state = with_suffix(path, ".state");
        bool found = exists(state);
        free(earlier);
        free(state);
        if (found) {
            return path;
        }
        free(path);
    }
    return NULL;
}

__attribute__((noreturn)) static void fail_incomplete(const char *given, const char *folder) {
    char *newest = newest_checkpoint(folder);
    const char *what = exists(given) ? "there is no file with '.state' behind its name"
                                     : "there is no such checkpoint";
    if (newest) {
        fail("can't resume from '%s': %s; the newest whole checkpoint there is '%s'", given, what,
             newest);
    }
    fail("can't resume from '%s': %s", given, what);
}

char *find_checkpoint(const char *given) {
    if (is_directory(given)) {
        char *newest = newest_checkpoint(given);
        if (!newest) {
            fail("can't resume from '%s': no whole checkpoint is there", given);
        }
        return newest;
    }
    size_t length = strlen(given), suffix = sizeof ".state" - 1;
    if (length > suffix && strcmp(given + length - suffix, ".state") == 0) {
        length -= suffix;
    }
    char *path = copy_text(given, length), *state = with_suffix(path, ".state");
    char *folder = folder_of(path);
    if (!exists(state)) {
        const char *slash = strrchr(path, '/');
        char *earlier = find_earlier(folder, slash ? slash + 1 : path);
        if (!earlier) {
            fail_incomplete(path, folder);
        }
        complain("'%s' was set aside: going on from '%s'", path, earlier);
        free(path);
        path = earlier;
    }
    free(state);
    free(folder);
    return path;
}

/* ---- One run at a time ---- */

void lock_folder(Folder *folder) {
    if (folder->descriptor >= 0) {
        return;
    }
    folder->descriptor = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A run that was just ended may still hold it for a moment. */
    for (int tries = 0; folder->descriptor >= 0 && tries < 20; tries++) {
        if (flock(folder->descriptor, LOCK_EX | LOCK_NB) == 0) {
            return; /* until the end of the process, however it comes */
        }
        if (errno != EWOULDBLOCK) {
            break;
        }
        wait_a_tenth();
    }
    if (errno == EWOULDBLOCK) {
        fail("another run is writing into '%s': wait for its end, or choose another "
             "--checkpoint-dir",
             folder->path);
    }
    warn("warning: can't lock '%s' (%s): nothing keeps a second run out of it", folder->path,
         strerror(errno));
}

Folder open_folder(const char *path) {
    Folder folder = {.path = path, .descriptor = -1};
    if (is_directory(path)) {
        lock_folder(&folder);
    }
    return folder;
}

void keep_owner(const Folder *folder, const char *path) {
    if (folder->foreign && lchown(path, folder->owner, folder->group) != 0) {
        /* best effort */
    }
}

/* ---- What earlier runs left ---- */

typedef struct SetAside {
    const Folder *folder;
    bool overwrite;
    char *target; /* the folder where the files go; NULL before the first one */
    int number;
    size_t files;
    mode_t mask; /* rights that one of the files did not give to others */
} SetAside;

static const char *set_aside_target(SetAside *aside) {
    if (!aside->target) {
        aside->target = earlier_folder(aside->folder->path, aside->number);
        if (mkdir(aside->target, 0777) != 0) {
            fail("can't create folder '%s': %s", aside->target, strerror(errno));
        }
        keep_owner(aside->folder, aside->target);
    }
    return aside->target;
}

/* A second name for the old content, or else a copy. */
static bool keep_content(const char *from, const char *to) {
    if (linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) == 0) {
        return true;
    }
    FILE *source = fopen(from, "rb");
    if (!source) {
        return errno == ENOENT; /* a link to nothing has none */
    }
    FILE *copy = fopen(to, "wbx");
    char bytes[65536];
    size_t got = 1, written = 1;
    while (copy && got > 0 && written == got) {
        got = fread(bytes, 1, sizeof bytes, source);
        written = fwrite(bytes, 1, got, copy);
    }
    bool kept = copy && written == got && !ferror(source);
    kept = copy && fclose(copy) == 0 && kept;
    fclose(source);
    return kept;
}

static void set_aside(SetAside *aside, const char *name) {
    struct stat status;
    char *path = join_path(aside->folder->path, name), *to = NULL;
    if (lstat(path, &status) != 0 || !(S_ISREG(status.st_mode) || S_ISLNK(status.st_mode))) {
        free(path);
        return;
    }
    /* A link is somebody's arrangement, and so is a file that is a mount point: they stay where they
     * are, the new run writes through them, and what they held is kept. */
    bool moved = false;
    if (aside->overwrite) {
        moved = !S_ISLNK(status.st_mode) && unlink(path) == 0;
    } else {
        to = join_path(set_aside_target(aside), name);
        moved = !S_ISLNK(status.st_mode) && rename(path, to) == 0;
    }
    bool stays = !moved && (S_ISLNK(status.st_mode) || errno == EBUSY);
    if ((!moved && !stays) || (stays && to && !keep_content(path, to))) {
        fail("can't set '%s' aside: %s", path, strerror(errno));
    }
    if (moved) {
        aside->mask |= 077 & ~status.st_mode;
    }
    aside->files++;
    free(path);
    free(to);
}

static bool same_folder(const char *a, const char *b) {
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

/* A new run: everything that an earlier one wrote. One that goes on in its folder: the checkpoints of
 * later steps than its own, which belong to another continuation. */
static void set_earlier_run_aside(const Folder *folder, const Options *options, int first_step) {
    static const char *const names[] = {"final_model.cllm", "final_model_8bit.cllm", "loss.svg",
                                        "metrics.csv", "vocab.txt", "tokenizer.json", "dataset.bin",
                                        "held_out.bin"};
    SetAside aside = {.folder = folder,
                      .overwrite = options->overwrite,
                      .number = last_earlier(folder->path) + 1};
    char *from = options->resume ? folder_of(options->resume) : NULL;
    bool goes_on = from && same_folder(from, folder->path);
    Checkpoints list = list_checkpoints(folder->path);
    for (size_t i = 0; i < list.count; i++) {
        if (!goes_on || list.values[i].step > first_step) {
            char *path = checkpoint_path("", list.values[i].step);
            char *state = with_suffix(path, ".state");
            set_aside(&aside, path); /* what names a checkpoint goes first */
            set_aside(&aside, state);
            free(path);
            free(state);
        }
    }
    for (size_t i = 0; !goes_on && i < sizeof names / sizeof *names; i++) {
        set_aside(&aside, names[i]);
    }
    if (goes_on && aside.target) { /* the record of those steps; a new one will replace it here */
        char *record = join_path(folder->path, "metrics.csv");
        char *copy = join_path(aside.target, "metrics.csv");
        if (!keep_content(record, copy)) {
            fail("can't set '%s' aside: %s", record, strerror(errno));
        }
        free(record);
        free(copy);
    }
    if (aside.files > 0 && !options->quiet) {
        if (aside.target) {
            complain("the files of %s are now in '%s'",
                     goes_on ? "later checkpoints" : "an earlier run", aside.target);
        } else {
            complain("replacing the files of %s", goes_on ? "later checkpoints" : "an earlier run");
        }
    }
    umask(umask(077) | aside.mask); /* the new files are as private as the old ones were */
    free(list.values);
    free(aside.target);
    free(from);
}

void prepare_folder(Folder *folder, const Options *options, int first_step) {
    struct stat status;
    make_directories(folder->path);
    if (folder->descriptor < 0) {
        lock_folder(folder);
    }
    if (geteuid() == 0 && stat(folder->path, &status) == 0 && status.st_uid != 0) {
        folder->foreign = true;
        folder->owner = status.st_uid;
        folder->group = status.st_gid;
    }
    set_earlier_run_aside(folder, options, first_step);
}

/* ---- Rotation ---- */

static void remove_checkpoint(const char *path) {
    char *state = with_suffix(path, ".state");
    unlink(path); /* what names a checkpoint goes first */
    unlink(state);
    free(state);
}

void rotate_checkpoints(const Folder *folder, int keep) {
    Checkpoints list = list_checkpoints(folder->path);
    for (size_t i = 0; i + (size_t)keep < list.count; i++) {
        char *path = checkpoint_path(folder->path, list.values[i].step);
        remove_checkpoint(path);
        free(path);
    }
    free(list.values);
}

static unsigned long long size_of_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? (unsigned long long)status.st_size : 0;
}

bool make_room(const Folder *folder, int step) {
    Checkpoints list = list_checkpoints(folder->path);
    bool removed = false;
    struct statvfs disk;
    size_t older = 0; /* whole checkpoints before `step` */
    for (size_t i = 0; i < list.count; i++) {
        older += list.values[i].step < step && list.values[i].model && list.values[i].state;
    }
    if (older >= 2 && statvfs(folder->path, &disk) == 0) {
        char *oldest = checkpoint_path(folder->path, list.values[0].step);
        char *state = with_suffix(oldest, ".state");
        unsigned long long room = (unsigned long long)disk.f_bavail * disk.f_frsize;
        if (room < size_of_file(oldest) + size_of_file(state)) {
            complain("warning: the disk is full: removing '%s'", oldest);
            remove_checkpoint(oldest);
            removed = true;
        }
        free(oldest);
        free(state);
    }
    free(list.values);
    return removed;
}
