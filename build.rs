//! Generates the C headers and names the shared library.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// One public header: `include/<name>.h`, generated from `src/headers/<name>.rs` (or, for a header
/// of the original library alone, `src/headers/compat/<name>.rs`) and, where that file is split,
/// from the files in the folder of the same name.
struct Header {
    /// Without `.h`; with the folder, where it stands in one.
    name: &'static str,
    /// System headers it needs.
    system: &'static [&'static str],
    /// Headers of ours it needs.
    local: &'static [&'static str],
    /// What cbindgen can't express, after the includes.
    after_includes: &'static str,
}

const STD: &[&str] = &["stdbool.h", "stddef.h", "stdint.h"];
/// `<math.h>` first, so that the constants that it may define are not defined twice, whichever way
/// a program orders its includes.
const MATH: &[&str] = &["math.h", "stdbool.h", "stddef.h", "stdint.h"];
const STD_TIME: &[&str] = &["stdbool.h", "stddef.h", "stdint.h", "time.h"];

const PRIME_FLOAT_MATH: &str = "
/** pi; <math.h> has it too, but not in strict C11. */
#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

/** e. */
#ifndef M_E
#define M_E 2.71828182845904523536
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
#endif";

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
    Header { name: "cllm", system: STD, local: &[], after_includes: WORDS },
    Header { name: "cllm_inference", system: STD, local: &["cllm.h"], after_includes: "" },
    Header { name: "cllm_format", system: STD, local: &["cllm.h"], after_includes: "" },
    Header { name: "cllm_tokenizer", system: STD, local: &[], after_includes: "" },
    Header {
        name: "cllm_data_loader",
        system: STD,
        local: &["cllm_tokenizer.h"],
        after_includes: "",
    },
    Header { name: "cllm_training", system: STD_TIME, local: &["cllm.h"], after_includes: "" },
    Header {
        name: "cllm_training_mt",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header { name: "cllm_utils", system: STD, local: &["cllm.h"], after_includes: "" },
    Header { name: "cllm_batch", system: STD, local: &["cllm.h"], after_includes: "" },
    Header {
        name: "cllm_training_parallel",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header { name: "cllm_metrics", system: STD, local: &[], after_includes: METRICS },
    Header {
        name: "cllm_training_threaded",
        system: STD,
        local: &["cllm_training.h", "cllm_batch.h", "cllm_metrics.h"],
        after_includes: "",
    },
    Header {
        name: "ai/cllm_hierarchical_training",
        system: STD,
        local: &["../cllm_training.h", "../cllm_batch.h"],
        after_includes: "",
    },
    Header { name: "cllm_model_manager", system: STD, local: &["cllm.h"], after_includes: "" },
    Header { name: "cllm_vocab_builder", system: STD, local: &["cllm.h"], after_includes: "" },
    Header {
        name: "cllm_production",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header { name: "cllm_fp16", system: STD, local: &[], after_includes: "" },
    Header {
        name: "cllm_train_complete",
        system: STD,
        local: &["cllm_training.h"],
        after_includes: "",
    },
    Header { name: "cllm_simd_utils", system: STD, local: &[], after_includes: "" },
    Header { name: "prime_float_math", system: MATH, local: &[], after_includes: PRIME_FLOAT_MATH },
    Header { name: "prime_types", system: MATH, local: &[], after_includes: PRIME_TYPES },
    Header {
        name: "cllm_ext",
        system: STD,
        local: &["cllm.h", "cllm_inference.h", "cllm_training.h", "cllm_tokenizer.h"],
        after_includes: EXT,
    },
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cbindgen.toml");
    println!("cargo::rerun-if-changed=src/headers");
    println!("cargo::rerun-if-env-changed=CLLM_WRITE_HEADERS");
    println!("cargo::rerun-if-env-changed=CARGO_C_CARGO");

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let committed = env::var_os("CLLM_WRITE_HEADERS").map(|_| root.join("include"));
    for header in HEADERS {
        let text = generate(&root, header);
        let file = format!("{}.h", header.name);
        write_if_changed(&out.join(&file), &text);
        if let Some(dir) = &committed {
            write_if_changed(&dir.join(&file), &text);
        }
    }

    // For the tests that compile programs in C.
    println!("cargo::rustc-env=CLLM_TARGET={}", env::var("TARGET").expect("cargo sets it"));

    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // cargo-c gives the same name by itself.
        if env::var_os("CARGO_C_CARGO").is_none() {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcllm.so.1");
        }
        println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
        // dlclose() leaves the library where it is: its threads and exit handlers run its code.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}

fn generate(root: &Path, header: &Header) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml"))
        .unwrap_or_else(|e| panic!("cbindgen.toml: {e}"));
    let file = header.name.rsplit('/').next().unwrap_or(header.name);
    config.include_guard = Some(format!("{}_H", file.to_uppercase()));
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
    // What Rust calls the safety of a function is its precondition in C.
    text.replace(" * # Safety\n * ", " * @pre ")
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
    let written = fs::create_dir_all(path.parent().unwrap_or(Path::new(".")));
    written
        .and_then(|()| fs::write(path, text))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
