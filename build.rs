//! Generates the C headers and names the shared library.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[path = "packaging/link.rs"]
mod link;

/// One public header: `include/<folder><name>.h`, generated from `src/headers/<name>.rs` (or, for a header
/// of the original library alone, `src/headers/compat/<name>.rs`) and, where that file is split,
/// from the files in the folder of the same name.
struct Header {
    name: &'static str,
    /// The folder below `include/`, with its slash; "" for most.
    folder: &'static str,
    /// System headers it needs.
    system: &'static [&'static str],
    /// Headers of ours it needs.
    local: &'static [&'static str],
    /// What cbindgen can't express, after the includes.
    after_includes: &'static str,
}

const STD: &[&str] = &["stdbool.h", "stddef.h", "stdint.h"];
const STD_TIME: &[&str] = &["stdbool.h", "stddef.h", "stdint.h", "time.h"];

const STD_THREADS: &[&str] = &["pthread.h", "stdbool.h", "stddef.h", "stdint.h"];

const OPTIMIZER: &str = "
/** How parameters move; `optimizer_<name>_step` has the formula. */
typedef enum OptimizerType {
    OPTIMIZER_SGD = 0,
    OPTIMIZER_SGD_MOMENTUM = 1,
    OPTIMIZER_SGD_NESTEROV = 2,
    OPTIMIZER_ADAM = 3,
    OPTIMIZER_ADAMW = 4,
    OPTIMIZER_RMSPROP = 5,
    OPTIMIZER_ADAGRAD = 6,
} OptimizerType;

/** How the learning rate goes on after the warm-up. */
typedef enum LRSchedulerType {
    /** Stays as it is. */
    LR_SCHEDULER_NONE = 0,
    /** Likewise. */
    LR_SCHEDULER_WARMUP = 1,
    /** optimizer_linear_decay_lr. */
    LR_SCHEDULER_LINEAR = 2,
    /** optimizer_cosine_annealing_lr. */
    LR_SCHEDULER_COSINE = 3,
    /** optimizer_step_decay_lr. */
    LR_SCHEDULER_STEP = 4,
    /** optimizer_exponential_decay_lr. */
    LR_SCHEDULER_EXPONENTIAL = 5,
    /** Of power 1: as linear. */
    LR_SCHEDULER_POLYNOMIAL = 6,
    /** optimizer_cyclic_lr. */
    LR_SCHEDULER_CYCLIC = 7,
} LRSchedulerType;";

// These two don't include <math.h>: a program may have functions of its own that are called as some
// of that header's. The constants are spelled as glibc spells them, so that <math.h> may come before
// or after.
const PRIME_FLOAT_MATH: &str = "
/** pi; <math.h> has it too, but not in strict C11. */
#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

/** e. */
#ifndef M_E
#define M_E 2.7182818284590452354
#endif

/** Infinity, as a float. */
#ifndef INFINITY
#define INFINITY (__builtin_inff ())
#endif

/** Not a number, as a float. */
#ifndef NAN
#define NAN (__builtin_nanf (\"\"))
#endif";

const PRIME_TYPES: &str = "
/** pi; <math.h> has it too, but not in strict C11. */
#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

/** ln 2. */
#ifndef M_LN2
#define M_LN2 0.69314718055994530942
#endif

/** ln 10. */
#ifndef M_LN10
#define M_LN10 2.30258509299404568402
#endif

/** lambda, 3/144000. */
#define EINSTEIN_LAMBDA (3.0 / 144000.0)

/** 355/113, which is pi to 3e-7. */
#define PI_DUST (355.0 / 113.0)

/** 2^32, the scale of fixed-point numbers. */
#define FIXED_POINT_SCALE 4294967296ULL

/** Whether a BigInt* has no digits, or the only digit 0: higher digits are not looked at. */
#define BIGINT_IS_ZERO(n) ((n)->len == 0 || ((n)->len == 1 && (n)->d[0] == 0))

/** Whether a BigInt* has the sign of negative numbers. */
#define BIGINT_IS_NEGATIVE(n) ((n)->negative != 0)

/** -1 for a BigInt* with the sign of negative numbers, otherwise 1, also for zero. */
#define BIGINT_SIGN(n) ((n)->negative != 0 ? -1 : 1)";

/// The fields of the longer `CLLMModel`: not in the Rust struct, for the library may not touch them.
const MODEL_TAIL: &str = "
#ifdef CLLM_MODEL_EXTENDED
    /**
     * Name of the model, for the program.
     */
    char model_name[256];
    /**
     * Epochs done, for the program.
     */
    int epochs_trained;
    /**
     * Epochs wanted, for the program.
     */
    int target_epochs;
    /**
     * A folder, for the program.
     */
    char queue_directory[512];
    /**
     * How the program trains it; a batch_size of 0 means that nothing is set.
     */
    struct {
        /**
         * Learning rate.
         */
        float learning_rate;
        /**
         * Sequences of a batch.
         */
        int batch_size;
        /**
         * Tokens of a sequence.
         */
        int sequence_length;
        /**
         * Epochs.
         */
        int num_epochs;
        /**
         * Weight decay.
         */
        float weight_decay;
        /**
         * Bound of the gradient's norm.
         */
        float gradient_clip;
    } training_config;
#endif
} CLLMModel;
";

/// Headers whose structs have no tags, as in the original: such short names as `Matrix` are then
/// still free for tags of the program's own.
const UNTAGGED: &[&str] = &["prime_types"];

const METRICS: &str = "
/** What a thread does. */
typedef enum {
    /** It has nothing to do. */
    THREAD_STATE_IDLE = 0,
    /** It works on a batch. */
    THREAD_STATE_WORKING = 1,
    /** It leads others. */
    THREAD_STATE_CONTROL = 2,
    /** It waits for others. */
    THREAD_STATE_WAITING = 3,
    /** It has ended. */
    THREAD_STATE_TERMINATED = 4
} ThreadState;

/** What a thread is for. */
typedef enum {
    /** It works on batches. */
    THREAD_ROLE_WORKER = 0,
    /** It leads others. */
    THREAD_ROLE_CONTROL = 1,
    /** Both. */
    THREAD_ROLE_BOTH = 2
} ThreadRole;";

const WORDS: &str = "
/*
 * A word of these headers: an object (a model, a context, a training, ...) is live from the call
 * that made it, or from when the program has put it together as the comment of its struct says,
 * until it is freed. While it is live each of its pointers is NULL or leads to as many elements
 * as its sizes say, and during a call nothing but that call uses it, except where the function's
 * comment allows more. Of a freed object that the library made the address is remembered for a
 * while: a call with it fails and says so.
 *
 * @pre states what a function relies on and can't check.
 */";

const EXT: &str = "
/*
 * What this library adds to the interface of the original one.
 *
 * Errors: a function that fails returns the value that its comment names; cllm_last_error() has the
 * reason. What it was to set is then unchanged, but a loop of training or generation may have done
 * some of its steps. NULL where an object or a path belongs is such an error.
 *
 * The program's world: signals reach the program's threads, for the library's block them. Rounding
 * mode, treatment of denormal numbers and exception masks of the caller change no result and are as
 * before on return, and so are the exceptions that were raised; callbacks have them as well. A small
 * stack (32 KiB) suffices, on coroutines too. A thread may not be cancelled (pthread_cancel) inside
 * the library. dlclose() leaves the library loaded.
 *
 * Threads: every function may be called from any thread, and different objects from different
 * threads at once. One object is for one thread at a time. Any number of contexts and evaluations
 * may share a model while nobody changes it; what changes a model (cllm_model_set_vocab,
 * cllm_model_load_vocab, training) needs it for itself. Callbacks run on the thread of the call
 * that they belong to; that of the log, on any.
 *
 * Preconditions (@pre): \"live\" is explained in cllm.h.
 *
 * Units: losses are in nats per token, times in seconds, sizes in bytes. V is the vocabulary size
 * of the model, L its layers, d its width. Token ids are below V. Arrays are written [elements].
 */";

/// The public headers, in the order in which they include each other.
const HEADERS: &[Header] = &[
    Header { name: "cllm", folder: "", system: STD, local: &[], after_includes: WORDS },
    Header {
        name: "prime_types",
        folder: "",
        system: STD,
        local: &[],
        after_includes: PRIME_TYPES,
    },
    Header {
        name: "cllm_inference",
        folder: "",
        system: STD,
        local: &["prime_types.h", "cllm.h"],
        after_includes: "",
    },
    Header {
        name: "cllm_format",
        folder: "",
        system: STD,
        local: &["prime_types.h", "cllm.h"],
        after_includes: "",
    },
    Header { name: "cllm_tokenizer", folder: "", system: STD, local: &[], after_includes: "" },
    Header {
        name: "cllm_data_loader",
        folder: "",
        system: STD,
        local: &["cllm_tokenizer.h"],
        after_includes: "",
    },
    Header {
        name: "cllm_training",
        folder: "",
        system: STD_TIME,
        local: &["prime_types.h", "cllm.h"],
        after_includes: "",
    },
    Header {
        name: "cllm_training_mt",
        folder: "",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header { name: "cllm_utils", folder: "", system: STD, local: &["cllm.h"], after_includes: "" },
    Header { name: "cllm_batch", folder: "", system: STD, local: &["cllm.h"], after_includes: "" },
    Header {
        name: "cllm_training_parallel",
        folder: "",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header { name: "cllm_metrics", folder: "", system: STD, local: &[], after_includes: METRICS },
    Header {
        name: "cllm_training_threaded",
        folder: "",
        system: STD,
        local: &["cllm_training.h", "cllm_batch.h", "cllm_metrics.h"],
        after_includes: "",
    },
    Header {
        name: "cllm_hierarchical_training",
        folder: "ai/",
        system: STD,
        local: &["../cllm_training.h", "../cllm_batch.h"],
        after_includes: "",
    },
    Header {
        name: "cllm_model_manager",
        folder: "",
        system: STD,
        local: &["cllm.h"],
        after_includes: "",
    },
    Header {
        name: "cllm_vocab_builder",
        folder: "",
        system: STD,
        local: &["cllm.h"],
        after_includes: "",
    },
    Header {
        name: "cllm_production",
        folder: "",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header { name: "cllm_fp16", folder: "", system: STD, local: &[], after_includes: "" },
    Header {
        name: "cllm_train_complete",
        folder: "",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header { name: "cllm_simd_utils", folder: "", system: STD, local: &[], after_includes: "" },
    Header {
        name: "prime_float_math",
        folder: "",
        system: STD,
        local: &[],
        after_includes: PRIME_FLOAT_MATH,
    },
    Header {
        name: "cllm_crystalline_training",
        folder: "",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header {
        name: "cllm_optimizer",
        folder: "ai/",
        system: STD_THREADS,
        local: &[],
        after_includes: OPTIMIZER,
    },
    Header {
        name: "cllm_ext",
        folder: "",
        system: STD,
        local: &["cllm.h", "cllm_inference.h", "cllm_training.h", "cllm_tokenizer.h"],
        after_includes: EXT,
    },
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=packaging/link.rs");
    println!("cargo::rerun-if-changed=cbindgen.toml");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=CLLM_WRITE_HEADERS");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    // Not there in the published package, where a missing folder would count as changed each time.
    if root.join("crates").is_dir() {
        println!("cargo::rerun-if-changed=crates");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let committed = env::var_os("CLLM_WRITE_HEADERS").map(|_| root.join("include"));
    for header in HEADERS {
        let text = generate(&root, header);
        let file = format!("{}{}.h", header.folder, header.name);
        write_if_changed(&out.join(&file), &text);
        if let Some(dir) = &committed {
            write_if_changed(&dir.join(&file), &text);
        }
    }

    // For the tests that compile programs in C.
    println!("cargo::rustc-env=CLLM_TARGET={}", env::var("TARGET").expect("cargo sets it"));

    println!("cargo::rustc-env=CLLM_BUILT={}", built());

    link::shared_library();
}

fn generate(root: &Path, header: &Header) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml"))
        .unwrap_or_else(|e| panic!("cbindgen.toml: {e}"));
    config.include_guard = Some(format!("{}_H", header.name.to_uppercase()));
    config.sys_includes = header.system.iter().map(|s| s.to_string()).collect();
    config.includes = header.local.iter().map(|s| s.to_string()).collect();
    if !header.after_includes.is_empty() {
        config.after_includes = Some(header.after_includes.to_string());
    }

    let sources = sources(&root.join("src/headers"), header.name);
    // A type that no function of the header mentions would be dropped.
    config.export.include = sources
        .iter()
        .flat_map(|s| public_items(&fs::read_to_string(s).unwrap_or_default()))
        .collect();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in &sources {
        builder = builder.with_src(source);
    }
    let bindings = builder.generate().unwrap_or_else(|e| panic!("include/{}.h: {e}", header.name));
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).expect("headers are UTF-8");
    let text = text.replace("\n} CLLMModel;\n", MODEL_TAIL);
    let text = if UNTAGGED.contains(&header.name) { without_tags(&text) } else { text };
    // What Rust calls the safety of a function is its precondition in C.
    text.replace(" * # Safety\n * ", " * @pre ")
}

/// A header without the tags of its structs, but for those that point to themselves.
fn without_tags(header: &str) -> String {
    let mut text = header.to_string();
    for part in header.split("typedef struct ").skip(1) {
        let Some((name, rest)) = part.split_once(" {\n") else { continue };
        let body = rest.split('}').next().unwrap_or_default();
        if !body.contains(&format!("struct {name} ")) {
            text = text.replace(&format!("typedef struct {name} {{"), "typedef struct {");
            text = text.replace(&format!("struct {name} "), &format!("{name} "));
        }
    }
    text
}

/// Seconds since 1970 as `Nov 27 2026 08:30:00`, in UTC, as C's `__DATE__` and `__TIME__`. Days are
/// turned into the civil calendar as in Hinnant, "chrono-Compatible Low-Level Date Algorithms": years
/// start in March, eras have 400 of them.
fn date_and_time(seconds: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, time) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month_from_march >= 10);
    let month = MONTHS[month_from_march as usize];
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{month} {day:2} {year:04} {hour:02}:{minute:02}:{second:02}")
}

/// When the build is: what SOURCE_DATE_EPOCH says, for builds that can be repeated, or now.
fn built() -> String {
    let stated = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    date_and_time(stated.unwrap_or_else(now))
}

/// The file of a header, then its rooms in the order in which that file names them: `mod room;`
/// stands for `<name>/room.rs`, `use compat::room;` for `<name>/compat/room.rs`.
fn sources(headers: &Path, name: &str) -> Vec<PathBuf> {
    let file = format!("{name}.rs");
    let folder = if headers.join(&file).exists() { headers } else { &headers.join("compat") };
    let main = folder.join(file);
    let text = fs::read_to_string(&main).unwrap_or_else(|e| panic!("{}: {e}", main.display()));
    let rooms = text.lines().filter_map(|line| {
        let line = line.strip_suffix(';')?.trim_start_matches("pub(crate) ");
        let line = line.trim_start_matches("pub ");
        let old = line.strip_prefix("use compat::").map(|room| format!("compat/{room}.rs"));
        old.or_else(|| line.strip_prefix("mod ").map(|room| format!("{room}.rs")))
    });
    let rooms: Vec<_> = rooms.map(|room| folder.join(name).join(room)).collect();
    std::iter::once(main).chain(rooms).collect()
}

fn public_items(source: &str) -> Vec<String> {
    let name = |line: &str| {
        ["pub struct ", "pub enum ", "pub type ", "pub union "].iter().find_map(|kind| {
            let rest = line.strip_prefix(kind)?;
            Some(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?.to_string())
        })
    };
    source.lines().filter_map(name).collect()
}

fn write_if_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
