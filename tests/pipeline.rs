//! The main job through the C functions: training, checkpoints, saving, loading, generating.

#![allow(unsafe_code)]

use cllm::headers::cllm::models::{cllm_create_model, cllm_write_model};
use cllm::headers::cllm::{CLLMConfig, CLLMModel};
use cllm::headers::cllm_ext::CLLMProgress;
use cllm::headers::cllm_ext::evaluation::cllm_evaluate;
use cllm::headers::cllm_ext::generation::{cllm_kv_cache_clear, cllm_set_greedy, cllm_set_seed};
use cllm::headers::cllm_ext::training::{cllm_set_progress_callback, cllm_train_steps};
use cllm::headers::cllm_format::files::cllm_read_model;
use cllm::headers::cllm_inference::CLLMInference;
use cllm::headers::cllm_inference::context::{
    cllm_inference_cleanup, cllm_inference_init, cllm_set_max_tokens, cllm_set_top_k,
};
use cllm::headers::cllm_inference::generation::{cllm_forward, cllm_generate};
use cllm::headers::cllm_training::checkpoints::{cllm_load_checkpoint, cllm_save_checkpoint};
use cllm::headers::cllm_training::lifecycle::{cllm_training_free, cllm_training_init};
use cllm::headers::cllm_training::loops::{cllm_get_batch, cllm_train_epoch};
use cllm::headers::cllm_training::passes::{
    cllm_backward_training, cllm_compute_loss, cllm_compute_loss_training, cllm_forward_training,
};
use cllm::headers::cllm_training::schedule::cllm_update_learning_rate;
use cllm::headers::cllm_training::updates::cllm_optimizer_step;
use cllm::headers::cllm_training::{CLLMTraining, CLLMTrainingConfig};
use cllm::headers::cllm_training_mt::cllm_train_epoch_mt;
use cllm::headers::cllm_utils::models::cllm_free_model;
use cllm::headers::cllm_vocab_builder::cllm_build_vocabulary_from_file;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

const CONFIG: CLLMConfig = CLLMConfig {
    vocab_size: 40,
    embedding_dim: 32,
    num_layers: 2,
    num_heads: 4,
    ff_dim: 64,
    max_seq_len: 16,
    dropout: 0.0,
};

/// A model, its training object and its tokens; freed together.
struct Run {
    model: *mut CLLMModel,
    training: *mut CLLMTraining,
    tokens: Vec<u32>,
}

impl Run {
    fn new(edit: impl FnOnce(&mut CLLMTrainingConfig)) -> Self {
        // SAFETY: all-zero is a configuration; the functions get live objects.
        unsafe {
            let model = cllm_create_model(&CONFIG);
            assert!(!model.is_null());
            let mut config: CLLMTrainingConfig = std::mem::zeroed();
            config.learning_rate = 0.01;
            config.batch_size = 3;
            config.sequence_length = 8;
            config.max_steps = 60;
            config.gradient_clip = 1.0;
            config.weight_decay = 0.01;
            edit(&mut config);
            let training = cllm_training_init(model, &mut config);
            assert!(!training.is_null());
            // 8 batches and some tokens more.
            let tokens: Vec<u32> = (0..200u32).map(|i| (i * i / 7 + i % 5) % 40).collect();
            (*training).tokens = tokens.as_ptr().cast_mut();
            (*training).num_tokens = tokens.len();
            Self { model, training, tokens }
        }
    }

    fn weights(&self) -> Vec<u32> {
        // SAFETY: the model is live.
        unsafe {
            let m = &*self.model;
            let block = std::slice::from_raw_parts(m.weights, m.num_weights as usize);
            let table = 16 * 32;
            let learned = std::slice::from_raw_parts(m.pos_encoding.learned_positions, table);
            block.iter().chain(learned).map(|x| x.to_bits()).collect()
        }
    }

    /// The weights of another run.
    fn start_like(&self, other: &Run) {
        // SAFETY: both models are live and of one shape.
        unsafe {
            let (to, from) = (&mut *self.model, &*other.model);
            ptr::copy(from.weights, to.weights, from.num_weights as usize);
            let learned = from.pos_encoding.learned_positions;
            ptr::copy(learned, to.pos_encoding.learned_positions, 16 * 32);
        }
    }

    fn t(&self) -> &CLLMTraining {
        // SAFETY: live.
        unsafe { &*self.training }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // SAFETY: both are live, and freed once.
        unsafe {
            cllm_training_free(self.training);
            cllm_free_model(self.model);
        }
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

fn set(field: &mut [c_char], text: &str) {
    for (slot, byte) in field.iter_mut().zip(text.bytes().chain([0])) {
        *slot = byte as c_char;
    }
}

#[test]
fn overfits_a_small_text() {
    let run = Run::new(|c| {
        c.max_steps = 1000;
        c.learning_rate = 0.005;
        c.weight_decay = 0.0;
    });
    let mut losses = Vec::new();
    for _ in 0..120 {
        // SAFETY: the run is live.
        losses.push(unsafe { cllm_train_epoch(run.training) });
    }
    assert!(losses[0] > 3.0, "{}", losses[0]);
    assert!(losses[119] < 0.15, "{}", losses[119]);
    assert_eq!(run.t().current_step, 960);
    assert_eq!(run.t().current_epoch, 120);
    assert_eq!(run.t().current_batch_offset, 0);
    assert!(run.t().best_loss <= losses[119]);
}

#[test]
fn threads_give_the_same_bits() {
    let first = Run::new(|_| {});
    let others: Vec<_> = [2, 3, 5, 0].map(|n| (n, Run::new(|_| {}))).into();
    for (_, run) in &others {
        run.start_like(&first);
    }
    for _ in 0..3 {
        // SAFETY: the runs are live.
        let loss = unsafe { cllm_train_epoch(first.training) };
        for (threads, run) in &others {
            // SAFETY: likewise.
            let other = unsafe { cllm_train_epoch_mt(run.training, *threads) };
            assert_eq!(loss.to_bits(), other.to_bits(), "{threads} threads");
            assert_eq!(run.t().current_step, first.t().current_step);
            assert_eq!(run.t().best_loss.to_bits(), first.t().best_loss.to_bits());
        }
    }
    for (threads, run) in &others {
        assert_eq!(first.weights(), run.weights(), "{threads} threads");
    }
}

/// What an epoch does, by hand.
unsafe fn epoch_by_hand(t: *mut CLLMTraining) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        (*t).current_batch_offset = 0;
        let (mut input, mut target) = (vec![0u32; 24], vec![0u32; 24]);
        let (mut sum, mut n) = (0.0f64, 0);
        while cllm_get_batch(t, input.as_mut_ptr(), target.as_mut_ptr()) > 0 {
            assert_eq!(cllm_forward_training(t, input.as_mut_ptr()), 0.0);
            sum += f64::from(cllm_compute_loss_training(t, target.as_mut_ptr()));
            cllm_backward_training(t, target.as_mut_ptr());
            cllm_update_learning_rate(t);
            cllm_optimizer_step(t);
            (*t).current_step += 1;
            n += 1;
        }
        (sum / f64::from(n)) as f32
    }
}

#[test]
fn the_loop_is_its_parts() {
    for window in [1, 3] {
        let edit = |c: &mut CLLMTrainingConfig| {
            c.gradient_accumulation_steps = window;
            c.warmup_steps = 5;
            set(&mut c.lr_scheduler, "cosine");
        };
        let (a, b) = (Run::new(edit), Run::new(edit));
        b.start_like(&a);
        for _ in 0..2 {
            // SAFETY: the runs are live.
            let (x, y) = unsafe { (cllm_train_epoch(a.training), epoch_by_hand(b.training)) };
            assert!((x - y).abs() < 1e-5, "{x} {y}");
        }
        assert_eq!(a.weights(), b.weights(), "window {window}");
        assert_eq!(a.t().accumulation_step, b.t().accumulation_step);
    }
}

#[test]
fn resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for optimizer in ["adam", "sgd"] {
        for schedule in ["none", "cosine", "linear", "step"] {
            for (window, before) in [(1, 5), (4, 6), (3, 11)] {
                let edit = |c: &mut CLLMTrainingConfig| {
                    c.gradient_accumulation_steps = window;
                    c.warmup_steps = 4;
                    c.lr_decay_steps = 3;
                    set(&mut c.optimizer, optimizer);
                    set(&mut c.lr_scheduler, schedule);
                };
                let what = format!("{optimizer} {schedule} {window} {before}");
                let whole = Run::new(edit);
                let part = Run::new(edit);
                let resumed = Run::new(edit);
                part.start_like(&whole);
                let name = c_path(&folder.path().join("run.cllm"));
                // SAFETY: the runs are live.
                unsafe {
                    steps(whole.training, 20, 1);
                    steps(part.training, before, 2);
                    assert_eq!(cllm_save_checkpoint(part.training, name.as_ptr()), 0);
                    assert_eq!(cllm_load_checkpoint(resumed.training, name.as_ptr()), 0);
                    assert_eq!(resumed.weights(), part.weights(), "{what}");
                    assert_eq!(resumed.t().current_step, before);
                    assert_eq!(resumed.t().accumulation_step, before % window);
                    steps(resumed.training, 20 - before, 3);
                }
                assert_eq!(whole.weights(), resumed.weights(), "{what}");
                for (a, b) in [
                    (whole.t().best_loss, resumed.t().best_loss),
                    (whole.t().current_loss, resumed.t().current_loss),
                    (whole.t().config.learning_rate, resumed.t().config.learning_rate),
                ] {
                    assert_eq!(a.to_bits(), b.to_bits(), "{what}");
                }
                assert_eq!(whole.t().current_epoch, resumed.t().current_epoch);
                assert_eq!(whole.t().current_batch_offset, resumed.t().current_batch_offset);
            }
        }
    }
}

/// Exactly `n` batches, over the ends of epochs.
unsafe fn steps(t: *mut CLLMTraining, mut n: c_int, threads: c_int) {
    while n > 0 {
        // SAFETY: the caller's promise.
        let done = unsafe { cllm_train_steps(t, n, threads, ptr::null_mut()) };
        assert!(done >= 0);
        n -= done;
    }
}

#[test]
fn a_damaged_checkpoint_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (Run::new(|_| {}), Run::new(|_| {}));
    let path = folder.path().join("run.cllm");
    let name = c_path(&path);
    // SAFETY: the runs are live.
    unsafe {
        steps(a.training, 3, 1);
        assert_eq!(cllm_save_checkpoint(a.training, name.as_ptr()), 0);
        let state = folder.path().join("run.cllm.state");
        let whole = std::fs::read(&state).unwrap();
        let before = b.weights();
        for damage in [0, 3, 16, 20, 100, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[damage] ^= 0x40;
            std::fs::write(&state, &bytes).unwrap();
            assert_eq!(cllm_load_checkpoint(b.training, name.as_ptr()), -1, "byte {damage}");
            std::fs::write(&state, &whole[..damage]).unwrap();
            assert_eq!(cllm_load_checkpoint(b.training, name.as_ptr()), -1, "cut at {damage}");
            assert_eq!(b.weights(), before);
            assert_eq!(b.t().current_step, 0);
        }
        std::fs::write(&state, &whole).unwrap();
        assert_eq!(cllm_load_checkpoint(b.training, name.as_ptr()), 0);
        assert_eq!(b.weights(), a.weights());
    }
}

/// Reads a C buffer of floats.
unsafe fn floats(pointer: *const f32, n: usize) -> Vec<f32> {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(pointer, n) }.to_vec()
}

fn forward(context: *mut CLLMInference, tokens: &[u32]) -> Vec<f32> {
    // SAFETY: the context is live.
    unsafe {
        cllm_forward(context, tokens.as_ptr().cast_mut(), tokens.len() as c_int);
        floats((*context).logits, 40)
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn training_and_inference_are_one_model() {
    let run = Run::new(|c| {
        c.batch_size = 1;
        c.sequence_length = 16;
    });
    // SAFETY: everything is live.
    unsafe {
        cllm_train_epoch(run.training);
        let tokens: Vec<u32> = run.tokens[5..21].to_vec();
        cllm_forward_training(run.training, tokens.as_ptr().cast_mut());
        let trained = floats(run.t().logits, 16 * 40);
        let context = cllm_inference_init(run.model);
        // One token more at each call: the cached prefix.
        for n in 1..=16 {
            let grown = forward(context, &tokens[..n]);
            let expected = &trained[(n - 1) * 40..n * 40];
            assert!(largest_difference(&grown, expected) < 1e-4, "position {n}");
        }
        // The same again, and a shorter sequence: without the cache.
        for n in [16, 7] {
            let again = forward(context, &tokens[..n]);
            assert!(largest_difference(&again, &trained[(n - 1) * 40..n * 40]) < 1e-4);
        }
        // Training changes the weights; the context notices.
        forward(context, &tokens[..8]);
        cllm_train_epoch(run.training);
        let grown = forward(context, &tokens[..9]);
        cllm_forward_training(run.training, tokens.as_ptr().cast_mut());
        let expected = floats(run.t().logits.add(8 * 40), 40);
        assert!(largest_difference(&grown, &expected) < 1e-4);
        // A single weight changed by hand, then told.
        *(*run.model).weights.add(3) += 0.5;
        cllm_kv_cache_clear(context);
        let told = forward(context, &tokens[..10]);
        cllm_forward_training(run.training, tokens.as_ptr().cast_mut());
        assert!(largest_difference(&told, &floats(run.t().logits.add(9 * 40), 40)) < 1e-4);
        cllm_inference_cleanup(context);
    }
}

#[test]
fn a_saved_model_generates_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "the cat sat on the mat and the dog sat on the log by the door ")
        .unwrap();
    let run = Run::new(|_| {});
    let file = c_path(&folder.path().join("model.cllm"));
    // SAFETY: everything is live.
    unsafe {
        let words = cllm_build_vocabulary_from_file(run.model, c_path(&text).as_ptr()) as u32;
        assert!(words > 5);
        let ids: Vec<u32> = run.tokens.iter().map(|id| 5 + id % (words - 5)).collect();
        (*run.training).tokens = ids.as_ptr().cast_mut();
        for _ in 0..5 {
            cllm_train_epoch(run.training);
        }
        assert_eq!(cllm_write_model(run.model, file.as_ptr()), 0);
        let loaded = cllm_read_model(file.as_ptr());
        assert!(!loaded.is_null());
        let tokens = &ids[..12];
        let (a, b) = (cllm_inference_init(run.model), cllm_inference_init(loaded));
        let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(forward(a, tokens)), bits(forward(b, tokens)));
        for greedy in [false, true] {
            let say = |context: *mut CLLMInference| {
                cllm_set_seed(context, 9);
                cllm_set_greedy(context, greedy);
                cllm_set_top_k(context, 10);
                // More than the context of 16: the window slides.
                cllm_set_max_tokens(context, 40);
                let mut out = vec![0u8; 2000];
                let n = cllm_generate(context, c"the cat".as_ptr(), out.as_mut_ptr().cast(), 2000);
                assert!((0..=40).contains(&n));
                CStr::from_bytes_until_nul(&out).unwrap().to_str().unwrap().to_string()
            };
            let (x, y) = (say(a), say(b));
            assert_eq!(x, y);
            assert!(x.starts_with("the cat "), "{x}");
        }
        cllm_inference_cleanup(a);
        cllm_inference_cleanup(b);
        cllm_free_model(loaded);
    }
}

#[test]
fn a_hand_made_model_trains() {
    // What old test programs do: one layer, every pointer NULL but the embeddings.
    let mut embeddings: Vec<f32> =
        (0..20 * 8).map(|i| ((i * 37 % 19) as f32 - 9.0) * 0.1).collect();
    // SAFETY: all-zero is a model without parts; everything lives to the end.
    unsafe {
        let mut model: Box<CLLMModel> = Box::new(std::mem::zeroed());
        model.vocab_size = 20;
        model.embedding_dim = 8;
        model.num_layers = 1;
        model.embeddings.embeddings = embeddings.as_mut_ptr();
        let mut config: CLLMTrainingConfig = std::mem::zeroed();
        config.learning_rate = 0.01;
        config.batch_size = 2;
        config.sequence_length = 5;
        let t = cllm_training_init(&mut *model, &mut config);
        assert!(!t.is_null());
        assert!(!(*t).gradients.is_null() && !(*t).layer_inputs.is_null());
        let tokens: Vec<u32> = (0..101).map(|i| i % 20).collect();
        (*t).tokens = tokens.as_ptr().cast_mut();
        (*t).num_tokens = tokens.len();
        let losses: Vec<f32> = (0..30).map(|_| cllm_train_epoch(t)).collect();
        assert!(losses[29] < 0.8 * losses[0], "{losses:?}");
        let folder = tempfile::tempdir().unwrap();
        let name = c_path(&folder.path().join("hand.cllm"));
        assert_eq!(cllm_save_checkpoint(t, name.as_ptr()), 0);
        let trained = embeddings.clone();
        cllm_train_epoch(t);
        assert_ne!(embeddings, trained);
        assert_eq!(cllm_load_checkpoint(t, name.as_ptr()), 0);
        assert_eq!(embeddings, trained);
        cllm_training_free(t);
    }
}

#[test]
fn evaluation_agrees_with_the_loss() {
    let run = Run::new(|_| {});
    let (mut loss, mut perplexity) = (0.0f64, 0.0f64);
    // SAFETY: the run is live.
    unsafe {
        let n = run.tokens.len();
        let ids = run.tokens.as_ptr();
        assert_eq!(cllm_evaluate(run.model, ids, n, 8, 2, &mut loss, &mut perplexity), 0);
        let (input, target) = (ids.cast_mut(), ids.add(1).cast_mut());
        let same = cllm_compute_loss(run.training, input, target, n as c_int - 1);
        assert!((f64::from(same) - loss).abs() < 1e-5, "{same} {loss}");
        assert!((perplexity - loss.exp()).abs() < 1e-9);
        assert_eq!(cllm_evaluate(run.model, ids, 1, 8, 2, &mut loss, &mut perplexity), -1);
        assert!((f64::from(same) - loss).abs() < 1e-5, "a failed call changed its output");
    }
}

#[test]
fn the_progress_callback_stops_and_may_save() {
    struct Seen {
        training: *mut CLLMTraining,
        name: CString,
        steps: Vec<c_int>,
    }
    unsafe extern "C" fn watch(progress: *const CLLMProgress, seen: *mut c_void) -> bool {
        // SAFETY: what the test passed.
        unsafe {
            let (p, seen) = (&*progress, &mut *seen.cast::<Seen>());
            assert_eq!(p.struct_size, size_of::<CLLMProgress>());
            assert_eq!(p.batches_per_epoch, 8);
            assert!(p.loss > 0.0 && p.gradient_norm > 0.0 && p.tokens_per_second > 0.0);
            seen.steps.push(p.step);
            assert_eq!(cllm_save_checkpoint(seen.training, seen.name.as_ptr()), 0);
            p.step < 3
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(|_| {});
    let name = c_path(&folder.path().join("watched.cllm"));
    let mut seen = Seen { training: run.training, name, steps: Vec::new() };
    // SAFETY: everything is live.
    unsafe {
        let user_data = (&raw mut seen).cast();
        assert_eq!(cllm_set_progress_callback(run.training, Some(watch), user_data), 0);
        cllm_train_epoch(run.training);
    }
    assert_eq!(seen.steps, [1, 2, 3]);
    assert_eq!(run.t().current_batch_offset, 3 * 24);
    assert_eq!(run.t().current_epoch, 0);
}
