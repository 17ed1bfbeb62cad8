/* train_model over the processes of an MPI job: mpirun -n 4 tools/train_model_mpi DATA ... The library
 * divides the batches; what stands here are MPI, and what becomes of the run when a rank dies. */
#include "train_model.h"

#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char command[] = "mpirun -n N train_model_mpi";

enum { TAG = 1, NAME = 64, PIECE = 60 * 1024, PIECES = 64 };

/* Who a rank is, for those that look after it. */
typedef struct Member {
    char host[NAME];
    long long pid;
} Member;

static int rank, ranks = 1, ranks_here = 1;
static Member *members;
static char name[64];
static double patience = 600; /* seconds that a rank waits for another one */

/* What the exchanges of training cost. */
static bool counting;
static double exchanging;
static unsigned long long sent;

/* ---- Leaving ---- */

static pthread_t watch;
static atomic_bool watching;
static pthread_mutex_t folder_lock = PTHREAD_MUTEX_INITIALIZER;
static char *run_folder, *run_resumed;

/* A rank of this machine ends the run and has said why: nobody else need speak. */
static atomic_bool ending;

static void on_ending(int signal_number) {
    (void)signal_number;
    ending = 1;
}

/* The signal of it is for the thread that watches alone: by the time that this one sees a rank's end, it has
 * taken what that rank sent before. Where nobody watches, any thread takes it. */
static void take_ending(int how) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(how, &signals, NULL);
}

/* Tells the other ranks of this machine that this one speaks. */
static void speak_alone(void) {
    for (int i = 0; members && i < ranks; i++) {
        if (i != rank && members[i].pid > 0) {
            kill((pid_t)members[i].pid, SIGUSR2);
        }
    }
}

/* Ends the run on all ranks. */
__attribute__((noreturn)) static void abort_ranks(int status) {
    speak_alone();
    abandon_preparation();
    fflush(NULL);
    /* mpirun may forget what is still in a rank's pipe when it ends the ranks. */
    wait_a_tenth();
    MPI_Abort(MPI_COMM_WORLD, status);
    _exit(status);
}

/* Gives another rank, or this one's watch, so many tenths of a second to say what happened. */
static void let_others_speak(int tenths) {
    for (int i = 0; i < tenths && !ending; i++) {
        wait_a_tenth();
    }
    while (ending) { /* until MPI ends this one */
        wait_a_tenth();
    }
}

/* What all ranks fail with, such as a wrong option, the first one says. */
static void before_failure(void) {
    let_others_speak(rank > 0 ? 20 : 0);
}

/* An exchange mostly fails because a rank died, which the watch is about to see. */
enum { WATCH_SEES = 10 };

static const Failure failing = {before_failure, abort_ranks};

void leave_all_ranks(int status) {
    before_failure();
    abort_ranks(status);
}

void leave_ranks(void) {
    static bool left;
    if (left) {
        return;
    }
    left = true;
    if (atomic_exchange(&watching, false)) { /* from here on, ranks may end */
        pthread_join(watch, NULL);
        take_ending(SIG_UNBLOCK);
    }
    MPI_Finalize();
}

/* ---- A rank that dies ---- */

/* MPI notices it late or never where a rank waits in shared memory; mpirun notices it, and kills the others
 * without knowing of checkpoints. So every rank looks after those of its machine. */

static bool is_dead(const Member *member) {
    char path[48], line[512];
    if (kill((pid_t)member->pid, 0) != 0) {
        return errno == ESRCH;
    }
    snprintf(path, sizeof path, "/proc/%lld/stat", member->pid);
    FILE *file = fopen(path, "r");
    bool zombie = false;
    if (file) {
        const char *end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        zombie = end && strncmp(end, ") Z", 3) == 0;
        fclose(file);
    }
    return zombie;
}

static void say_how_to_go_on(const char *what) {
    pthread_mutex_lock(&folder_lock);
    char *newest = run_folder ? newest_checkpoint(run_folder) : NULL;
    const char *from = newest ? newest : run_resumed;
    if (from) {
        complain("%s; go on with the same options and --resume %s", what, from);
    } else {
        complain("%s; no checkpoint was saved yet", what);
    }
    free(newest);
    pthread_mutex_unlock(&folder_lock);
}

static volatile sig_atomic_t terminated;

void rank_is_told_to_end(void) {
    terminated = 1;
}

static void *look_after_ranks(void *unused) {
    (void)unused;
    take_ending(SIG_UNBLOCK);
    int since_told = 0;
    for (; atomic_load(&watching); wait_a_tenth()) {
        int dead = -1, speaker = -1;
        for (int i = 0; i < ranks; i++) {
            if (members[i].pid == 0) {
                continue; /* elsewhere */
            }
            bool gone = i != rank && is_dead(&members[i]);
            dead = gone && dead < 0 ? i : dead;
            speaker = !gone && speaker < 0 ? i : speaker;
        }
        if (dead >= 0 && atomic_load(&watching)) {
            if (ending) {
                sleep(2);
            } else if (speaker == rank) {
                char what[160];
                speak_alone(); /* when this one has ended, another would be the first */
                snprintf(what, sizeof what, "rank %d (process %lld on %s) died", dead,
                         members[dead].pid, members[dead].host);
                say_how_to_go_on(what);
            } else {
                sleep(2); /* the one that speaks is given the time */
            }
            _exit(EXIT_FAILED); /* whatever MPI waits for: mpirun ends all others now */
        }
        if (terminated && ++since_told == 3 && rank == 0) { /* a rank on another machine may have died */
            say_how_to_go_on("mpirun ends the run");
        }
    }
    return NULL;
}

/* Learns who the others are. Those of the same machine, as far as they can be seen, are looked after. */
static void meet_ranks(void) {
    Member me = {.pid = (long long)getpid()};
    gethostname(me.host, sizeof me.host - 1);
    members = checked_alloc((size_t)ranks, sizeof *members);
    MPI_Allgather(&me, sizeof me, MPI_BYTE, members, sizeof me, MPI_BYTE, MPI_COMM_WORLD);
    ranks_here = 0;
    for (int i = 0; i < ranks; i++) {
        bool here = strcmp(members[i].host, me.host) == 0;
        ranks_here += here;
        if (!here || (kill((pid_t)members[i].pid, 0) != 0 && errno == ESRCH)) {
            members[i].pid = 0; /* on another machine, or in a container of its own */
        }
    }
    MPI_Barrier(MPI_COMM_WORLD); /* all have looked before one may end */
    atomic_store(&watching, true);
    if (pthread_create(&watch, NULL, look_after_ranks, NULL) != 0) {
        atomic_store(&watching, false);
        take_ending(SIG_UNBLOCK);
        warn("warning: can't look after the other ranks: %s", strerror(errno));
    }
}

/* ---- The hooks of train_model ---- */

void join_ranks(int *argc, char ***argv) {
    int given;
    double seconds;
    take_ending(SIG_BLOCK); /* before MPI and the library start threads, which inherit it */
    if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS) {
        fail("can't start MPI");
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    signal(SIGUSR2, on_ending);
    fail_by(&failing);
    atexit(leave_ranks);
    if (rank > 0) {
        snprintf(name, sizeof name, "train_model_mpi: rank %d", rank);
        rename_tool(name);
        silence_warnings();
        if (!freopen("/dev/null", "w", stdout)) {
            fail("can't open /dev/null: %s", strerror(errno));
        }
    }
    const char *asked = getenv("CLLM_RANK_TIMEOUT");
    if (asked && *asked && read_number(asked, &seconds) && seconds > 0) {
        patience = seconds;
    } else if (asked && *asked) {
        fail_usage("CLLM_RANK_TIMEOUT: '%s' is not a number of seconds", asked);
    }
    meet_ranks();
}

int rank_count(void) {
    return ranks;
}

bool first_rank(void) {
    return rank == 0;
}

int rank_threads(int asked) {
    int each = processors() / ranks_here;
    return asked > 0 ? asked : each > 0 ? each : 1;
}

void tell_ranks_folder(const char *folder, const char *resumed) {
    pthread_mutex_lock(&folder_lock);
    run_folder = copy_text(folder, strlen(folder));
    run_resumed = resumed ? copy_text(resumed, strlen(resumed)) : NULL;
    pthread_mutex_unlock(&folder_lock);
}

static void check(int result, const char *what) {
    if (result != MPI_SUCCESS) {
        char text[MPI_MAX_ERROR_STRING] = "";
        int length;
        MPI_Error_string(result, text, &length);
        let_others_speak(WATCH_SEES);
        fail("%s: %s", what, text);
    }
}

/* Waits for messages. Other programs get the processor after a while; a rank that never comes
 * ends the run. */
static int wait_for(MPI_Request *requests, int count, int to, int from) {
    double began = seconds_now();
    MPI_Status statuses[2 * PIECES]; /* MPICH's MPI_STATUSES_IGNORE has compilers warn */
    for (unsigned long long tries = 0;; tries++) {
        int done;
        int result = MPI_Testall(count, requests, &done, statuses);
        if (result != MPI_SUCCESS || done) {
            return result;
        }
        if (tries > 2000) {
            struct timespec moment = {.tv_nsec = 50000};
            nanosleep(&moment, NULL);
        } else {
            sched_yield();
        }
        if (tries % 1024 == 1023 && seconds_now() - began > patience) {
            char what[200];
            snprintf(what, sizeof what, "no answer from rank %d or %d in %g s (CLLM_RANK_TIMEOUT)", from,
                     to, patience);
            say_how_to_go_on(what);
            abort_ranks(EXIT_FAILED);
        }
    }
}

static int piece_size(size_t all, size_t at) {
    return (int)(all - at < PIECE ? all - at : PIECE);
}

/* CLLMExchangeCallback. In pieces that MPI sends over TCP without asking first: where both directions are
 * one connection, the answer would come behind the other direction's data, and the two would take turns. */
static int exchange(int to, const void *send, size_t send_bytes, int from, void *receive,
                    size_t receive_bytes, void *user_data) {
    (void)user_data;
    MPI_Request requests[2 * PIECES];
    int result = MPI_SUCCESS;
    double began = seconds_now();
    size_t most = send_bytes > receive_bytes ? send_bytes : receive_bytes;
    for (size_t at = 0; at < most && result == MPI_SUCCESS;) {
        size_t end = at + (size_t)PIECE * PIECES;
        int count = 0;
        for (size_t piece = at; piece < end && piece < receive_bytes && result == MPI_SUCCESS; piece += PIECE) {
            result = MPI_Irecv((char *)receive + piece, piece_size(receive_bytes, piece), MPI_BYTE, from,
                               TAG, MPI_COMM_WORLD, &requests[count++]);
        }
        for (; at < end && at < most; at += PIECE) {
            if (at < send_bytes && result == MPI_SUCCESS) {
                result = MPI_Isend((const char *)send + at, piece_size(send_bytes, at), MPI_BYTE, to, TAG,
                                   MPI_COMM_WORLD, &requests[count++]);
            }
        }
        if (result == MPI_SUCCESS) {
            result = wait_for(requests, count, to, from);
        }
    }
    if (result != MPI_SUCCESS) {
        char text[MPI_MAX_ERROR_STRING] = "", what[MPI_MAX_ERROR_STRING + 80];
        int length;
        MPI_Error_string(result, text, &length);
        snprintf(what, sizeof what, "rank %d can't exchange with ranks %d and %d: %s", rank, to, from, text);
        let_others_speak(WATCH_SEES);
        before_failure();
        say_how_to_go_on(what);
        abort_ranks(EXIT_FAILED);
    }
    if (counting) {
        exchanging += seconds_now() - began;
        sent += send_bytes;
    }
    return 0;
}

void take_from_first(void *value, size_t size) {
    MPI_Request request;
    int result = MPI_Ibcast(value, (int)size, MPI_BYTE, 0, MPI_COMM_WORLD, &request);
    check(result == MPI_SUCCESS ? wait_for(&request, 1, 0, 0) : result, "can't hear of rank 0");
}

char *text_of_first(char *text) {
    long long length = text ? (long long)strlen(text) : -1;
    take_from_first(&length, sizeof length);
    if (length < 0) {
        free(text);
        return NULL;
    }
    char *same = checked_alloc((size_t)length + 1, 1);
    if (rank == 0) {
        memcpy(same, text, (size_t)length);
    }
    free(text);
    take_from_first(same, (size_t)length + 1);
    return same;
}

bool any_rank(bool here) {
    int mine = here, any = 0;
    MPI_Request request;
    int result = MPI_Iallreduce(&mine, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD, &request);
    check(result == MPI_SUCCESS ? wait_for(&request, 1, 0, 0) : result, "can't hear of the other ranks");
    return any != 0;
}

void count_exchanges(bool on) {
    counting = on;
}

void wait_for_first(void) {
    double usual = patience;
    char nothing = 0;
    patience = 1e18; /* it may read for hours */
    take_from_first(&nothing, 1);
    patience = usual;
}

void compare_with_first(const char *option, const char *value) {
    char *first = text_of_first(copy_text(value, strlen(value)));
    if (strcmp(first, value) != 0) {
        fail("the ranks differ in %s: '%s' on rank 0, '%s' on rank %d", option, first, value, rank);
    }
    free(first);
}

int rank_number(void) {
    return rank;
}

void pass_bytes(int to, int from, void *bytes, size_t size) {
    bool sends = rank == from;
    exchange(to, sends ? bytes : NULL, sends ? size : 0, from, sends ? NULL : bytes, sends ? 0 : size, NULL);
}

void tell_who_has(bool here, bool *has) {
    MPI_Request request;
    int result = MPI_Iallgather(&here, sizeof here, MPI_BYTE, has, sizeof here, MPI_BYTE, MPI_COMM_WORLD,
                                &request);
    check(result == MPI_SUCCESS ? wait_for(&request, 1, 0, 0) : result, "can't hear of the other ranks");
}

void connect_ranks(CLLMTraining *training, const Options *options) {
    CLLMCommunicator all = {.struct_size = sizeof all, .rank = rank, .ranks = ranks,
                            .exchange = exchange, .divide_moments = !options->whole_moments,
                            .bfloat16_sums = options->bfloat16_sums};
    if (cllm_training_set_communicator(training, &all) != 0) {
        fail("can't divide the training among the ranks: %s", library_error());
    }
    if (options->accumulate < ranks) {
        warn("warning: an update takes the gradients of %d batch%s: %d of the %d ranks have none to "
             "compute (--accumulate)",
             options->accumulate, options->accumulate == 1 ? "" : "es", ranks - options->accumulate,
             ranks);
    }
}

void describe_ranks(const Options *options) {
    int least = options->accumulate / ranks, most = (options->accumulate + ranks - 1) / ranks;
    printf("  %d ranks", ranks);
    if (least < most) {
        printf(", which compute %d or %d of these batches each\n", least, most);
    } else {
        printf(", which compute %d of these batches each\n", most);
    }
}

void report_ranks(double seconds) {
    printf("%d ranks: %.1f MiB sent by the first, %.2f s of its training in exchanges (%.0f %%)\n", ranks,
           (double)sent / 1048576, exchanging, seconds > 0 ? 100 * exchanging / seconds : 0.0);
}
