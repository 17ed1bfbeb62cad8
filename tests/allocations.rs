//! A training step and a decoding step allocate nothing once their buffers are there.

#![allow(unsafe_code)]

use cllm::headers::cllm::models::cllm_create_model;
use cllm::headers::cllm::{CLLMConfig, CLLMModel};
use cllm::headers::cllm_ext::generation::cllm_inference_set_threads;
use cllm::headers::cllm_ext::training::cllm_train_steps;
use cllm::headers::cllm_format::files::cllm_read_model;
use cllm::headers::cllm_inference::context::{cllm_inference_cleanup, cllm_inference_init};
use cllm::headers::cllm_inference::generation::{cllm_forward, cllm_sample_token};
use cllm::headers::cllm_training::CLLMTrainingConfig;
use cllm::headers::cllm_training::lifecycle::{cllm_training_free, cllm_training_init};
use cllm::headers::cllm_utils::models::cllm_free_model;
use cllm_engine::train::{Corpus, Trainer, TrainerConfig, TrainingPrecision, TrainingWeights};
use cllm_engine::{Model, ModelConfig, Pool};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Set by the environment variable `CLLM_SHOW_ALLOCATIONS`: print where they happen.
static SHOW: AtomicBool = AtomicBool::new(false);

fn count(layout: Layout) {
    if COUNTING.load(SeqCst) {
        COUNT.fetch_add(1, SeqCst);
        if SHOW.load(SeqCst) {
            COUNTING.store(false, SeqCst);
            eprintln!("{} bytes at\n{}", layout.size(), std::backtrace::Backtrace::force_capture());
            COUNTING.store(true, SeqCst);
        }
    }
}

// SAFETY: the system's allocator, and a counter.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of all threads while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    COUNT.store(0, SeqCst);
    COUNTING.store(true, SeqCst);
    work();
    COUNTING.store(false, SeqCst);
    COUNT.load(SeqCst)
}

const CONTEXT: usize = 64;
/// Long enough for attention to be computed in parts.
const DECODED: usize = 300;

/// Has the library start its threads and waits until they have what they need: one that comes to
/// its first loop late must not be counted.
fn start_threads(threads: i32) {
    let pool = Pool::shared(threads as usize);
    let here = std::sync::Barrier::new(pool.threads());
    pool.for_each(pool.threads(), |_| {
        here.wait();
    });
}

/// Large enough that a single token is worth several threads.
fn model(context: usize) -> *mut CLLMModel {
    let config = CLLMConfig {
        vocab_size: 300,
        embedding_dim: 192,
        num_layers: 4,
        num_heads: 4,
        ff_dim: 1536,
        max_seq_len: context as u32,
        dropout: 0.0,
    };
    // SAFETY: the config lives through the call.
    let model = unsafe { cllm_create_model(&config) };
    assert!(!model.is_null());
    model
}

/// The same of the modern block, as a Rust program writes it.
fn modern_model(context: usize) -> *mut CLLMModel {
    let config = ModelConfig {
        vocab: 300,
        dim: 192,
        heads: 4,
        hidden: 1536,
        context,
        ..ModelConfig::modern()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("modern.cllm");
    Model::new(&config, 1).unwrap().write(&path).unwrap();
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    let model = unsafe { cllm_read_model(path.as_ptr()) };
    assert!(!model.is_null());
    model
}

fn training_steps(threads: i32, window: i32, model: fn(usize) -> *mut CLLMModel) {
    // SAFETY: plain numbers; zero is one of them.
    let mut config: CLLMTrainingConfig = unsafe { std::mem::zeroed() };
    config.learning_rate = 1e-3;
    config.batch_size = 8;
    config.sequence_length = CONTEXT as i32;
    config.weight_decay = 0.01;
    config.gradient_clip = 1.0;
    config.gradient_accumulation_steps = window;
    let mut tokens: Vec<u32> = (0..20_000u32).map(|i| i * i % 300).collect();
    // SAFETY: all objects live to the end; the tokens are lent.
    unsafe {
        let model = model(CONTEXT);
        let training = cllm_training_init(model, &mut config);
        (*training).tokens = tokens.as_mut_ptr();
        (*training).num_tokens = tokens.len();
        let mut loss = 0f32;
        let first = allocations(|| {
            assert_eq!(cllm_train_steps(training, window, threads, &mut loss), window);
        });
        assert!(first > 0, "the counter counts");
        for _ in 0..3 {
            let later = allocations(|| {
                assert_eq!(cllm_train_steps(training, window, threads, &mut loss), window);
            });
            assert_eq!(later, 0, "{threads} threads, windows of {window}");
        }
        (*training).tokens = std::ptr::null_mut();
        cllm_training_free(training);
        cllm_free_model(model);
    }
}

/// Windows at random offsets, dropout and bfloat16, which no C configuration asks for.
fn steps_of_a_recipe(threads: usize, precision: TrainingPrecision) {
    let ids: Vec<u32> = (0..20_000u32).map(|i| i * i % 300).collect();
    let config = ModelConfig {
        vocab: 300,
        dim: 64,
        heads: 4,
        hidden: 256,
        context: CONTEXT,
        ..ModelConfig::modern()
    };
    let mut weights = TrainingWeights::new(Model::new(&config, 1).unwrap());
    let config = TrainerConfig { dropout: 0.1, precision, ..TrainerConfig::default() };
    let mut trainer = Trainer::new(config);
    let corpus = Corpus::new(&ids, 8, CONTEXT).unwrap().shuffled(1);
    let pool = Pool::shared(threads);
    let mut step = || {
        trainer.next_step(&pool, &mut weights, &corpus, 1e-3).unwrap();
    };
    assert!(allocations(&mut step) > 0);
    for _ in 0..3 {
        assert_eq!(allocations(&mut step), 0, "{threads} threads");
    }
}

fn decoding_steps(threads: i32, model: fn(usize) -> *mut CLLMModel) {
    let mut tokens: Vec<u32> = (0..DECODED as u32).collect();
    // SAFETY: all objects live to the end.
    unsafe {
        let model = model(DECODED);
        let inference = cllm_inference_init(model);
        assert_eq!(cllm_inference_set_threads(inference, threads), 0);
        let step = |tokens: &mut [u32]| {
            cllm_forward(inference, tokens.as_mut_ptr(), tokens.len() as i32);
            cllm_sample_token(inference, (*inference).logits)
        };
        let first = allocations(|| {
            step(&mut tokens[..3]);
        });
        assert!(first > 0, "the counter counts");
        for n in 4..=DECODED {
            let later = allocations(|| {
                assert!(step(&mut tokens[..n]) < 300);
            });
            assert_eq!(later, 0, "position {n}, {threads} threads");
        }
        cllm_inference_cleanup(inference);
        cllm_free_model(model);
    }
}

/// One test, since others would be counted too.
#[test]
fn steps_after_the_first_allocate_nothing() {
    SHOW.store(std::env::var_os("CLLM_SHOW_ALLOCATIONS").is_some(), SeqCst);
    for threads in [1, 2] {
        start_threads(threads);
        for model in [model, modern_model] {
            decoding_steps(threads, model);
            training_steps(threads, 1, model);
            training_steps(threads, 3, model);
        }
        for precision in [TrainingPrecision::F32, TrainingPrecision::Bf16] {
            if precision.is_available() {
                steps_of_a_recipe(threads as usize, precision);
            }
        }
    }
}
