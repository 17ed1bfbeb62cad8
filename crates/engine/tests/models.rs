//! Owned models through files and back, beside those of the original library.

use cllm_engine::file::{Integrity, describe};
use cllm_engine::model::{Architecture, AttentionLayout, NormShape, Part, Table};
use cllm_engine::nn::activations::{Activations, Save};
use cllm_engine::nn::forward::{self, Beyond};
use cllm_engine::text::TokenFile;
use cllm_engine::{
    Dataset, Error, ErrorKind, Model, ModelConfig, ModelRef, Pool, Vocabulary, evaluate,
};
use std::fs;
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
}

const SMALL: ModelConfig = ModelConfig {
    vocab: 11,
    dim: 12,
    layers: 2,
    heads: 3,
    hidden: 20,
    context: 7,
    architecture: Architecture::ORIGINAL,
    norm_parameters: true,
    biases: true,
};

const MODERN: ModelConfig = ModelConfig {
    heads: 2,
    architecture: Architecture::MODERN,
    norm_parameters: false,
    biases: false,
    ..SMALL
};

/// What a model computes for a few tokens, bit for bit.
fn computed(model: &ModelRef) -> Vec<u32> {
    let tokens: Vec<u32> = (0..6).map(|i| i * 5 % model.vocab as u32).collect();
    let mut activations = Activations::default();
    let (pool, save, beyond) = (Pool::serial(), Save::ForBackward, Beyond::NoPosition);
    forward::forward(&pool, model, &tokens, 2, &mut activations, save, None, beyond).unwrap();
    activations.normed.iter().map(|x| x.to_bits()).collect()
}

/// All trained values in the canonical order.
fn values(model: &Model) -> Vec<u32> {
    let mut list = Vec::new();
    model.view().params.visit(|_, _, t| list.extend(t.iter().map(|x| x.to_bits())));
    list
}

/// Fills with values that no two places share, small enough that nothing overflows.
fn fill(model: &mut Model) {
    let mut next = 0;
    model.params_mut().map(|_, _, t| {
        for x in t {
            next += 37;
            *x = (next % 199) as f32 / 500.0 - 0.2;
        }
    });
}

fn round_trip(model: &Model) -> Model {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cllm");
    model.write(&path).unwrap();
    Model::read(&path).unwrap()
}

#[test]
fn a_model_is_the_same_after_a_round_trip() {
    for config in [
        SMALL,
        ModelConfig { vocab: 1, dim: 1, layers: 1, heads: 1, hidden: 1, context: 1, ..SMALL },
        ModelConfig { hidden: 0, ..SMALL },
        ModelConfig { context: 0, ..SMALL },
        ModelConfig { layers: 20, ..SMALL },
        ModelConfig { biases: false, norm_parameters: false, ..SMALL },
        MODERN,
        ModelConfig { layers: 20, biases: true, norm_parameters: true, ..MODERN },
        ModelConfig {
            architecture: Architecture { untied: true, ..Architecture::ORIGINAL },
            ..SMALL
        },
        ModelConfig {
            architecture: Architecture { untied: true, output: false, ..Architecture::MODERN },
            hidden: 0,
            ..MODERN
        },
    ] {
        let mut model = Model::new(&config, 3).unwrap();
        fill(&mut model);
        model.metadata_mut().name = b"a name".to_vec();
        model.training_mut().training_steps = 9;
        let read = round_trip(&model);
        assert_eq!(read.config(), config);
        assert_eq!(values(&read), values(&model), "{config:?}");
        assert_eq!(computed(&read.view()), computed(&model.view()), "{config:?}");
        assert_eq!(read.metadata().name, b"a name");
        assert_eq!(read.training(), model.training());
        assert_eq!((read.vocabulary(), read.tokens().len()), (None, 0));
        model.view().check().unwrap();
    }
}

/// Layers of several widths and heads, parts that are absent, matrices by head, one norm a layer.
#[test]
fn unusual_models_survive() {
    for case in 0..5 {
        let mut shape = SMALL.shape().unwrap();
        match case {
            0 => shape.layout = AttentionLayout::PerHead,
            1 => shape.norms.truncate(2),
            2 => {
                shape.layers[0].hidden = 3;
                shape.layers[1].heads = 4;
                shape.norms[1] = NormShape { epsilon: 0.1, gamma: false, beta: true };
            }
            3 => {
                shape.layers[0].attention = false;
                shape.layers[1].bias1 = false;
                shape.layers[1].bias2 = false;
            }
            _ => {
                shape.layers[1].feed_forward = false;
                shape.tables = [Table::Absent, Table::Zero, Table::Absent, Table::Stored];
                shape.transforms = [true, false];
            }
        }
        let mut model = Model::zeroed(shape).unwrap();
        fill(&mut model);
        model.view().check().unwrap();
        let read = round_trip(&model);
        assert_eq!(values(&read), values(&model), "case {case}");
        assert_eq!(computed(&read.view()), computed(&model.view()), "case {case}");
        assert_eq!(read.shape().layers, model.shape().layers, "case {case}");
        assert_eq!(read.shape().norms, model.shape().norms, "case {case}");
        let again = round_trip(&read);
        assert_eq!(again.shape(), read.shape(), "case {case}");
    }
}

/// A file of another block says so in a part that a reader must know.
#[test]
fn the_architecture_is_needed_to_read_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cllm");
    let mut model = Model::new(&MODERN, 3).unwrap();
    fill(&mut model);
    model.write(&path).unwrap();
    let found = describe(&path, 0).unwrap();
    assert_eq!((found.architecture, found.problems), (Some(Architecture::MODERN), Vec::new()));
    let part = |name: &str| found.parts.iter().find(|part| part.name == name).unwrap();
    assert_eq!((part("ARCH").bytes, part("WGHT").bytes), (8, 4 * 2 * 12 * 12));
    let content = "rotary positions, norms of queries and keys, sharp scores, keys of the token before, \
                   matrix after attention, squared ReLU";
    assert_eq!(part("ARCH").content, content);
    // As a reader sees it that does not know the section.
    let mut bytes = fs::read(&path).unwrap();
    let frame = part("ARCH").offset as usize - 24;
    assert_eq!(bytes[frame..frame + 8], *b"ARCH\x01\0\0\0");
    bytes[frame..frame + 4].copy_from_slice(b"ARCX");
    let crc = crc32(&bytes[frame..frame + 20]);
    bytes[frame + 20..frame + 24].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = Model::read(&path).unwrap_err().to_string();
    assert!(error.contains("section ARCX") && error.contains("does not know it"), "{error}");

    // Files of the original block are what they were.
    Model::new(&SMALL, 3).unwrap().write(&path).unwrap();
    let found = describe(&path, 0).unwrap();
    assert_eq!(found.architecture, None);
    assert!(found.parts.iter().all(|part| part.name != "ARCH" && part.name != "WGHT"));
}

/// CRC-32 as FORMAT.md states it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Without a table there is no last position: generation keeps to the windows of training.
#[test]
fn a_modern_model_knows_its_window() {
    let model = Model::new(&MODERN, 1).unwrap();
    assert_eq!(model.view().positions(), Some(7));
    assert_eq!(model.view().params.learned, None);
    let unbounded = Model::new(&ModelConfig { context: 0, ..MODERN }, 1).unwrap();
    assert_eq!(unbounded.view().positions(), None);
}

/// Every value is reached once, each by the name that the view gives it.
#[test]
fn views_agree() {
    let untied = Architecture { untied: true, ..Architecture::MODERN };
    for config in [SMALL, MODERN, ModelConfig { architecture: untied, ..MODERN }] {
        views_of_one_agree(&config);
    }
}

fn views_of_one_agree(config: &ModelConfig) {
    let mut model = Model::new(config, 1).unwrap();
    let mut number = 0.0;
    let mut seen = Vec::new();
    model.params_mut().map(|part, layer, t| {
        for x in t.iter_mut() {
            number += 1.0;
            *x = number;
        }
        seen.push((part, layer, t[0]));
    });
    let view = model.view();
    for (part, layer, first) in seen {
        assert_eq!(view.params.get(part, layer).unwrap()[0], first, "{part:?} {layer}");
    }
    assert_eq!(view.weights(), number as usize);
    if *config == SMALL {
        assert_eq!(view.weights(), SMALL.num_weights().unwrap() + 7 * 12);
    }
    assert_eq!(view.params.get(Part::Query, 2), None);
    assert_eq!(view.params.get(Part::Clock, 0), None);
    for layer in &view.params.layers {
        let attention = layer.attention.as_ref().unwrap();
        assert_eq!(attention.joined.unwrap(), attention.qkv.concat());
    }
}

#[test]
fn a_seed_means_the_same_model() {
    let model = |seed| values(&Model::new(&SMALL, seed).unwrap());
    assert_eq!(model(7), model(7));
    assert_ne!(model(7), model(8));
}

/// Also with the matrices by head, the tables and the records of the original library's files.
#[test]
fn a_copy_is_the_same_and_its_own() {
    let mut modern = Model::new(&MODERN, 7).unwrap();
    modern.set_tokenizer(Vocabulary::from_text(b"to be or not", 11, 1).unwrap()).unwrap();
    let original = Model::read(data("v1/model_v37_d24_l3.cllm")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bytes = |model: &Model| {
        let path = dir.path().join("model.cllm");
        model.write(&path).unwrap();
        fs::read(&path).unwrap().split_off(1576)
    };
    for mut model in [modern, original] {
        let copy = model.try_clone().unwrap();
        let before = bytes(&model);
        assert!(bytes(&copy) == before && computed(&copy.view()) == computed(&model.view()));
        fill(&mut model);
        assert!(bytes(&copy) == before && bytes(&model) != before);
    }
}

#[test]
fn files_of_the_original_are_read() {
    for name in ["model_v37_d24_l3", "model_v100_d64_l2", "model_v1000_d128_l4"] {
        let path = data(&format!("v1/{name}.cllm"));
        let model = Model::read(&path).unwrap();
        let json = fs::read_to_string(path.with_extension("json")).unwrap();
        for (field, value) in [
            ("vocab_size", model.config().vocab),
            ("embedding_dim", model.config().dim),
            ("num_layers", model.config().layers),
            ("context_length", model.config().context),
        ] {
            let stated = json.split(&format!("\"{field}\":")).nth(1).unwrap().trim_start();
            let digits = stated.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            assert_eq!(digits.parse::<usize>().unwrap(), value, "{name}: {field}");
        }
        assert_eq!(model.shape().layout, AttentionLayout::PerHead);
        let view = model.view();
        assert!(
            view.params.layers.iter().all(|l| l.norm1.gamma.unwrap().iter().all(|&x| x == 1.0))
        );
        // Written by this library it is the same model, and its prefix the same floats.
        let dir = tempfile::tempdir().unwrap();
        let ours = dir.path().join("ours.cllm");
        model.write(&ours).unwrap();
        let (old, new) = (fs::read(&path).unwrap(), fs::read(&ours).unwrap());
        assert!(old[1576..] == new[1576..old.len()], "{name}");
        assert_eq!(values(&Model::read(&ours).unwrap()), values(&model), "{name}");
    }
}

#[test]
fn words_travel_with_the_model() {
    let long = "ß".repeat(1000);
    let words = [(&b"<UNK>"[..], 4), (b"a", 3), (b"", 2), (long.as_bytes(), 1)];
    let vocabulary = Vocabulary::from_words(words).unwrap();
    let mut model = Model::new(&SMALL, 1).unwrap();
    model.set_tokenizer(vocabulary.clone()).unwrap();
    let mut read = round_trip(&model);
    assert_eq!(read.vocabulary(), Some(&vocabulary));
    assert_eq!(read.tokens(), model.tokens());
    // More words than ids: as before.
    let many = Vocabulary::from_words((0..12).map(|_| (&b"x"[..], 1))).unwrap();
    assert!(read.set_tokenizer(many).unwrap_err().to_string().contains("12 entries"));
    assert_eq!(read.vocabulary(), Some(&vocabulary));
    assert!(read.take_tokenizer().is_some());
    assert_eq!(round_trip(&read).vocabulary(), None);
}

#[test]
fn wrong_sizes_are_errors() {
    for (config, name) in [
        (ModelConfig { vocab: 0, ..SMALL }, "vocab_size"),
        (ModelConfig { dim: 0, ..SMALL }, "embedding_dim"),
        (ModelConfig { layers: 0, ..SMALL }, "num_layers"),
        (ModelConfig { heads: 0, ..SMALL }, "num_heads"),
        (ModelConfig { heads: 5, ..SMALL }, "num_heads"),
        (ModelConfig { heads: 4, ..MODERN }, "embedding_dim / num_heads is 3"),
        (ModelConfig { layers: 100_000, dim: 1, heads: 1, ..SMALL }, "num_layers"),
        (ModelConfig { vocab: usize::MAX, ..SMALL }, "the weights"),
        (ModelConfig { hidden: usize::MAX / 2, ..SMALL }, "the weights"),
        (ModelConfig { context: usize::MAX, ..SMALL }, "a position table"),
    ] {
        let error = Model::new(&config, 0).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let mut shape = SMALL.shape().unwrap();
    shape.embeddings = false;
    assert!(Model::zeroed(shape).is_err());
    // What can be made can be written: what no file holds is refused at the start.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep.cllm");
    let layers = |layers| ModelConfig { layers, dim: 1, heads: 1, hidden: 1, ..SMALL };
    let missing = Model::read(&path).err();
    assert!(matches!(missing.as_ref().map(Error::kind), Some(ErrorKind::Io { .. })));
    let deep = Model::new(&layers(101), 0).unwrap();
    deep.write(&path).unwrap();
    assert_eq!(computed(&Model::read(&path).unwrap().view()), computed(&deep.view()));
    assert!(Model::new(&layers(65_537), 0).unwrap_err().to_string().contains("layers"));
}

/// Every cut, and a flip of one bit in every byte: an error, and a description that tells.
#[test]
fn damage_is_an_error_and_described() {
    let config =
        ModelConfig { vocab: 3, dim: 2, layers: 1, heads: 1, hidden: 2, context: 2, ..SMALL };
    let mut model = Model::new(&config, 1).unwrap();
    let vocabulary = Vocabulary::from_words([(&b"a"[..], 1), (b"b", 2)]).unwrap();
    model.set_tokenizer(vocabulary).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.cllm");
    model.write(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let found = describe(&path, 10).unwrap();
    assert_eq!(found.problems, [""; 0]);
    assert_eq!(found.words.iter().collect::<Vec<_>>(), [&b"a"[..], b"b", b"token_2"]);
    let names: Vec<_> = found.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names[..4], ["header", "body", "SHAP", "NORM"]);
    assert!(found.parts.iter().all(|part| part.integrity == Integrity::Whole));
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        for bytes in [&damaged[..], &whole[..at]] {
            fs::write(&path, bytes).unwrap();
            assert!(Model::read(&path).is_err(), "byte {at}");
            match describe(&path, 10) {
                Ok(found) => assert!(!found.problems.is_empty(), "byte {at}"),
                Err(error) => assert!(error.to_string().ends_with("not a model file"), "{at}"),
            }
        }
    }
    // Damage is told where it is, and what is behind it is still read.
    let words = found.parts.iter().find(|part| part.name == "WORD").unwrap();
    let mut damaged = whole.clone();
    damaged[words.offset as usize + 8] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let found = describe(&path, 1).unwrap();
    let damaged = found.parts.iter().filter(|part| part.integrity == Integrity::Damaged);
    assert_eq!(damaged.map(|part| part.name.as_str()).collect::<Vec<_>>(), ["WORD"]);
    assert_eq!((found.problems.len(), found.words.len(), found.num_words), (1, 1, 3));
}

#[test]
fn evaluation_is_the_same_for_any_number_of_threads() {
    let text = "the cat sat on the mat and the dog sat on the log ".repeat(20);
    let vocabulary = Vocabulary::from_text(text.as_bytes(), 100, 1).unwrap();
    let dataset = Dataset::from_text(text.as_bytes(), &vocabulary).unwrap();
    let config = ModelConfig { vocab: vocabulary.len(), ..SMALL };
    let model = Model::new(&config, 5).unwrap();
    let one = evaluate(&Pool::serial(), &model.view(), dataset.ids(), 7).unwrap();
    assert_eq!(one.tokens, dataset.len() - 1);
    assert!((one.perplexity() - one.mean_loss.exp()).abs() < 1e-12);
    for threads in [2, 3] {
        let pool = Pool::shared(threads);
        let more = evaluate(&pool, &model.view(), dataset.ids(), 7).unwrap();
        assert_eq!(more.mean_loss.to_bits(), one.mean_loss.to_bits());
    }
    // In a file too, of which a part is read at a time.
    let long = Dataset::from_ids(dataset.ids().iter().copied().cycle().take(70_001).collect());
    let dir = tempfile::tempdir().unwrap();
    long.write(dir.path().join("dataset.bin")).unwrap();
    let file = TokenFile::open(dir.path().join("dataset.bin")).unwrap();
    for window in [7, 50] {
        let pool = Pool::shared(2);
        let on_disk = evaluate(&pool, &model.view(), &file, window).unwrap();
        let in_memory = evaluate(&pool, &model.view(), long.ids(), window).unwrap();
        assert_eq!(on_disk.mean_loss.to_bits(), in_memory.mean_loss.to_bits());
        assert_eq!((on_disk.tokens, on_disk.tokens), (in_memory.tokens, 70_000));
    }
    let unknown = evaluate(&Pool::serial(), &model.view(), &[5, 99, 6], 7).unwrap();
    assert_eq!(unknown.tokens, 1);
    for (ids, window) in [(&[][..], 7), (&[1], 7), (&[1, 2, 3], 0)] {
        assert!(evaluate(&Pool::serial(), &model.view(), ids, window).is_err(), "{ids:?}");
    }
}

#[test]
fn may_be_shared_and_sent() {
    fn both<T: Send + Sync>() {}
    both::<Model>();
    both::<ModelRef>();
    both::<ModelConfig>();
    both::<Vocabulary>();
    both::<Dataset>();
    both::<Error>();
}
