//! The library from many threads at once, through the C functions: the results are those of one
//! thread. `make test-tsan` runs this under ThreadSanitizer.

#![allow(unsafe_code)]

use cllm::headers::cllm::models::{cllm_create_model, cllm_write_model};
use cllm::headers::cllm::{CLLMConfig, CLLMModel};
use cllm::headers::cllm_data_loader::*;
use cllm::headers::cllm_ext::evaluation::cllm_evaluate;
use cllm::headers::cllm_ext::generation::{cllm_inference_set_threads, cllm_set_seed};
use cllm::headers::cllm_ext::library::{cllm_last_error, cllm_set_log_callback};
use cllm::headers::cllm_ext::mapping::{cllm_map_model, cllm_model_is_mapped};
use cllm::headers::cllm_ext::precision::cllm_quantize_model;
use cllm::headers::cllm_ext::training::cllm_train_steps;
use cllm::headers::cllm_format::files::cllm_read_model;
use cllm::headers::cllm_format::lattice::cllm_token_to_prime;
use cllm::headers::cllm_inference::context::{
    cllm_inference_cleanup, cllm_inference_init, cllm_set_max_tokens,
};
use cllm::headers::cllm_inference::generation::{cllm_forward, cllm_generate};
use cllm::headers::cllm_tokenizer::*;
use cllm::headers::cllm_training::CLLMTrainingConfig;
use cllm::headers::cllm_training::lifecycle::{cllm_training_free, cllm_training_init};
use cllm::headers::cllm_utils::models::cllm_free_model;
use cllm::headers::cllm_vocab_builder::cllm_tokenize_with_vocab;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

const VOCAB: usize = 30;
const CONFIG: CLLMConfig = CLLMConfig {
    vocab_size: VOCAB as u32,
    embedding_dim: 16,
    num_layers: 2,
    num_heads: 2,
    ff_dim: 32,
    max_seq_len: 8,
    dropout: 0.0,
};

/// Large enough that a single token is worth several threads.
const WIDE: CLLMConfig = CLLMConfig { embedding_dim: 384, ff_dim: 768, ..CONFIG };

/// A model that threads share, as C programs do.
#[derive(Clone, Copy)]
struct Shared(*mut CLLMModel);
// SAFETY: the functions that the threads call with it may be called so; that is what is tested.
unsafe impl Send for Shared {}
// SAFETY: likewise.
unsafe impl Sync for Shared {}

impl Shared {
    fn get(self) -> *mut CLLMModel {
        self.0
    }
}

/// A model whose weights follow from `k`.
fn model(k: u32, config: &CLLMConfig) -> Shared {
    let positions = (config.max_seq_len * config.embedding_dim) as usize;
    // SAFETY: live objects; the arrays have those sizes.
    unsafe {
        let m = cllm_create_model(config);
        let weights = std::slice::from_raw_parts_mut((*m).weights, (*m).num_weights as usize);
        for (i, w) in (0u32..).zip(weights) {
            *w = ((i.wrapping_mul(2_654_435_761) >> 16 ^ k) % 1000) as f32 / 5000.0 - 0.1;
        }
        std::slice::from_raw_parts_mut((*m).pos_encoding.learned_positions, positions).fill(0.01);
        Shared(m)
    }
}

fn weights(m: Shared) -> Vec<u32> {
    // SAFETY: a live model.
    let block = unsafe { std::slice::from_raw_parts((*m.0).weights, (*m.0).num_weights as usize) };
    block.iter().map(|x| x.to_bits()).collect()
}

fn tokens() -> Vec<u32> {
    (0..120u32).map(|i| (i * i / 3) % VOCAB as u32).collect()
}

/// Logits and a text from a context of its own.
fn ask(m: Shared, seed: u64, threads: c_int) -> (Vec<u32>, String) {
    // SAFETY: live objects, arrays of the sizes that are passed.
    unsafe {
        let context = cllm_inference_init(m.0);
        if threads > 1 {
            assert_eq!(cllm_inference_set_threads(context, threads), 0);
        }
        let mut prompt = [5, 9, 1, 20];
        cllm_forward(context, prompt.as_mut_ptr(), 4);
        let logits = std::slice::from_raw_parts((*context).logits, VOCAB);
        let logits = logits.iter().map(|x| x.to_bits()).collect();
        cllm_set_seed(context, seed);
        cllm_set_max_tokens(context, 12);
        let mut out = [0 as c_char; 300];
        assert!(cllm_generate(context, c"token_5 token_9".as_ptr(), out.as_mut_ptr(), 300) > 0);
        let text = CStr::from_ptr(out.as_ptr()).to_str().unwrap().to_string();
        cllm_inference_cleanup(context);
        (logits, text)
    }
}

fn train(k: u32, threads: c_int) -> Vec<u32> {
    let tokens = tokens();
    let m = model(k, &CONFIG);
    // SAFETY: live objects; the tokens outlive the training.
    unsafe {
        let mut config: CLLMTrainingConfig = std::mem::zeroed();
        config.learning_rate = 0.01;
        config.batch_size = 3;
        config.sequence_length = 8;
        config.gradient_accumulation_steps = 2;
        let t = cllm_training_init(m.0, &mut config);
        (*t).tokens = tokens.as_ptr().cast_mut();
        (*t).num_tokens = tokens.len();
        // Two epochs, each of which ends in a call that finds no batch left.
        for _ in 0..2 {
            assert!(cllm_train_steps(t, 0, threads, null_mut()) > 0);
            assert_eq!(cllm_train_steps(t, 0, threads, null_mut()), 0);
        }
        let trained = weights(m);
        cllm_training_free(t);
        cllm_free_model(m.0);
        trained
    }
}

fn at_once(threads: usize, work: impl Fn(usize) + Sync) {
    let work = &work;
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|i| scope.spawn(move || work(i))).collect();
        all.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// Eight threads with contexts of their own over one model, which is freed in the end; the first answer
/// of one thread alone.
fn share(m: Shared) -> (Vec<u32>, String) {
    let mut expected: Vec<_> = (0..3).map(|seed| ask(m, seed, 1)).collect();
    assert_ne!(expected[0].1, expected[1].1);
    let (mut loss, mut perplexity) = (0.0, 0.0);
    let tokens = tokens();
    // SAFETY: live objects.
    let evaluate = |loss: &mut f64, perplexity: &mut f64, threads| unsafe {
        cllm_evaluate(m.get(), tokens.as_ptr(), tokens.len(), 8, threads, loss, perplexity)
    };
    assert_eq!(evaluate(&mut loss, &mut perplexity, 1), 0);
    at_once(8, |i| {
        for round in 0..6 {
            let seed = (i + round) % 3;
            assert!(ask(m, seed as u64, 1 + (i + round) as c_int % 3) == expected[seed]);
            let (mut again, mut p) = (0.0, 0.0);
            assert_eq!(evaluate(&mut again, &mut p, 1 + round as c_int % 3), 0);
            assert_eq!(again.to_bits(), loss.to_bits());
            let mut ids = [0; 3];
            // SAFETY: a live model, room for three ids.
            let n = unsafe {
                let text = c"token_3 token_4".as_ptr();
                cllm_tokenize_with_vocab(m.get(), text, ids.as_mut_ptr(), 3)
            };
            assert_eq!((n, ids[0], ids[1]), (2, 3, 4));
        }
    });
    // SAFETY: nobody uses it any more.
    unsafe { cllm_free_model(m.0) };
    expected.swap_remove(0)
}

#[test]
fn contexts_share_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = CString::new(dir.path().join("model.cllm").to_str().unwrap()).unwrap();
    let m = model(1, &WIDE);
    // SAFETY: a live model, paths that end with NUL.
    let (mapped, small) = unsafe {
        assert_eq!(cllm_write_model(m.0, path.as_ptr()), 0);
        (Shared(cllm_map_model(path.as_ptr())), Shared(cllm_quantize_model(m.0, 0)))
    };
    // SAFETY: a live model.
    assert!(unsafe { cllm_model_is_mapped(mapped.0) } == 1 && !small.0.is_null());
    let floats = share(m);
    assert!(share(mapped) == floats);
    assert_ne!(share(small).0, floats.0);
}

#[test]
fn trainings_side_by_side() {
    let expected: Vec<_> = (0..4).map(|k| train(k, 1)).collect();
    // They share the process's threads: one pool for two threads, one for three.
    at_once(4, |i| {
        for threads in [2, 3, 1] {
            assert!(train(i as u32, threads) == expected[i], "{i} with {threads} threads");
        }
    });
}

#[test]
fn objects_are_made_and_freed_everywhere() {
    at_once(8, |i| {
        for _ in 0..20 {
            let m = model(i as u32, &CONFIG);
            // SAFETY: live objects; freed by another thread than the one that made them.
            unsafe {
                let k = cllm_create_tokenizer(50);
                cllm_build_vocab(k, c"some words for a tokenizer".as_ptr());
                let loader = cllm_data_loader_create(k);
                let objects = (m, k.expose_provenance(), loader.expose_provenance());
                assert!(cllm_read_model(std::ptr::null()).is_null());
                thread::scope(|scope| {
                    scope.spawn(move || {
                        let (m, k, loader) = objects;
                        let k = std::ptr::with_exposed_provenance_mut::<CLLMTokenizer>(k);
                        assert_eq!(cllm_find_token(k, c"words".as_ptr()), 6);
                        cllm_data_loader_free(std::ptr::with_exposed_provenance_mut(loader));
                        cllm_free_tokenizer(k);
                        cllm_free_model(m.get());
                        assert!(cllm_inference_init(null_mut()).is_null());
                        let error = CStr::from_ptr(cllm_last_error());
                        assert!(error.to_bytes().starts_with(b"cllm_inference_init"));
                    });
                });
                // The other thread's error was not this one's.
                assert!(
                    CStr::from_ptr(cllm_last_error()).to_bytes().starts_with(b"cllm_read_model")
                );
            }
        }
    });
}

#[test]
fn files_and_tables_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        |n: usize| CString::new(folder.path().join(n.to_string()).to_str().unwrap()).unwrap();
    at_once(6, |i| {
        let m = model(i as u32, &CONFIG);
        for _ in 0..3 {
            // Two threads write to each name, and all read.
            // SAFETY: live objects.
            unsafe {
                assert_eq!(cllm_write_model(m.get(), path(i / 2).as_ptr()), 0);
                let read = Shared(cllm_read_model(path(i / 2).as_ptr()));
                assert!(!read.get().is_null());
                let (even, odd) = (model(i as u32 & !1, &CONFIG), model(i as u32 | 1, &CONFIG));
                let found = weights(read);
                assert!(found == weights(even) || found == weights(odd));
                [read, even, odd].into_iter().for_each(|m| cllm_free_model(m.get()));
            }
        }
        // The table of primes grows while others read it.
        assert_eq!(cllm_token_to_prime(4), 11);
        assert!(cllm_token_to_prime(5000 * (i as u32 + 1)) > 45_000);
        // SAFETY: this thread's own.
        unsafe { cllm_free_model(m.get()) };
    });
}

#[test]
fn the_log_sink_is_replaced_while_others_write_to_it() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn count(_: c_int, message: *const c_char, _: *mut c_void) {
        // SAFETY: a C string during the call.
        let text = unsafe { CStr::from_ptr(message) };
        assert!(!text.is_empty());
        SEEN.fetch_add(1, SeqCst);
    }
    // SAFETY: the callback keeps nothing.
    unsafe { cllm_set_log_callback(Some(count), null_mut()) };
    at_once(6, |i| {
        for _ in 0..50 {
            // SAFETY: NULL is refused.
            unsafe {
                if i == 0 {
                    cllm_set_log_callback(Some(count), null_mut());
                } else {
                    assert!(cllm_read_model(std::ptr::null()).is_null());
                }
            }
        }
    });
    assert!(SEEN.load(SeqCst) >= 250);
}
