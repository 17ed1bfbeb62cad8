//! What a fuzz target does with its input: shared by `fuzz/` and by the test that replays seeds
//! and mutations. Each body goes through the C functions, as a program would; a panic, a wrong
//! value or a report of a sanitizer is a finding.

use cllm::headers::cllm::models::{cllm_create_model, cllm_write_model};
use cllm::headers::cllm::{CLLMConfig, CLLMModel};
use cllm::headers::cllm_data_loader::*;
use cllm::headers::cllm_ext::generation::cllm_set_seed;
use cllm::headers::cllm_ext::library::{cllm_last_error, cllm_set_log_silent};
use cllm::headers::cllm_ext::mapping::{cllm_map_model, cllm_model_is_mapped, cllm_verify_model};
use cllm::headers::cllm_ext::precision::{cllm_expand_model, cllm_model_is_quantized};
use cllm::headers::cllm_ext::state::{
    cllm_inference_get_state, cllm_inference_load_state, cllm_inference_save_state,
};
use cllm::headers::cllm_ext::training::cllm_train_steps;
use cllm::headers::cllm_format::files::cllm_read_model;
use cllm::headers::cllm_inference::CLLMInference;
use cllm::headers::cllm_inference::context::{
    cllm_inference_cleanup, cllm_inference_init, cllm_set_max_tokens,
};
use cllm::headers::cllm_inference::generation::cllm_generate;
use cllm::headers::cllm_production::checkpoints::load_checkpoint;
use cllm::headers::cllm_tokenizer::*;
use cllm::headers::cllm_training::checkpoints::cllm_load_checkpoint;
use cllm::headers::cllm_training::lifecycle::{cllm_training_free, cllm_training_init};
use cllm::headers::cllm_training::{CLLMTraining, CLLMTrainingConfig};
use cllm::headers::cllm_utils::models::cllm_free_model;
use cllm::headers::cllm_vocab_builder::cllm_tokenize_with_vocab;
use std::ffi::{CStr, CString, c_char};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

mod mend;
mod tokenizer;
pub use tokenizer::tokenizer;

/// A name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// The targets.
pub const TARGETS: [Target; 6] = [
    ("model", model),
    ("state", state),
    ("vocab", vocab),
    ("dataset", dataset),
    ("text", text),
    ("tokenizer", tokenizer),
];

/// A folder in memory that this thread's inputs stand in.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        cllm_set_log_silent();
        let base = Some(Path::new("/dev/shm")).filter(|p| p.is_dir());
        let base = base.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let id = format!("cllm-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let folder = base.join(id);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn name(&self, name: &str) -> CString {
        CString::new(self.0.join(name).to_str().unwrap()).unwrap()
    }

    fn put(&self, name: &str, data: &[u8]) -> CString {
        File::create(self.0.join(name)).unwrap().write_all(data).unwrap();
        self.name(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A model and a training object that checkpoints are loaded into.
pub struct Trainee {
    pub model: *mut CLLMModel,
    pub training: *mut CLLMTraining,
    /// A context of a model of the same sizes whose weights stay: states of generations belong to
    /// certain weights.
    pub context: *mut CLLMInference,
    _tokens: Vec<u32>,
}

/// Trains `model` on `tokens` with batches of one sequence of four.
unsafe fn training_of(model: *mut CLLMModel, tokens: &[u32]) -> *mut CLLMTraining {
    // SAFETY: all-zero is a configuration; the caller keeps the tokens.
    unsafe {
        let mut config: CLLMTrainingConfig = std::mem::zeroed();
        config.learning_rate = 0.01;
        config.batch_size = 1;
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

impl Trainee {
    pub fn new() -> Self {
        let config = CLLMConfig {
            vocab_size: 6,
            embedding_dim: 4,
            num_layers: 1,
            num_heads: 2,
            ff_dim: 3,
            max_seq_len: 4,
            dropout: 0.0,
        };
        let tokens: Vec<u32> = (0..40).map(|i| i % 6).collect();
        // SAFETY: the functions get live objects.
        unsafe {
            let model = cllm_create_model(&config);
            let training = training_of(model, &tokens);
            let fixed = cllm_create_model(&config);
            let m = &mut *fixed;
            let weights = std::slice::from_raw_parts_mut(m.weights, m.num_weights as usize);
            weights.iter_mut().enumerate().for_each(|(i, w)| *w = (i % 7) as f32 / 8.0 - 0.25);
            let positions = m.pos_encoding.learned_positions;
            std::slice::from_raw_parts_mut(positions, 4 * 4).fill(0.125);
            let context = cllm_inference_init(fixed);
            assert!(!training.is_null() && !context.is_null());
            cllm_set_seed(context, 1);
            cllm_set_max_tokens(context, 3);
            Self { model, training, context, _tokens: tokens }
        }
    }

    fn weights(&self) -> Vec<u32> {
        // SAFETY: the model is live.
        unsafe {
            let m = &*self.model;
            let weights = std::slice::from_raw_parts(m.weights, m.num_weights as usize);
            weights.iter().map(|w| w.to_bits()).collect()
        }
    }
}

thread_local! {
    static FOLDER: Folder = Folder::new();
    static TRAINEE: Trainee = Trainee::new();
}

fn assert_explained() {
    // SAFETY: valid until this thread's next failure.
    let text = unsafe { CStr::from_ptr(cllm_last_error()) };
    assert!(!text.to_bytes().is_empty());
    assert!(!text.to_bytes().windows(14).any(|w| w == b"internal error"), "{text:?}");
}

/// A model file is refused with a reason, or gives a model that generates text, trains, and is
/// the same after it was written and read again. As it is, and with checksums that hold.
pub fn model(data: &[u8]) {
    model_file(data);
    if let Some(mended) = mend::model(data) {
        model_file(&mended);
    }
}

/// The bits of every tensor that a model has. (Of one that it lacks, a file keeps neither the size
/// nor what filled its place.)
///
/// # Safety
/// A live model of the library's.
unsafe fn parts(m: &CLLMModel) -> Vec<Option<Vec<u32>>> {
    let (d, count) = (m.embedding_dim as usize, m.num_layers as usize);
    let part = |from: *const f32, len: usize| {
        // SAFETY: tensors that are there have the sizes of the structs.
        let values = (!from.is_null()).then(|| unsafe { std::slice::from_raw_parts(from, len) });
        values.map(|values| values.iter().map(|x| x.to_bits()).collect())
    };
    let mut all = vec![part(m.embeddings.embeddings, m.vocab_size as usize * d)];
    for l in 0..count {
        // SAFETY: the library makes these arrays for every layer.
        let (a, f) = unsafe { (&*m.attention_layers.add(l), &*m.ff_layers.add(l)) };
        all.extend([a.query_lattice, a.key_lattice, a.value_lattice].map(|w| part(w, d * d)));
        let (hidden, matrix) = (f.hidden_dim as usize, f.hidden_dim as usize * d);
        all.extend([part(f.w1_lattice, matrix), part(f.bias1, hidden)]);
        all.extend([part(f.w2_lattice, matrix), part(f.bias2, d)]);
        // SAFETY: likewise.
        let norm = unsafe { &*m.layer_norms.add(l) };
        all.extend([norm.gamma, norm.beta].map(|x| part(x, d)));
    }
    all
}

fn model_file(data: &[u8]) {
    FOLDER.with(|folder| {
        let path = folder.put("model", data);
        // SAFETY: the functions get what the others returned.
        unsafe {
            let model = cllm_read_model(path.as_ptr());
            if model.is_null() {
                return assert_explained();
            }
            let m = &*model;
            // Those of 8 bits are the library's.
            let int8 = cllm_model_is_quantized(model) == 1;
            let weights = match int8 {
                true => &[],
                false => std::slice::from_raw_parts(m.weights, m.num_weights as usize),
            };
            assert!(weights.iter().all(|w| w.is_finite()));
            assert!(4 * weights.len() < 4 * data.len() + 65536, "{} weights", weights.len());
            let again = folder.name("again");
            assert_eq!(cllm_write_model(model, again.as_ptr()), 0);
            let twin = cllm_read_model(again.as_ptr());
            assert!(!twin.is_null(), "{:?}", CStr::from_ptr(cllm_last_error()));
            assert_eq!(parts(m), parts(&*twin));
            if int8 {
                let (one, two) = (cllm_expand_model(model), cllm_expand_model(twin));
                assert!(!one.is_null() && !two.is_null());
                assert_eq!(parts(&*one), parts(&*two));
                cllm_free_model(one);
                cllm_free_model(two);
            }
            cllm_free_model(twin);
            // What can be read can be mapped, and its file is whole.
            let mapped = cllm_map_model(path.as_ptr());
            assert!(!mapped.is_null(), "{:?}", CStr::from_ptr(cllm_last_error()));
            if cllm_model_is_mapped(mapped) == 1 {
                assert_eq!(cllm_verify_model(mapped), 0);
            }
            cllm_free_model(mapped);
            let context = cllm_inference_init(model);
            assert!(!context.is_null());
            if m.num_layers < 20 {
                cllm_set_max_tokens(context, 3);
                let mut out = [0 as c_char; 256];
                cllm_generate(context, c"token_1 token_2".as_ptr(), out.as_mut_ptr(), 256);
                assert!(out.contains(&0));
                let tokens: Vec<u32> = (0..12).map(|i| i % m.vocab_size as u32).collect();
                let training = training_of(model, &tokens);
                if training.is_null() || cllm_train_steps(training, 2, 1, std::ptr::null_mut()) < 0
                {
                    assert_explained();
                }
                cllm_training_free(training);
            }
            cllm_inference_cleanup(context);
            cllm_free_model(model);
        }
    });
}

/// A checkpoint is refused and changes nothing, or becomes the weights of the training object,
/// which goes on; the state of a generation likewise. As they are, and with checksums that hold.
pub fn state(data: &[u8]) {
    checkpoint(data);
    if let Some(mended) = mend::checkpoint(data) {
        checkpoint(&mended);
    }
    generation(data);
    if let Some(mended) = mend::generation(data) {
        generation(&mended);
    }
}

fn checkpoint(data: &[u8]) {
    FOLDER.with(|folder| {
        TRAINEE.with(|trainee| {
            folder.put("run.state", data);
            let (run, alone) = (folder.name("run"), folder.name("run.state"));
            let before = trainee.weights();
            // SAFETY: live objects.
            unsafe {
                if !folder.0.join("run").exists() {
                    assert_eq!(cllm_write_model(trainee.model, run.as_ptr()), 0);
                }
                let loaded = cllm_load_checkpoint(trainee.training, run.as_ptr()) == 0
                    || load_checkpoint(trainee.training, alone.as_ptr()) == 0;
                if loaded {
                    if cllm_train_steps(trainee.training, 3, 1, std::ptr::null_mut()) < 0 {
                        assert_explained();
                    }
                    return;
                }
                assert_explained();
            }
            assert!(before == trainee.weights(), "a refused checkpoint changed weights");
        });
    });
}

fn generation(data: &[u8]) {
    FOLDER.with(|folder| {
        TRAINEE.with(|trainee| {
            let path = folder.put("chat.state", data);
            let context = trainee.context;
            // SAFETY: live objects; the blocks are ours to free.
            unsafe {
                let saved = || {
                    let (mut bytes, mut size) = (std::ptr::null_mut(), 0);
                    assert_eq!(cllm_inference_get_state(context, &mut bytes, &mut size), 0);
                    let copy = std::slice::from_raw_parts(bytes, size).to_vec();
                    libc_free(bytes.cast());
                    copy
                };
                let before = saved();
                if cllm_inference_load_state(context, path.as_ptr()) != 0 {
                    assert_explained();
                    assert!(before == saved(), "a refused state changed the context");
                    return;
                }
                // What was loaded can be saved, loaded and gone on from.
                let again = folder.name("again.state");
                assert_eq!(cllm_inference_save_state(context, again.as_ptr()), 0);
                assert_eq!(cllm_inference_load_state(context, again.as_ptr()), 0);
                cllm_set_max_tokens(context, 3);
                let mut out = [0 as c_char; 256];
                cllm_generate(context, c"token_1 token_2".as_ptr(), out.as_mut_ptr(), 256);
                assert!(out.contains(&0));
            }
        });
    });
}

/// A vocabulary loads into an empty tokenizer, or not; what loaded can encode and decode.
pub fn vocab(data: &[u8]) {
    const ROOM: u32 = 300; // enough for the 256 bytes and a few merges
    FOLDER.with(|folder| {
        let path = folder.put("vocab.txt", data);
        // SAFETY: the functions get what the others returned.
        unsafe {
            let tokenizer = cllm_create_tokenizer(ROOM);
            if cllm_load_vocab(tokenizer, path.as_ptr()) != 1 {
                assert_explained();
            }
            assert!(cllm_get_vocab_size(tokenizer) <= ROOM);
            encode_and_decode(tokenizer, c"a b some words\n of text");
            cllm_free_tokenizer(tokenizer);
        }
    });
}

/// # Safety
/// The tokenizer is live.
unsafe fn encode_and_decode(tokenizer: *mut CLLMTokenizer, text: &CStr) {
    let mut count = 0;
    // SAFETY: the caller's promise; the arrays are ours to free.
    unsafe {
        let ids = cllm_tokenizer_encode(tokenizer, text.as_ptr(), &mut count);
        assert!(count as usize <= text.to_bytes().len() + 1);
        if ids.is_null() {
            return;
        }
        for id in std::slice::from_raw_parts(ids, count as usize) {
            assert!(*id < cllm_get_vocab_size(tokenizer).max(5));
        }
        let back = cllm_tokenizer_decode(tokenizer, ids, count);
        if !back.is_null() {
            libc_free(back.cast());
        }
        libc_free(ids.cast());
    }
}

unsafe extern "C" {
    #[link_name = "free"]
    fn libc_free(pointer: *mut std::ffi::c_void);
}

/// A data set is refused, or holds no more ids than its file has room for.
pub fn dataset(data: &[u8]) {
    FOLDER.with(|folder| {
        let path = folder.put("dataset.bin", data);
        // SAFETY: the functions get what the others returned.
        unsafe {
            let set = cllm_token_dataset_load(path.as_ptr());
            if set.is_null() {
                return assert_explained();
            }
            let n = (*set).num_tokens;
            assert!(8 + 4 * n <= data.len());
            for (i, bytes) in data[8..8 + 4 * n].chunks_exact(4).enumerate() {
                assert_eq!((*(*set).tokens.add(i)).to_le_bytes(), bytes);
            }
            cllm_token_dataset_free(set);
        }
    });
}

/// Text of any bytes: learnt, encoded, decoded, read as a file of documents.
pub fn text(data: &[u8]) {
    let end = data.iter().position(|&b| b == 0).unwrap_or(data.len());
    let line = CString::new(&data[..end]).unwrap();
    FOLDER.with(|folder| {
        let path = folder.put("text", data);
        // SAFETY: the functions get what the others returned.
        unsafe {
            let tokenizer = cllm_create_tokenizer(200);
            cllm_build_vocab(tokenizer, line.as_ptr());
            encode_and_decode(tokenizer, &line);
            let loader = cllm_data_loader_create(tokenizer);
            assert!(!loader.is_null());
            if cllm_data_loader_load_file(loader, path.as_ptr()) > 0 {
                cllm_data_loader_build_vocab(loader);
                let set = cllm_data_loader_create_dataset(loader);
                if !set.is_null() {
                    assert!((*set).num_tokens <= 2 * data.len() + 4);
                    cllm_token_dataset_free(set);
                }
            }
            cllm_data_loader_free(loader);
            cllm_free_tokenizer(tokenizer);
            TRAINEE.with(|trainee| {
                let mut ids = [u32::MAX; 50];
                let n =
                    cllm_tokenize_with_vocab(trainee.model, line.as_ptr(), ids.as_mut_ptr(), 50);
                assert!((0..=50).contains(&n));
                assert!(ids[..n as usize].iter().all(|&id| id < 6));
                assert!(ids[n as usize..].iter().all(|&id| id == u32::MAX));
            });
        }
    });
}
