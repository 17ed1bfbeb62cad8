//! Every counted point of every main path fails once by refused memory and once by a panic: the
//! call returns its error value, nothing is lost, and the same call works the next time.
//! `cargo test --features fault-injection --test faults`

#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]

use cllm::headers::blocks_of_c;
use cllm::headers::cllm::models::{cllm_create_model, cllm_write_model};
use cllm::headers::cllm::{CLLMConfig, CLLMModel};
use cllm::headers::cllm_data_loader::*;
use cllm::headers::cllm_ext::evaluation::cllm_evaluate;
use cllm::headers::cllm_ext::generation::{cllm_inference_set_threads, cllm_set_seed};
use cllm::headers::cllm_ext::library::{cllm_last_error, cllm_set_log_silent};
use cllm::headers::cllm_ext::training::cllm_train_steps;
use cllm::headers::cllm_format::files::cllm_read_model;
use cllm::headers::cllm_inference::context::{
    cllm_inference_cleanup, cllm_inference_init, cllm_set_max_tokens,
};
use cllm::headers::cllm_inference::generation::{cllm_forward, cllm_generate};
use cllm::headers::cllm_production::checkpoints::{load_checkpoint, save_checkpoint};
use cllm::headers::cllm_tokenizer::*;
use cllm::headers::cllm_training::checkpoints::{cllm_load_checkpoint, cllm_save_checkpoint};
use cllm::headers::cllm_training::lifecycle::{cllm_training_free, cllm_training_init};
use cllm::headers::cllm_training::{CLLMTraining, CLLMTrainingConfig};
use cllm::headers::cllm_utils::models::cllm_free_model;
use cllm::headers::cllm_vocab_builder::cllm_tokenize_with_vocab;
use cllm_kernels::fault::{Fault, arm, disarm};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

/// Bytes of Rust's heap in use.
struct Counting;

static BYTES: AtomicI64 = AtomicI64::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as i64, SeqCst);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, SeqCst);
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

unsafe fn free(block: *mut c_void) {
    FREED.fetch_add(1, SeqCst);
    unsafe { libc::free(block) };
}

/// Blocks of the library's that this program freed by itself.
static FREED: AtomicI64 = AtomicI64::new(0);

/// What is in use: blocks of C, bytes of Rust's heap. The text of the last error is one of the
/// bytes, so it is made the same one first.
fn in_use() -> (i64, i64) {
    unsafe { assert!(cllm_read_model(std::ptr::null()).is_null()) };
    (blocks_of_c() - FREED.load(SeqCst), BYTES.load(SeqCst))
}

/// The objects that most steps work on.
struct World {
    model: *mut CLLMModel,
    training: *mut CLLMTraining,
    context: *mut cllm::headers::cllm_inference::CLLMInference,
    tokenizer: *mut CLLMTokenizer,
    files: [CString; 6],
    tokens: Vec<u32>,
}

fn config() -> CLLMConfig {
    CLLMConfig {
        vocab_size: 12,
        embedding_dim: 8,
        num_layers: 2,
        num_heads: 2,
        ff_dim: 6,
        max_seq_len: 8,
        dropout: 0.0,
    }
}

unsafe fn training_of(model: *mut CLLMModel, tokens: &[u32]) -> *mut CLLMTraining {
    unsafe {
        let mut config: CLLMTrainingConfig = std::mem::zeroed();
        config.learning_rate = 0.01;
        config.batch_size = 2;
        config.sequence_length = 4;
        config.gradient_accumulation_steps = 2;
        let training = cllm_training_init(model, &mut config);
        if !training.is_null() {
            (*training).tokens = tokens.as_ptr().cast_mut();
            (*training).num_tokens = tokens.len();
        }
        training
    }
}

impl World {
    fn new(folder: &Path) -> Self {
        let names = ["model", "run", "production", "vocab", "ids", "text"];
        let files = names.map(|n| CString::new(folder.join(n).to_str().unwrap()).unwrap());
        std::fs::write(folder.join("text"), "one two three\nfour five").unwrap();
        let tokens: Vec<u32> = (0..400).map(|i| i * i % 12).collect();
        unsafe {
            let model = cllm_create_model(&config());
            let training = training_of(model, &tokens);
            let context = cllm_inference_init(model);
            cllm_set_max_tokens(context, 4);
            let tokenizer = cllm_create_tokenizer(50);
            cllm_build_vocab(tokenizer, c"one two three".as_ptr());
            let world = Self { model, training, context, tokenizer, files, tokens };
            assert_eq!(cllm_write_model(model, world.file(0)), 0);
            assert_eq!(cllm_save_checkpoint(training, world.file(1)), 0);
            assert_eq!(save_checkpoint(training, world.file(2)), 0);
            assert_eq!(cllm_save_vocab(tokenizer, world.file(3)), 1);
            let mut set: TokenDataset = std::mem::zeroed();
            (set.tokens, set.num_tokens) = (world.tokens.as_ptr().cast_mut(), 400);
            assert_eq!(cllm_token_dataset_save(&mut set, world.file(4)), 1);
            world
        }
    }

    fn file(&self, i: usize) -> *const c_char {
        self.files[i].as_ptr()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        unsafe {
            cllm_free_tokenizer(self.tokenizer);
            cllm_inference_cleanup(self.context);
            cllm_training_free(self.training);
            cllm_free_model(self.model);
        }
    }
}

/// One path: what it calls while faults are on, and what it does afterwards with the result.
/// True: it did all that it should; false: it returned its error value.
struct Step {
    name: &'static str,
    run: unsafe fn(&World) -> bool,
}

/// Runs `f` with the faults on only inside it; frees come after.
const STEPS: &[Step] = &[
    Step {
        name: "cllm_create_model",
        run: |_| unsafe {
            let model = cllm_create_model(&config());
            let points = disarm();
            cllm_free_model(model);
            POINTS.store(points as i64, SeqCst);
            !model.is_null()
        },
    },
    Step {
        name: "cllm_training_init",
        run: |w| unsafe {
            let training = training_of(w.model, &w.tokens);
            POINTS.store(disarm() as i64, SeqCst);
            cllm_training_free(training);
            !training.is_null()
        },
    },
    Step {
        name: "cllm_train_steps in a new object, one thread",
        run: |w| unsafe { train_new(w, 1) },
    },
    Step {
        name: "cllm_train_steps in a new object, three threads",
        run: |w| unsafe { train_new(w, 3) },
    },
    Step {
        name: "cllm_train_steps",
        run: |w| unsafe { cllm_train_steps(w.training, 2, 2, null_mut()) >= 0 },
    },
    Step {
        name: "cllm_write_model",
        run: |w| unsafe { cllm_write_model(w.model, w.file(0)) == 0 },
    },
    Step {
        name: "cllm_read_model",
        run: |w| unsafe {
            let model = cllm_read_model(w.file(0));
            POINTS.store(disarm() as i64, SeqCst);
            cllm_free_model(model);
            !model.is_null()
        },
    },
    Step {
        name: "cllm_save_checkpoint",
        run: |w| unsafe { cllm_save_checkpoint(w.training, w.file(1)) == 0 },
    },
    Step {
        name: "cllm_load_checkpoint",
        run: |w| unsafe { cllm_load_checkpoint(w.training, w.file(1)) == 0 },
    },
    Step {
        name: "save_checkpoint",
        run: |w| unsafe { save_checkpoint(w.training, w.file(2)) == 0 },
    },
    Step {
        name: "load_checkpoint",
        run: |w| unsafe { load_checkpoint(w.training, w.file(2)) == 0 },
    },
    Step {
        name: "cllm_inference_init, cllm_forward and cllm_generate",
        run: |w| unsafe {
            let context = cllm_inference_init(w.model);
            let mut text = [0; 200];
            let mut ok = !context.is_null();
            if ok {
                let mut prompt = [1, 2, 3];
                ok = cllm_inference_set_threads(context, 2) == 0;
                (*context).logits.write(f32::NAN);
                cllm_forward(context, prompt.as_mut_ptr(), 3);
                ok = ok && !(*context).logits.read().is_nan();
                let n = cllm_generate(context, c"token_1 token_2".as_ptr(), text.as_mut_ptr(), 200);
                ok = ok && n > 0;
            }
            POINTS.store(disarm() as i64, SeqCst);
            cllm_inference_cleanup(context);
            ok
        },
    },
    Step {
        name: "cllm_generate",
        run: |w| unsafe {
            let mut text = [0; 200];
            cllm_set_seed(w.context, 1) == 0
                && cllm_generate(w.context, c"token_1".as_ptr(), text.as_mut_ptr(), 200) > 0
        },
    },
    Step {
        name: "cllm_evaluate",
        run: |w| unsafe {
            let (mut loss, mut perplexity) = (f64::NAN, f64::NAN);
            let t = w.tokens.as_ptr();
            cllm_evaluate(w.model, t, 60, 8, 2, &mut loss, &mut perplexity) >= 0 && loss > 0.0
        },
    },
    Step {
        name: "cllm_create_tokenizer",
        run: |_| unsafe {
            let tokenizer = cllm_create_tokenizer(30);
            POINTS.store(disarm() as i64, SeqCst);
            cllm_free_tokenizer(tokenizer);
            !tokenizer.is_null()
        },
    },
    Step {
        name: "cllm_build_vocab and cllm_load_vocab in a new tokenizer",
        run: |w| unsafe {
            let points = disarm();
            let tokenizer = cllm_create_tokenizer(30);
            rearm(points);
            cllm_build_vocab(tokenizer, c"some more words".as_ptr());
            let ok = cllm_load_vocab(tokenizer, w.file(3)) == 1;
            POINTS.store(disarm() as i64, SeqCst);
            let ok = ok && cllm_get_vocab_size(tokenizer) == 11;
            cllm_free_tokenizer(tokenizer);
            ok
        },
    },
    Step {
        name: "cllm_save_vocab",
        run: |w| unsafe { cllm_save_vocab(w.tokenizer, w.file(3)) == 1 },
    },
    Step {
        name: "cllm_tokenizer_encode and cllm_tokenizer_decode",
        run: |w| unsafe {
            let mut count = 0;
            let ids = cllm_tokenizer_encode(w.tokenizer, c"one two".as_ptr(), &mut count);
            let text =
                if ids.is_null() { null_mut() } else { cllm_tokenizer_decode(w.tokenizer, ids, 2) };
            POINTS.store(disarm() as i64, SeqCst);
            let ok = !ids.is_null() && !text.is_null() && CStr::from_ptr(text) == c"one two";
            for block in [ids.cast::<c_void>(), text.cast()] {
                if !block.is_null() {
                    free(block);
                }
            }
            ok
        },
    },
    Step {
        name: "cllm_tokenize_with_vocab",
        run: |w| unsafe {
            let mut ids = [0; 9];
            let text = c"token_1 token_2 token_3".as_ptr();
            cllm_tokenize_with_vocab(w.model, text, ids.as_mut_ptr(), 9) == 3
        },
    },
    Step {
        name: "cllm_token_dataset_load",
        run: |w| unsafe {
            let set = cllm_token_dataset_load(w.file(4));
            POINTS.store(disarm() as i64, SeqCst);
            let ok = !set.is_null();
            cllm_token_dataset_free(set);
            ok
        },
    },
    Step {
        name: "a data loader from file to data set",
        run: |w| unsafe {
            let loader = cllm_data_loader_create(w.tokenizer);
            let ok = !loader.is_null() && cllm_data_loader_load_file(loader, w.file(5)) == 1;
            let set = if ok { cllm_data_loader_create_dataset(loader) } else { null_mut() };
            POINTS.store(disarm() as i64, SeqCst);
            let ok = !set.is_null() && (*set).num_tokens >= 5;
            cllm_token_dataset_free(set);
            cllm_data_loader_free(loader);
            ok
        },
    },
];

static POINTS: AtomicI64 = AtomicI64::new(-1);
static NOW: std::sync::Mutex<(u64, Fault)> = std::sync::Mutex::new((0, Fault::Memory));

/// Goes on where a step had to switch the faults off: only at its start, so nothing was counted.
fn rearm(points: u64) {
    assert_eq!(points, 0);
    let (n, fault) = *NOW.lock().unwrap();
    arm(n, fault);
}

unsafe fn train_new(w: &World, threads: i32) -> bool {
    unsafe {
        let points = disarm();
        let model = cllm_create_model(&config());
        let training = training_of(model, &w.tokens);
        rearm(points);
        let done = cllm_train_steps(training, 3, threads, null_mut());
        POINTS.store(disarm() as i64, SeqCst);
        let m = &*model;
        let weights = std::slice::from_raw_parts(m.weights, m.num_weights as usize);
        assert!(weights.iter().all(|x| x.is_finite()));
        // What failed once goes on in the same object.
        assert_eq!(cllm_train_steps(training, 2, threads, null_mut()), 2);
        cllm_training_free(training);
        cllm_free_model(model);
        done == 3
    }
}

/// Runs a step with point `n` failing; whether it worked, and how many points there were.
fn run(step: &Step, world: &World, n: u64, fault: Fault) -> (bool, u64) {
    *NOW.lock().unwrap() = (n, fault);
    POINTS.store(-1, SeqCst);
    arm(n, fault);
    let ok = unsafe { (step.run)(world) };
    let points = disarm();
    let inside = POINTS.load(SeqCst);
    (ok, if inside >= 0 { inside as u64 } else { points })
}

#[test]
fn every_point_of_every_path() {
    cllm_set_log_silent();
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (mut faults, mut errors, mut lost) = (0, 0, Vec::new());
    for step in STEPS {
        // Freed objects are kept back for a while, so the first ones seem to be lost.
        for _ in 0..70 {
            assert!(run(step, &world, 0, Fault::Memory).0, "{}", step.name);
        }
        let mut before = in_use();
        assert!(run(step, &world, 0, Fault::Memory).0);
        assert_eq!(in_use(), before, "{} does not come back to what it was", step.name);
        let (_, points) = run(step, &world, 0, Fault::Memory);
        assert!(points > 0, "{} has no points", step.name);
        let mut absorbed = 0;
        for n in 1..=points {
            for fault in [Fault::Memory, Fault::Panic] {
                let (ok, _) = run(step, &world, n, fault);
                faults += 1;
                if ok {
                    absorbed += 1;
                } else {
                    errors += 1;
                    let text = unsafe { CStr::from_ptr(cllm_last_error()) };
                    assert!(!text.is_empty());
                }
                assert!(
                    run(step, &world, 0, fault).0,
                    "{}: not the next time after {fault:?} at {n}",
                    step.name
                );
                // A worker's queue may grow once; what is lost is lost each time.
                let each_time = (0..4).all(|_| {
                    let after = in_use();
                    let more = after != before;
                    before = after;
                    if more {
                        run(step, &world, n, fault);
                        run(step, &world, 0, fault);
                    }
                    more
                });
                if each_time {
                    lost.push(format!("{}: {fault:?} at point {n}", step.name));
                    before = in_use();
                }
            }
        }
        eprintln!("{}: {points} points, {absorbed} faults without consequence", step.name);
    }
    assert!(lost.is_empty(), "lost memory: {lost:#?}");
    assert!(std::fs::read_dir(folder.path()).unwrap().count() < 10, "temporary files stay");
    eprintln!("{faults} faults injected, {errors} error values");
}
