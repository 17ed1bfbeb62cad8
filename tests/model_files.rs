//! Model files through the C functions: files of the original, round trips, damage.
// The tests play the C program: all they do with the models is through its pointers.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::mut_from_ref)]

use cllm::headers::cllm::models::{cllm_create_model, cllm_write_model};
use cllm::headers::cllm::*;
use cllm::headers::cllm_format::files::*;
use cllm::headers::cllm_utils::models::cllm_free_model;
use serde_json::Value;
use std::ffi::{CString, c_char};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice::from_raw_parts as slice;
use std::slice::from_raw_parts_mut as slice_mut;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// A model that is freed at the end of the test.
struct Model(*mut CLLMModel);

impl Model {
    fn create(config: CLLMConfig) -> Self {
        let model = unsafe { cllm_create_model(&config) };
        assert!(!model.is_null());
        Self(model)
    }

    fn read(path: &Path) -> Option<Self> {
        let model = unsafe { cllm_read_model(c(path).as_ptr()) };
        (!model.is_null()).then_some(Self(model))
    }

    fn write(&self, path: &Path) {
        assert_eq!(unsafe { cllm_write_model(self.0, c(path).as_ptr()) }, 0);
    }

    fn m(&self) -> &mut CLLMModel {
        unsafe { &mut *self.0 }
    }

    fn attention(&self) -> &mut [AttentionLayer] {
        unsafe { slice_mut(self.m().attention_layers, self.m().num_layers as usize) }
    }

    fn ff(&self) -> &mut [FeedForwardLayer] {
        unsafe { slice_mut(self.m().ff_layers, self.m().num_layers as usize) }
    }

    fn norms(&self, count: usize) -> &mut [CLLMLayerNorm] {
        unsafe { slice_mut(self.m().layer_norms, count) }
    }

    fn tokens(&self) -> &mut [CLLMToken] {
        unsafe { slice_mut(self.m().tokens, self.m().vocab_size as usize) }
    }

    /// All floats of the model by name, absent ones left out.
    fn floats(&self, norms: usize) -> Vec<(String, Vec<u32>)> {
        let m = self.m();
        let (v, d) = (m.embeddings.vocab_size as usize, m.embeddings.embedding_dim as usize);
        let s = m.pos_encoding.max_length as usize;
        let mut list = vec![
            ("embeddings".into(), m.embeddings.embeddings, v * d),
            ("transform".into(), m.embeddings.lattice_transform, d * d),
            ("inverse".into(), m.embeddings.inverse_transform, d * d),
            ("spiral".into(), m.pos_encoding.spiral_positions, s * d),
            ("clock".into(), m.pos_encoding.clock_positions, s * d),
            ("prime".into(), m.pos_encoding.prime_positions, s * d),
            ("learned".into(), m.pos_encoding.learned_positions, s * d),
        ];
        if !m.attention_layers.is_null() {
            for (l, a) in self.attention().iter().enumerate() {
                list.push((format!("query {l}"), a.query_lattice, d * d));
                list.push((format!("key {l}"), a.key_lattice, d * d));
                list.push((format!("value {l}"), a.value_lattice, d * d));
            }
        }
        if !m.ff_layers.is_null() {
            for (l, f) in self.ff().iter().enumerate() {
                let h = f.hidden_dim as usize;
                list.push((format!("w1 {l}"), f.w1_lattice, h * d));
                list.push((format!("b1 {l}"), f.bias1, h));
                list.push((format!("w2 {l}"), f.w2_lattice, h * d));
                list.push((format!("b2 {l}"), f.bias2, d));
            }
        }
        if !m.layer_norms.is_null() {
            for (l, n) in self.norms(norms).iter().enumerate() {
                list.push((format!("gamma {l}"), n.gamma, d));
                list.push((format!("beta {l}"), n.beta, d));
            }
        }
        let present = list.into_iter().filter(|(_, pointer, _)| !pointer.is_null());
        present
            .map(|(name, pointer, len)| {
                let values = unsafe { slice(pointer, len) };
                (name, values.iter().map(|x| x.to_bits()).collect())
            })
            .collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { cllm_free_model(self.0) };
    }
}

fn config(v: u32, d: u32, l: u32, h: u32, f: u32, s: u32) -> CLLMConfig {
    CLLMConfig {
        vocab_size: v,
        embedding_dim: d,
        num_layers: l,
        num_heads: h,
        ff_dim: f,
        max_seq_len: s,
        dropout: 0.0,
    }
}

fn assert_same(a: &[(String, Vec<u32>)], b: &[(String, Vec<u32>)]) {
    let names = |list: &[(String, Vec<u32>)]| list.iter().map(|x| x.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(a), names(b));
    for ((name, a), (_, b)) in a.iter().zip(b) {
        assert!(a == b, "{name} differs");
    }
}

fn text(field: &[c_char]) -> String {
    let bytes = field.iter().map(|&b| b as u8).take_while(|&b| b != 0).collect();
    String::from_utf8(bytes).unwrap()
}

fn set_text(field: &mut [c_char], text: &str) {
    field.fill(0);
    for (slot, byte) in field.iter_mut().zip(text.bytes()) {
        *slot = byte as c_char;
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The floats that a block of the fixtures' JSON describes, in the loaded model.
fn block<'m>(model: &'m Model, name: &str, len: usize) -> &'m [f32] {
    let parts: Vec<_> = name.split('.').collect();
    let pointer = match parts[..] {
        ["embeddings"] => model.m().embeddings.embeddings,
        ["layers", l, kind, matrix] => {
            let l: usize = l.parse().unwrap();
            let a = &model.attention()[l];
            let f = &model.ff()[l];
            match (kind, matrix) {
                ("attention", "query") => a.query_lattice,
                ("attention", "key") => a.key_lattice,
                ("attention", "value") => a.value_lattice,
                ("feedforward", "w1") => f.w1_lattice,
                ("feedforward", "bias1") => f.bias1,
                ("feedforward", "w2") => f.w2_lattice,
                ("feedforward", "bias2") => f.bias2,
                _ => panic!("{name}"),
            }
        }
        _ => panic!("{name}"),
    };
    unsafe { slice(pointer, len) }
}

#[test]
fn files_of_the_original() {
    for name in
        ["model_v37_d24_l3", "model_v100_d64_l2", "model_v1000_d128_l4", "minimal/final_model"]
    {
        let path = data(&format!("v1/{name}.cllm"));
        let expected = json(&path.with_extension("json"));
        assert!(unsafe { cllm_validate(c(&path).as_ptr()) }, "{name}");
        let model = Model::read(&path).unwrap();
        let (m, h) = (model.m(), &expected["header"]);
        let (v, d) = (h["vocab_size"].as_u64().unwrap(), h["embedding_dim"].as_u64().unwrap());
        let l = h["num_layers"].as_u64().unwrap();
        let s = h["context_length"].as_u64().unwrap();
        assert_eq!((m.vocab_size, m.embedding_dim, u64::from(m.num_layers)), (v, d, l));
        assert_eq!((m.header.vocab_size, m.header.embedding_dim, m.header.num_layers), (v, d, l));
        assert_eq!(u64::from(m.header.context_length), s);
        assert_eq!(u64::from(m.header.num_heads), h["num_heads"].as_u64().unwrap());
        assert_eq!(m.header.total_params, h["total_params"].as_u64().unwrap());
        assert_eq!(m.header.golden_ratio, h["golden_ratio"].as_f64().unwrap());
        assert_eq!(u64::from(m.header.symmetry_order), h["symmetry_order"].as_u64().unwrap());
        assert_eq!(m.header.version, 1);
        assert_eq!(text(&m.header.model_name), h["model_name"].as_str().unwrap());
        let magic: String = m.header.magic.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(magic, h["magic_hex"].as_str().unwrap());

        let mut total = 0;
        for expected in expected["blocks"].as_array().unwrap() {
            let name = expected["name"].as_str().unwrap();
            let len = expected["length"].as_u64().unwrap() as usize;
            let values = block(&model, name, len);
            total += len;
            let near = |got: f64, key: &str| {
                let want = expected[key].as_f64().unwrap();
                assert!((got - want).abs() <= 1e-9 * want.abs().max(1.0), "{name}: {got} {want}");
            };
            near(values.iter().map(|&x| f64::from(x)).sum(), "sum");
            near(values.iter().map(|&x| f64::from(x).powi(2)).sum(), "sum_of_squares");
            let same = |got: &[f32], key: &str| {
                let want = expected[key].as_array().unwrap();
                let want: Vec<_> = want.iter().map(|x| x.as_f64().unwrap() as f32).collect();
                assert_eq!(got, want, "{name}");
            };
            same(&values[..4], "first");
            same(&values[len - 4..], "last");
        }
        assert_eq!(total * 4 + 1576, expected["file_size"].as_u64().unwrap() as usize);
        assert_eq!(model.ff()[0].hidden_dim, 4 * d as u32);

        // What such a file does not hold.
        assert_eq!(text(&model.tokens()[v as usize - 1].token_str), format!("token_{}", v - 1));
        for n in model.norms(l as usize) {
            let (gamma, beta) = unsafe { (slice(n.gamma, d as usize), slice(n.beta, d as usize)) };
            assert!(gamma.iter().all(|&x| x == 1.0) && beta.iter().all(|&x| x == 0.0));
            assert_eq!((n.dim, n.epsilon), (d as u32, 1e-5));
        }
        let p = &m.pos_encoding;
        assert_eq!((u64::from(p.max_length), u64::from(p.embedding_dim)), (s, d));
        for table in [p.spiral_positions, p.clock_positions, p.prime_positions, p.learned_positions]
        {
            assert!(unsafe { slice(table, (s * d) as usize) }.iter().all(|&x| x == 0.0));
        }

        // Written by this library it is the same model, and its prefix the same floats.
        let dir = tempfile::tempdir().unwrap();
        let ours = dir.path().join("ours.cllm");
        model.write(&ours);
        let again = Model::read(&ours).unwrap();
        assert_same(&again.floats(l as usize), &model.floats(l as usize));
        let (old, new) = (fs::read(&path).unwrap(), fs::read(&ours).unwrap());
        assert!(old[1576..] == new[1576..old.len()], "{name}");
    }
}

/// A reader of the v1 layout, as the original has it: the fields at their offsets, F = 4d.
fn v1_reader(file: &[u8]) -> (Vec<u64>, Vec<f32>) {
    assert_eq!(&file[..8], b"CLLM\x01\0\0\0");
    let u32_at = |at: usize| u64::from(u32::from_le_bytes(file[at..at + 4].try_into().unwrap()));
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let fields = [u32_at(8), u64_at(1296), u64_at(1304), u64_at(1312), u64_at(1320)];
    let fields = fields.into_iter().chain([1344, 1348, 1352, 1356].map(u32_at));
    let fields: Vec<u64> = fields.chain([u64_at(1360), u64_at(1376)]).collect();
    let (v, d, l) = (fields[1], fields[3], fields[4]);
    let floats = v * d + l * (3 * d * d + 2 * d * 4 * d + 4 * d + d);
    let body = &file[1576..1576 + 4 * floats as usize];
    let values = body.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    (fields, values.collect())
}

#[test]
fn a_v1_reader_reads_our_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.cllm");
    let model = Model::create(config(11, 12, 2, 3, 48, 16));
    set_text(&mut model.m().header.model_name, "a name");
    model.write(&path);
    let file = fs::read(&path).unwrap();
    let (fields, values) = v1_reader(&file);
    let phi = 1.618033988749895f64.to_bits();
    let total = 11 * 12 + 2 * (3 * 144 + 2 * 12 * 48 + 48 + 5 * 12);
    assert_eq!(fields, [1, 11, 0, 12, 2, 12, 2, 3, 16, phi, total]);
    assert_eq!(total, model.m().num_weights);
    // The block of weights begins as the file does.
    let weights = unsafe { slice(model.m().weights, values.len()) };
    assert_eq!(values, weights);
    assert_eq!(&file[12..19], b"a name\0");
}

#[test]
fn created_models_survive() {
    let dir = tempfile::tempdir().unwrap();
    for (i, config) in [
        config(37, 24, 3, 4, 96, 32),
        config(5, 30, 2, 3, 120, 8),
        config(9, 8, 2, 2, 13, 4),
        config(1, 1, 1, 1, 1, 1),
        config(300, 16, 1, 1, 0, 64),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("{i}.cllm"));
        let model = Model::create(config);
        let norms = 2 * config.num_layers as usize;
        for (l, n) in model.norms(norms).iter_mut().enumerate() {
            let d = config.embedding_dim as usize;
            unsafe { slice_mut(n.gamma, d) }.fill(l as f32 + 0.5);
            unsafe { slice_mut(n.beta, d) }.fill(-(l as f32));
            n.epsilon = 1e-6 * (l + 1) as f32;
        }
        model.write(&path);
        let loaded = Model::read(&path).unwrap();
        assert_same(&loaded.floats(norms), &model.floats(norms));
        let (m, n) = (model.m(), loaded.m());
        assert_eq!(n.header.total_params, m.header.total_params);
        assert_eq!(n.num_weights, m.num_weights);
        assert_eq!(n.header.architecture, 2);
        assert_eq!(n.header.num_heads, config.num_heads);
        assert_eq!(n.header.context_length, config.max_seq_len);
        assert_eq!(n.pos_encoding.max_length, config.max_seq_len);
        for (a, b) in model.attention().iter().zip(loaded.attention()) {
            assert_eq!((a.num_heads, a.head_dim), (b.num_heads, b.head_dim));
        }
        let epsilons = |m: &Model| m.norms(norms).iter().map(|n| n.epsilon).collect::<Vec<_>>();
        assert_eq!(epsilons(&loaded), epsilons(&model));
        // Written again: the same bytes, apart from the times in the header.
        let second = dir.path().join("second.cllm");
        loaded.write(&second);
        assert!(fs::read(&path).unwrap()[1576..] == fs::read(&second).unwrap()[1576..]);
    }
}

#[test]
fn all_that_v1_drops_survives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.cllm");
    let model = Model::create(config(6, 4, 1, 2, 16, 3));
    let m = model.m();
    set_text(&mut m.header.model_name, &"n".repeat(255));
    set_text(&mut m.header.description, "größer als zuvor");
    m.header.created_timestamp = 1_600_000_000;
    let words = ["<PAD>", "<UNK>", "", "naïve", "日本語", &"x".repeat(63)];
    for (token, word) in model.tokens().iter_mut().zip(words) {
        set_text(&mut token.token_str, word);
        token.frequency = word.len() as f32;
    }
    model.tokens()[3].lattice_coords = [1.0, 2.0, 3.0];
    model.tokens()[4].reserved[19] = 9;
    m.training_meta.training_steps = 1 << 40;
    m.training_meta.learning_rate = 1e-3;
    m.training_meta.loss = 1.25;
    m.training_meta.timestamp = 1_700_000_000;
    set_text(&mut m.training_meta.optimizer, "AdamW");
    m.training_meta.reserved[127] = 1;
    let floats = |n: usize, start: f32| {
        let block = unsafe { libc::malloc(4 * n) }.cast::<f32>();
        for (i, x) in unsafe { slice_mut(block, n) }.iter_mut().enumerate() {
            *x = start + i as f32;
        }
        block
    };
    m.embeddings.lattice_transform = floats(16, 100.0);
    m.embeddings.inverse_transform = floats(16, 200.0);
    let clock = unsafe { slice_mut(m.pos_encoding.clock_positions, 12) };
    clock[11] = -0.0;
    let points = unsafe { libc::calloc(2, size_of::<CLLMLatticePoint>()) };
    m.lattice_points = points.cast();
    m.num_lattice_points = 2;
    unsafe { (*m.lattice_points.add(1)).prime = u64::MAX };
    unsafe { (*m.lattice_points.add(1)).neighbors[11] = 4 };
    model.write(&path);

    let loaded = Model::read(&path).unwrap();
    let n = loaded.m();
    assert_eq!(text(&n.header.model_name), "n".repeat(255));
    assert_eq!(text(&n.header.description), "größer als zuvor");
    assert_eq!(n.header.created_timestamp, 1_600_000_000);
    assert!(n.header.modified_timestamp > 1_700_000_000);
    assert_eq!(n.header.timestamp, n.header.modified_timestamp);
    for (token, word) in loaded.tokens().iter().zip(words) {
        assert_eq!(text(&token.token_str), word);
        assert_eq!(token.frequency, word.len() as f32);
    }
    assert_eq!(loaded.tokens()[3].lattice_coords, [1.0, 2.0, 3.0]);
    assert_eq!(loaded.tokens()[4].reserved[19], 9);
    let t = &n.training_meta;
    assert_eq!((t.training_steps, t.learning_rate, t.loss), (1 << 40, 1e-3, 1.25));
    assert_eq!((t.timestamp, t.reserved[127]), (1_700_000_000, 1));
    assert_eq!(text(&t.optimizer), "AdamW");
    assert_same(&loaded.floats(2), &model.floats(2));
    assert_eq!((n.num_lattice_points, n.header.num_lattice_points), (2, 2));
    let point = unsafe { &*n.lattice_points.add(1) };
    assert_eq!((point.prime, point.neighbors[11]), (u64::MAX, 4));
}

/// A model as a C program assembles it: L norms, per-head matrices, many parts missing.
fn hand_made() -> Model {
    let alloc = |n: usize, start: f32| {
        let block = unsafe { libc::malloc(4 * n) }.cast::<f32>();
        for (i, x) in unsafe { slice_mut(block, n) }.iter_mut().enumerate() {
            *x = start + i as f32 / 8.0;
        }
        block
    };
    let zeroed = |n: usize, size: usize| unsafe { libc::calloc(n, size) };
    let (v, d, l) = (5, 6, 3);
    let m = zeroed(1, size_of::<CLLMModel>()).cast::<CLLMModel>();
    let model = Model(m);
    let m = model.m();
    m.vocab_size = v as u64;
    m.num_layers = l as u32;
    m.embeddings.vocab_size = v as u32;
    m.embeddings.embedding_dim = d as u32;
    m.embeddings.embeddings = alloc(v * d, 1.0);
    m.attention_layers = zeroed(l, size_of::<AttentionLayer>()).cast();
    m.ff_layers = zeroed(l, size_of::<FeedForwardLayer>()).cast();
    m.layer_norms = zeroed(l, size_of::<CLLMLayerNorm>()).cast();
    for i in [0, 2] {
        // Layer 1 has no attention. A matrix of 3 heads is 3 * 2 * 2 floats.
        let a = &mut model.attention()[i];
        a.num_heads = 3;
        a.head_dim = 2;
        a.query_lattice = alloc(12, 10.0);
        a.key_lattice = alloc(12, 20.0);
        a.value_lattice = alloc(12, 30.0);
    }
    for (i, hidden) in [(0, 4), (1, 7)] {
        // Layer 2 has no feed-forward part, and no layer a second bias.
        let f = &mut model.ff()[i];
        f.input_dim = d as u32;
        f.hidden_dim = hidden as u32;
        f.output_dim = d as u32;
        f.w1_lattice = alloc(hidden * d, 40.0);
        f.w2_lattice = alloc(hidden * d, 50.0);
        f.bias1 = if i == 0 { alloc(hidden, 60.0) } else { std::ptr::null_mut() };
    }
    let n = &mut model.norms(l)[1];
    n.dim = d as u32;
    n.gamma = alloc(d, 70.0);
    n.epsilon = 0.25;
    model
}

#[test]
fn hand_made_models_survive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.cllm");
    let model = hand_made();
    model.write(&path);
    let loaded = Model::read(&path).unwrap();

    let same = |a: *mut f32, b: *mut f32, n: usize| {
        assert!(!b.is_null());
        assert_eq!(unsafe { slice(a, n) }, unsafe { slice(b, n) });
    };
    same(model.m().embeddings.embeddings, loaded.m().embeddings.embeddings, 30);
    for i in 0..3 {
        let (a, b) = (&model.attention()[i], &loaded.attention()[i]);
        let (f, g) = (&model.ff()[i], &loaded.ff()[i]);
        if i == 1 {
            assert!(b.query_lattice.is_null() && b.key_lattice.is_null());
            assert!(b.value_lattice.is_null());
        } else {
            assert_eq!((b.num_heads, b.head_dim), (3, 2));
            same(a.query_lattice, b.query_lattice, 12);
            same(a.key_lattice, b.key_lattice, 12);
            same(a.value_lattice, b.value_lattice, 12);
        }
        if i == 2 {
            assert!(g.w1_lattice.is_null() && g.w2_lattice.is_null());
        } else {
            assert_eq!(g.hidden_dim, f.hidden_dim);
            same(f.w1_lattice, g.w1_lattice, 6 * f.hidden_dim as usize);
            same(f.w2_lattice, g.w2_lattice, 6 * f.hidden_dim as usize);
        }
        assert!(g.bias2.is_null());
        assert_eq!(g.bias1.is_null(), i != 0);
        let n = &loaded.norms(3)[i];
        assert_eq!(n.gamma.is_null(), i != 1);
        assert!(n.beta.is_null());
        assert_eq!(n.epsilon, if i == 1 { 0.25 } else { 1e-5 });
    }
    let p = &loaded.m().pos_encoding;
    assert!(p.spiral_positions.is_null() && p.learned_positions.is_null());
    assert_eq!(p.max_length, 0);
    assert_eq!(loaded.m().embedding_dim, 6);

    // Per head still: written again, the same bytes.
    let second = dir.path().join("second.cllm");
    loaded.write(&second);
    assert!(fs::read(&path).unwrap()[1576..] == fs::read(&second).unwrap()[1576..]);

    // Without any matrix but one: zeros in their places, NULL after loading.
    model.m().layer_norms = std::ptr::null_mut();
    model.m().attention_layers = std::ptr::null_mut();
    model.m().ff_layers = std::ptr::null_mut();
    model.m().embeddings.embeddings = std::ptr::null_mut();
    model.write(&path);
    let (_, values) = v1_reader(&fs::read(&path).unwrap());
    assert!(values.iter().all(|&x| x == 0.0));
    let loaded = Model::read(&path).unwrap();
    assert!(loaded.m().embeddings.embeddings.is_null());
    assert!(loaded.attention()[0].query_lattice.is_null());
    assert_eq!(unsafe { cllm_validate_model(loaded.0.cast()) }, 0);
}

#[test]
fn damaged_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.cllm");
    Model::create(config(2, 2, 1, 1, 2, 2)).write(&path);
    let file = fs::read(&path).unwrap();
    let refused_now = || {
        let read = Model::read(&path).is_none();
        assert_eq!(read, !unsafe { cllm_validate(c(&path).as_ptr()) });
        read
    };
    let refused = |bytes: &[u8]| {
        // A new file each time: to overwrite an old one waits for the disk.
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        refused_now()
    };
    let refused_at_every_length = |bytes: &[u8], step: usize| {
        fs::write(&path, bytes).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for len in (0..bytes.len()).rev().filter(|len| len % step == 0 || *len < 1700) {
            file.set_len(len as u64).unwrap();
            assert!(refused_now(), "{len} bytes");
        }
    };
    assert!(!refused(&file));
    refused_at_every_length(&file, 1);
    for i in 0..file.len() {
        let mut damaged = file.clone();
        damaged[i] ^= 0xFF;
        assert!(refused(&damaged), "byte {i}");
    }

    // A file of the original has no checksums. Cut anywhere it is refused all the same.
    let v1 = fs::read(data("v1/minimal/final_model.cllm")).unwrap();
    refused_at_every_length(&v1, 4);
    for i in (0..1576).chain([1576, v1.len() - 1]) {
        let mut damaged = v1.clone();
        damaged[i] ^= 0x55;
        refused(&damaged);
    }
}

#[test]
fn what_is_no_model_file() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_path_buf(), dir.path().join("none"), "/dev/zero".into()] {
        assert!(Model::read(&path).is_none());
        assert!(!unsafe { cllm_validate(c(&path).as_ptr()) });
    }
    unsafe {
        assert!(cllm_read_model(std::ptr::null()).is_null());
        assert!(!cllm_validate(std::ptr::null()));
        let model = Model::create(config(2, 2, 1, 1, 2, 2));
        assert_eq!(cllm_write_model(model.0, std::ptr::null()), -1);
        assert_eq!(cllm_write_model(std::ptr::null(), c(&dir.path().join("x")).as_ptr()), -1);
        assert_eq!(cllm_write_model(model.0, c(dir.path()).as_ptr()), -1);
        model.m().num_layers = 0;
        assert_eq!(cllm_write_model(model.0, c(&dir.path().join("x")).as_ptr()), -1);
        model.m().num_layers = 1;
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The reader in Python was written from docs/FORMAT.md alone.
#[test]
fn an_independent_reader_agrees() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("no python3: not tested");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format_reader.py");
    let dump = |path: &Path| -> Value {
        let output = Command::new("python3").arg(&script).arg(path).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.cllm");
    let model = Model::create(config(7, 6, 2, 3, 10, 5));
    set_text(&mut model.m().header.model_name, "naïve");
    set_text(&mut model.tokens()[2].token_str, "größer");
    model.tokens()[2].frequency = 3.0;
    model.norms(4)[3].epsilon = 0.5;
    model.write(&path);
    let dump_ours = dump(&path);
    assert_eq!(dump_ours["header"]["model_name"], "naïve");
    assert_eq!(dump_ours["header"]["num_heads"], 3);
    assert_eq!(dump_ours["shape"]["layers"][1]["hidden"], 10);
    assert_eq!(dump_ours["shape"]["norms"][3]["epsilon"], 0.5);
    assert_eq!(dump_ours["words"][2], "größer");
    assert_eq!(dump_ours["words"][3], "token_3");
    assert_eq!(dump_ours["tokens"]["frequency"][2], 3.0);
    for state in dump_ours["sections"].as_array().unwrap() {
        assert_eq!(state["crc"], "ok");
    }
    assert_eq!((&dump_ours["header_crc"], &dump_ours["body_crc"]), (&"ok".into(), &"ok".into()));

    let sums = |model: &Model, norms: usize| {
        let sum = |(name, bits): (String, Vec<u32>)| {
            let sum: f64 = bits.iter().map(|&b| f64::from(f32::from_bits(b))).sum();
            (name, sum)
        };
        model.floats(norms).into_iter().map(sum).collect::<Vec<_>>()
    };
    for (name, sum) in sums(&model, 4) {
        let theirs = dump_ours["tensors"][&name]["sum"].as_f64();
        let theirs = theirs.unwrap_or_else(|| panic!("{name}: {}", dump_ours["tensors"]));
        assert!((theirs - sum).abs() < 1e-9, "{name}: {theirs} {sum}");
    }

    let v1 = data("v1/model_v37_d24_l3.cllm");
    let dump_v1 = dump(&v1);
    for (name, sum) in sums(&Model::read(&v1).unwrap(), 0) {
        if let Some(theirs) = dump_v1["tensors"][&name]["sum"].as_f64() {
            assert!((theirs - sum).abs() < 1e-9, "{name}: {theirs} {sum}");
        }
    }
    assert_eq!(dump_v1["tensors"]["w1 2"]["length"], 2304);
}
