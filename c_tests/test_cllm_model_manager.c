/* cllm_model_manager.h: every function, what is left on the disk, and threads that share a model. */
#include "scratch.h"

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_model_manager.h"
#include "cllm_utils.h"
#include "harness.h"
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <time.h>

static const CLLMConfig SIZES = {23, 16, 2, 4, 32, 16, 0};

/* The names in a folder but for . and .., in any order, with a blank behind each. */
static int files_in(const char *folder, char *names, size_t room) {
    DIR *dir = opendir(folder);
    int count = 0;
    names[0] = '\0';
    if (!dir) return -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(names + strlen(names), room - strlen(names), "%s ", entry->d_name);
        count++;
    }
    closedir(dir);
    return count;
}

static int is_there(const char *path) { return access(path, F_OK) == 0; }

static int said(const char *part) { return strstr(cllm_last_error(), part) != NULL; }

static void nap(void) { nanosleep(&(struct timespec){0, 1000000}, NULL); }

static void nothing_before_init(void) {
    uint32_t count = 77;
    bool loaded = true;
    CHECK(!model_manager_create("a", &SIZES) && said("not initialised"));
    CHECK(!model_manager_load("a", "a.cllm") && !model_manager_save("a"));
    CHECK(!model_manager_unload("a") && !model_manager_reload("a"));
    CHECK(!model_manager_delete("a", true) && !model_manager_exists("a"));
    CHECK(!model_manager_acquire_read("a") && !model_manager_acquire_write("a"));
    CHECK(!model_manager_get("a") && !model_manager_get_first());
    CHECK(!model_manager_list(&count) && count == 77);
    CHECK(!model_manager_get_status("a", &loaded, NULL, NULL) && loaded);
    model_manager_release_read("a");
    model_manager_release_write("a");
    model_manager_cleanup();
}

static void folders(void) {
    char names[4096], longest[1100];
    CHECK(!model_manager_init(in_scratch("no/parents")));
    CHECK(!is_there(in_scratch("no")));
    close(open(in_scratch("file"), O_CREAT | O_WRONLY, 0600));
    CHECK(!model_manager_init(in_scratch("file")) && !model_manager_init(""));
    memset(longest, 'd', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    CHECK(!model_manager_init(longest)); /* DEFECT of the original: cut */
    mode_t mask = umask(0);
    CHECK(model_manager_init(in_scratch("models")));
    umask(mask);
    struct stat info;
    CHECK(stat(in_scratch("models"), &info) == 0 && (info.st_mode & 0777) == 0755);
    CHECK(model_manager_init("/no/such/folder")); /* ignored */
    uint32_t count = 77;
    CHECK(!model_manager_list(&count) && count == 0);
    CHECK(!model_manager_list(NULL) && !model_manager_get_first());
    CHECK(files_in(in_scratch("models"), names, sizeof names) == 0);
    model_manager_cleanup();
    CHECK(!model_manager_exists("a"));
    /* NULL: ./models. */
    CHECK(chdir(scratch) == 0);
    CHECK(model_manager_init(NULL));
    ManagedModel *m = model_manager_create("here", &SIZES);
    CHECK(m && strcmp(m->path, "./models/here.cllm") == 0 && is_there("models/here.cllm"));
    CHECK(model_manager_delete("here", true) && !is_there("models/here.cllm"));
    model_manager_cleanup();
}

static void names_of_models(void) {
    char names[4096], name[400];
    const char *bad[] = {"", ".", "..", "../x", "a/b", "/x"};
    CHECK(model_manager_init(in_scratch("models")));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(!model_manager_create(bad[i], &SIZES) && said("name"));
        CHECK(!model_manager_load(bad[i], "whatever"));
    }
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    CHECK(!model_manager_create(name, &SIZES));
    /* 255 bytes are a name, but with its ending not one of a file: the model is there all the same. */
    name[255] = '\0';
    ManagedModel *m = model_manager_create(name, &SIZES);
    CHECK(m && strcmp(m->name, name) == 0 && m->is_loaded && *cllm_last_error());
    CHECK(model_manager_exists(name) && !model_manager_save(name));
    CHECK(model_manager_delete(name, false));
    CHECK(!model_manager_create(NULL, &SIZES) && !model_manager_create("a", NULL));
    CLLMConfig wrong = SIZES;
    wrong.num_heads = 5;
    CHECK(!model_manager_create("a", &wrong) && !model_manager_exists("a"));
    CHECK(!is_there(in_scratch("x.cllm"))); /* DEFECT of the original: ../x left the folder */
    CHECK(files_in(in_scratch("models"), names, sizeof names) == 0);
    /* A file that is not under the manager is not overwritten. */
    FILE *file = fopen(in_scratch("models/mine.cllm"), "w");
    fputs("mine", file);
    fclose(file);
    CHECK(!model_manager_create("mine", &SIZES) && said("already"));
    struct stat info;
    CHECK(stat(in_scratch("models/mine.cllm"), &info) == 0 && info.st_size == 4);
    CHECK(symlink("nowhere", in_scratch("models/link.cllm")) == 0);
    CHECK(!model_manager_create("link", &SIZES) && !is_there(in_scratch("models/nowhere")));
    CHECK(unlink(in_scratch("models/link.cllm")) == 0 && unlink(in_scratch("models/mine.cllm")) == 0);
    model_manager_cleanup();
}

static void life_of_a_model(void) {
    char names[4096];
    CHECK(model_manager_init(in_scratch("models")));
    time_t before = time(NULL);
    srand(3);
    ManagedModel *m = model_manager_create("one", &SIZES);
    CHECK(m && m == model_manager_get("one") && strcmp(m->name, "one") == 0);
    CHECK(strcmp(m->path, in_scratch("models/one.cllm")) == 0);
    CHECK(m->is_loaded && !m->is_training && m->read_count == 0 && m->model);
    CHECK(m->vocab_size == 23 && m->embedding_dim == 16 && m->num_layers == 2 && m->num_heads == 4);
    CHECK(m->created_time >= (uint64_t)before && m->modified_time == m->created_time);
    CHECK(model_manager_get_first() == m->model);
    CHECK(!model_manager_create("one", &SIZES) && said("already"));
    CHECK(!model_manager_load("one", m->path));
    CHECK(files_in(in_scratch("models"), names, sizeof names) == 1 && !strcmp(names, "one.cllm "));

    /* What is not saved is lost; what is saved comes back. */
    m->model->weights[0] = 5;
    CHECK(model_manager_unload("one") && model_manager_unload("one"));
    CHECK(!m->is_loaded && !m->model && m->vocab_size == 23 && !model_manager_get_first());
    CHECK(!model_manager_save("one") && said("not loaded"));
    CHECK(!model_manager_acquire_read("one") && !model_manager_acquire_write("one"));
    CHECK(model_manager_exists("one") && model_manager_get("one") == m);
    CHECK(model_manager_reload("one") && model_manager_reload("one"));
    CHECK(m->is_loaded && m->model && m->model->weights[0] != 5);
    m->model->weights[0] = 5;
    m->modified_time = 1;
    CHECK(model_manager_save("one") && m->modified_time >= (uint64_t)before);
    CHECK(model_manager_unload("one") && model_manager_reload("one"));
    CHECK(m->model->weights[0] == 5);

    /* Another model in the file: its sizes. */
    CLLMConfig other = {31, 8, 1, 2, 16, 8, 0};
    CLLMModel *written = cllm_create_model(&other);
    CHECK(model_manager_unload("one") && cllm_write_model(written, m->path) == 0);
    CHECK(model_manager_reload("one"));
    CHECK(m->vocab_size == 31 && m->embedding_dim == 8 && m->num_layers == 1 && m->num_heads == 2);
    CHECK(model_manager_unload("one") && unlink(m->path) == 0);
    CHECK(!model_manager_reload("one") && !m->is_loaded);

    /* A file elsewhere stays the model's. */
    CHECK(!model_manager_load("two", in_scratch("two.cllm")) && !model_manager_exists("two"));
    CHECK(cllm_write_model(written, in_scratch("two.cllm")) == 0);
    cllm_free_model(written);
    ManagedModel *two = model_manager_load("two", in_scratch("two.cllm"));
    CHECK(two && strcmp(two->path, in_scratch("two.cllm")) == 0 && two->num_heads == 2);
    two->model->weights[0] = 7;
    CHECK(model_manager_save("two"));
    CLLMModel *read = cllm_read_model(in_scratch("two.cllm"));
    CHECK(read && read->weights[0] == 7);
    cllm_free_model(read);
    CHECK(files_in(in_scratch("models"), names, sizeof names) == 0);

    uint32_t count = 0;
    ManagedModel **list = model_manager_list(&count);
    CHECK(count == 2 && list && list[0] == m && list[1] == two);
    size_t used = mallinfo2().uordblks;
    for (int i = 0; i < 100; i++) CHECK(model_manager_list(&count) == list);
    CHECK(mallinfo2().uordblks == used); /* once for every frame */
    CHECK(model_manager_delete("one", true) && said("one.cllm")); /* its file is gone: a message */
    list = model_manager_list(&count);
    CHECK(count == 1 && list[0] == two && model_manager_get_first() == two->model);
    CHECK(!model_manager_delete("one", false) && !model_manager_save("one"));
    CHECK(model_manager_delete("two", false) && is_there(in_scratch("two.cllm")));
    CHECK(model_manager_list(&count) && count == 0); /* it is still the manager's array */
    CHECK(model_manager_load("two", in_scratch("two.cllm")) != NULL);
    CHECK(model_manager_delete("two", true) && !is_there(in_scratch("two.cllm")));
    model_manager_cleanup();
}

static void a_folder_is_read(void) {
    CLLMModel *model = cllm_create_model(&SIZES);
    CHECK(mkdir(in_scratch("full"), 0755) == 0);
    const char *files[] = {"full/b.cllm", "full/a b.cllm", "full/B.cllm", "full/c.model", "full/.cllm"};
    for (int i = 0; i < 5; i++) CHECK(cllm_write_model(model, in_scratch(files[i])) == 0);
    cllm_free_model(model);
    close(open(in_scratch("full/empty.cllm"), O_CREAT | O_WRONLY, 0600));
    CHECK(mkdir(in_scratch("full/dir.cllm"), 0755) == 0);
    CHECK(model_manager_init(in_scratch("full")) && *cllm_last_error());
    uint32_t count = 0;
    ManagedModel **list = model_manager_list(&count);
    CHECK(count == 3);
    if (count == 3) {
        CHECK(!strcmp(list[0]->name, "B") && !strcmp(list[1]->name, "a b") && !strcmp(list[2]->name, "b"));
        CHECK(list[2]->is_loaded && list[2]->num_heads == 4);
    }
    CHECK(!model_manager_exists("empty") && !model_manager_exists("dir"));
    model_manager_cleanup();
    CHECK(is_there(in_scratch("full/b.cllm")));
}

static void access_on_one_thread(void) {
    bool loaded = false, training = false;
    uint32_t readers = 0;
    CHECK(model_manager_init(in_scratch("models")));
    ManagedModel *m = model_manager_create("m", &SIZES);
    CHECK(model_manager_acquire_read("m") == m->model && model_manager_acquire_read("m") == m->model);
    CHECK(model_manager_get_status("m", &loaded, &training, &readers));
    CHECK(loaded && !training && readers == 2 && m->read_count == 2);
    CHECK(!model_manager_acquire_write("m") && said("itself")); /* the original waits for ever */
    /* DEFECTS of the original: all of these worked while the model was in use. */
    CHECK(!model_manager_unload("m") && !model_manager_delete("m", true) && said("in use"));
    CHECK(is_there(m->path));
    model_manager_release_read("m");
    model_manager_release_read("m");
    CHECK(m->read_count == 0);
    model_manager_release_read("m"); /* nothing is held */
    model_manager_release_write("m");
    CHECK(m->read_count == 0 && !m->is_training);

    CHECK(model_manager_acquire_write("m") == m->model && m->is_training);
    CHECK(model_manager_acquire_write("m") == m->model);
    CHECK(model_manager_acquire_read("m") == m->model && m->read_count == 1);
    CHECK(model_manager_save("m") && model_manager_reload("m"));
    CHECK(!model_manager_unload("m") && !model_manager_delete("m", false));
    model_manager_release_read("m");
    CHECK(m->is_training && m->read_count == 0);
    model_manager_release_write("m"); /* one for both */
    CHECK(!m->is_training);
    CHECK(!model_manager_acquire_read("n") && !model_manager_acquire_read(NULL));
    CHECK(!model_manager_get_status("n", &loaded, NULL, NULL) && model_manager_get_status("m", NULL, NULL, NULL));
    CHECK(model_manager_delete("m", true));

    /* What is in use outlives the manager. */
    m = model_manager_create("kept", &SIZES);
    CLLMModel *kept = model_manager_acquire_read("kept");
    model_manager_cleanup();
    CHECK(said("in use"));
    kept->weights[0] = 1;
    CHECK(cllm_write_model(kept, in_scratch("kept.cllm")) == 0);
    cllm_free_model(kept);
    model_manager_release_read("kept");
    CHECK(unlink(in_scratch("models/kept.cllm")) == 0);
}

enum { ROUNDS = 300, THREADS = 6 };

static void *read_often(void *wrong) {
    for (int i = 0; i < ROUNDS; i++) {
        CLLMModel *m = model_manager_acquire_read("shared");
        if (!m) return wrong;
        for (uint64_t j = 1; j < m->num_weights; j++)
            if (m->weights[j] != m->weights[0]) return wrong;
        model_manager_release_read("shared");
    }
    return NULL;
}

static void *write_often(void *wrong) {
    for (int i = 0; i < ROUNDS; i++) {
        CLLMModel *m = model_manager_acquire_write("shared");
        if (!m) return wrong;
        float next = m->weights[0] + 1;
        for (uint64_t j = 0; j < m->num_weights; j++) m->weights[j] = next;
        model_manager_release_write("shared");
    }
    return NULL;
}

/* Makes and removes models beside the others' work. */
static void *come_and_go(void *wrong) {
    for (int i = 0; i < 20; i++) {
        uint32_t count = 0;
        bool loaded;
        if (!model_manager_create("guest", &SIZES) || !model_manager_acquire_read("guest")) return wrong;
        if (!model_manager_list(&count) || count != 2) return wrong;
        if (model_manager_delete("shared", false) && i % 2 == 0) return wrong;
        model_manager_release_read("guest");
        if (!model_manager_get_status("guest", &loaded, NULL, NULL) || !loaded) return wrong;
        if (!model_manager_delete("guest", true)) return wrong;
    }
    return NULL;
}

static void threads_share_a_model(void) {
    CHECK(model_manager_init(in_scratch("models")));
    ManagedModel *m = model_manager_create("shared", &SIZES);
    for (uint64_t j = 0; j < m->model->num_weights; j++) m->model->weights[j] = 0;
    int wrong;
    pthread_t threads[THREADS + 1];
    void *outcome;
    /* Read access of this thread keeps the model from being deleted, and writers out. */
    CHECK(model_manager_acquire_read("shared") != NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, i % 3 == 0 ? write_often : read_often, &wrong);
    pthread_create(&threads[THREADS], NULL, come_and_go, &wrong);
    pthread_join(threads[THREADS], &outcome);
    CHECK(outcome == NULL);
    CHECK(m->model->weights[0] == 0);
    model_manager_release_read("shared");
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &outcome);
        CHECK(outcome == NULL);
    }
    CHECK(m->model->weights[0] == 2 * ROUNDS && m->read_count == 0 && !m->is_training);
    CHECK(model_manager_delete("shared", true));
    model_manager_cleanup();
}

static void *wait_to_write(void *unused) {
    (void)unused;
    return model_manager_acquire_write("w");
}

static void *wait_to_read(void *unused) {
    (void)unused;
    return model_manager_acquire_read("w");
}

static void waiting(void) {
    pthread_t writer, reader;
    void *got;
    CHECK(model_manager_init(in_scratch("models")));
    ManagedModel *m = model_manager_create("w", &SIZES);
    CHECK(model_manager_acquire_write("w") != NULL);
    pthread_create(&reader, NULL, wait_to_read, NULL);
    for (int i = 0; i < 50; i++) {
        nap();
        CHECK(!model_manager_delete("w", true) && !model_manager_unload("w"));
    }
    CHECK(m->read_count == 0);
    model_manager_release_write("w");
    pthread_join(reader, &got);
    CHECK(got == m->model && m->read_count == 1);
    /* The thread that read is gone; its access is the process's. */
    pthread_create(&writer, NULL, wait_to_write, NULL);
    nap();
    CHECK(!m->is_training && !model_manager_delete("w", true));
    model_manager_release_read("w");
    pthread_join(writer, &got);
    CHECK(got == m->model && m->is_training);
    /* The manager ends while somebody waits. */
    pthread_create(&reader, NULL, wait_to_read, NULL);
    for (int i = 0; i < 50; i++) nap();
    CLLMModel *left = m->model;
    model_manager_cleanup();
    pthread_join(reader, &got);
    CHECK(got == NULL);
    cllm_free_model(left);
    CHECK(unlink(in_scratch("models/w.cllm")) == 0);
}

int main(void) {
    scratch_make();
    cllm_set_log_silent();
    RUN(nothing_before_init);
    RUN(folders);
    RUN(names_of_models);
    RUN(life_of_a_model);
    RUN(a_folder_is_read);
    RUN(access_on_one_thread);
    RUN(threads_share_a_model);
    RUN(waiting);
    CHECK(chdir("/") == 0 && scratch_remove() == 0);
    return harness_report();
}
