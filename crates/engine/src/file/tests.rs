//! Whole files through the writer and the reader.

use super::sizes::{body, norms, tables, transforms};
use super::*;
use crate::model::{
    Architecture, AttentionLayout, LatticePoint, LayerShape, ModelShape, NormShape, Part,
    Precision, Table, TensorName, TokenRecord, TrainingRecord,
};
use std::collections::HashMap;
use std::io::Cursor;

/// Tensors in memory, by part and layer.
#[derive(Default, Clone, PartialEq, Debug)]
struct Tensors(HashMap<(Part, usize), Vec<f32>>);

impl Source for Tensors {
    fn data(&self, entry: &Entry) -> Option<&[f32]> {
        self.0.get(&(entry.name.part, entry.name.layer)).map(Vec::as_slice)
    }
}

impl Destination for Tensors {
    fn slot(&mut self, entry: &Entry) -> Option<&mut [f32]> {
        let slot = self.0.entry((entry.name.part, entry.name.layer)).or_default();
        slot.resize(entry.len, 7.0);
        Some(slot)
    }
}

fn sample_shape() -> ModelShape {
    let layer = LayerShape {
        heads: 2,
        hidden: 3,
        attention: true,
        feed_forward: true,
        bias1: true,
        bias2: false,
    };
    let norm = NormShape::FULL;
    ModelShape {
        vocab: 3,
        dim: 4,
        max_length: 2,
        layout: AttentionLayout::Full,
        architecture: Architecture::ORIGINAL,
        precision: Precision::F32,
        embeddings: true,
        layers: vec![layer, LayerShape { hidden: 2, attention: false, ..layer }],
        norms: vec![norm, NormShape { beta: false, ..norm }, norm, norm],
        tables: [Table::Zero, Table::Absent, Table::Stored, Table::Stored],
        transforms: [true, false],
    }
}

fn sample_tensors(shape: &ModelShape) -> Tensors {
    let mut tensors = Tensors::default();
    let mut next = 0.5;
    let lists = [body(shape, false), norms(shape), tables(shape), transforms(shape)];
    for entry in lists.iter().flatten() {
        let mut value = || {
            next += 0.25;
            if shape.has(entry.name) { next } else { 0.0 }
        };
        let values = (0..entry.len).map(|_| value()).collect();
        tensors.0.insert((entry.name.part, entry.name.layer), values);
    }
    tensors
}

fn sample_extras() -> Extras {
    let mut extras = Extras::default();
    for word in ["", "größer", &"long ".repeat(50)] {
        extras.words.push(word.as_bytes()).unwrap();
    }
    extras.tokens = (0..3).map(TokenRecord::plain).collect();
    extras.tokens[1].frequency = 12.0;
    extras.tokens[2].token_id = 77;
    extras.tokens[2].prime_encoding = u64::MAX;
    extras.points.push(LatticePoint {
        point_id: 5,
        prime: 7,
        prime_factor: 11,
        coords: [1.0, -2.0, 3.0],
        angle: 0.5,
        radius: 1.5,
        resonance: -0.0,
        neighbors: [1; 12],
        neighbor_ids: [2; 12],
        num_neighbors: 3,
        neighbor_count: 4,
        symmetry_group: 5,
        reserved: [6; 48],
    });
    extras.training = TrainingRecord {
        training_steps: 9,
        loss: 2.5,
        optimizer: [b'a'; 64],
        ..Default::default()
    };
    extras
}

fn write(shape: &ModelShape, tensors: &Tensors, extras: &Extras) -> Vec<u8> {
    let header = Header {
        context_length: shape.max_length as u32,
        created_timestamp: 1,
        training_timestamp: 2,
        ..Header::default()
    };
    let mut file = Vec::new();
    prepare(&header, shape, tensors, extras).unwrap().write(&mut file).unwrap();
    file
}

fn sample() -> Vec<u8> {
    let shape = sample_shape();
    write(&shape, &sample_tensors(&shape), &sample_extras())
}

type Loaded = (Header, ModelShape, Tensors, Extras);

fn read(file: &[u8], values: Values) -> Result<Loaded, Problem> {
    let mut reader = Reader::open(Cursor::new(file), file.len() as u64)?;
    let mut tensors = Tensors::default();
    let extras = reader.read(&mut tensors, values)?;
    Ok((reader.header().clone(), reader.shape().clone(), tensors, extras))
}

#[test]
fn everything_survives() {
    let file = sample();
    let (header, shape, tensors, extras) = read(&file, Values::Finite).unwrap();
    assert_eq!(shape, sample_shape());
    assert_eq!(tensors, sample_tensors(&shape));
    assert_eq!(extras, sample_extras());
    assert_eq!((header.vocab_size, header.embedding_dim, header.num_layers), (3, 4, 2));
    assert_eq!((header.num_heads, header.context_length), (2, 2));
    assert_eq!((header.num_lattice_points, header.training_timestamp), (1, 2));
}

#[test]
fn what_is_short_or_missing_is_zero_in_the_file() {
    let shape = sample_shape();
    let mut tensors = sample_tensors(&shape);
    // A per-head matrix has half as many values with two heads.
    tensors.0.get_mut(&(Part::Query, 0)).unwrap().truncate(8);
    tensors.0.remove(&(Part::W2, 1));
    let (_, _, read, _) =
        read(&write(&shape, &tensors, &Extras::default()), Values::Finite).unwrap();
    let query = &read.0[&(Part::Query, 0)];
    assert_eq!(query[..8], tensors.0[&(Part::Query, 0)][..]);
    assert_eq!(query[8..], [0.0; 8]);
    assert_eq!(read.0[&(Part::W2, 1)], vec![0.0; 8]);
    // Absent in the model, whatever the source holds.
    assert_eq!(read.0[&(Part::Key, 1)], vec![0.0; 16]);
}

#[test]
fn every_truncation_is_refused() {
    let file = sample();
    for len in 0..file.len() {
        let problem = read(&file[..len], Values::Any).unwrap_err().to_string();
        assert!(problem.contains("byte"), "{len}: {problem}");
    }
    let mut longer = file;
    longer.push(0);
    assert!(read(&longer, Values::Any).is_err());
}

#[test]
fn every_flip_is_refused() {
    let file = sample();
    for i in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[i] ^= 1 << bit;
            let problem = read(&damaged, Values::Finite).unwrap_err().to_string();
            assert!(
                problem.contains("byte") || problem.contains("version"),
                "byte {i} bit {bit}: {problem}"
            );
        }
    }
}

/// The file with one more section at its end, and true checksums.
fn with_section(tag: &[u8; 4], flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut file = sample();
    let frame = section::Frame {
        tag: *tag,
        flags,
        length: payload.len() as u64,
        crc: crc32fast::hash(payload),
    };
    file.extend_from_slice(&frame.to_bytes());
    file.extend_from_slice(payload);
    let bytes: [u8; HEADER_BYTES] = file[..HEADER_BYTES].try_into().unwrap();
    let (header, extension) = Header::parse(&bytes).unwrap();
    let mut extension = extension.unwrap();
    extension.sections += 1;
    extension.length += 24 + payload.len() as u64;
    file[..HEADER_BYTES].copy_from_slice(&header.to_bytes(&extension));
    file
}

#[test]
fn unknown_sections() {
    let file = with_section(b"NEW1", 0, b"from the future");
    let (_, _, tensors, extras) = read(&file, Values::Finite).unwrap();
    assert_eq!(tensors, sample_tensors(&sample_shape()));
    assert_eq!(extras, sample_extras());
    // Passed over, but not unseen: damage in it is damage.
    let mut damaged = file.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let problem = read(&damaged, Values::Finite).unwrap_err().to_string();
    assert!(problem.contains("NEW1") && problem.contains("checksum"), "{problem}");
    let problem = read(&with_section(b"NEW1", 1, b"x"), Values::Finite).unwrap_err().to_string();
    assert!(problem.contains("NEW1") && problem.contains("does not know"), "{problem}");
    let problem = read(&with_section(b"META", 0, &[0; 208]), Values::Finite).unwrap_err();
    assert!(problem.to_string().contains("twice"), "{problem}");
}

#[test]
fn weights_that_are_not_finite() {
    let shape = sample_shape();
    for part in
        [(Part::Value, 0), (Part::Gamma2, 0), (Part::Learned, 0), (Part::LatticeTransform, 0)]
    {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut tensors = sample_tensors(&shape);
            tensors.0.get_mut(&part).unwrap()[3] = bad;
            let file = write(&shape, &tensors, &Extras::default());
            let problem = read(&file, Values::Finite).unwrap_err().to_string();
            let tensor = TensorName { part: part.0, layer: part.1 };
            assert!(problem.contains(&format!("{tensor}: value 3 (byte ")), "{problem}");
            let (_, _, read, _) = read(&file, Values::Any).unwrap();
            assert_eq!(read.0[&part][3].to_bits(), bad.to_bits());
        }
    }
}

/// A true checksum does not make true sizes.
#[test]
fn hostile_sizes_with_true_checksums_are_refused() {
    let file = sample();
    let bytes: [u8; HEADER_BYTES] = file[..HEADER_BYTES].try_into().unwrap();
    let (header, extension) = Header::parse(&bytes).unwrap();
    let extension = extension.unwrap();
    let shape_at = extension.offset as usize + 24;
    // Each number of the section in turn, with the header following where it repeats the number.
    for field in 0..12 + 2 * 3 + 4 * 2 {
        for value in [0u32, 1, 2, 3, 5, 100, 101, 10_000, 1_000_000, 1 << 31, u32::MAX] {
            let at = shape_at + 4 * field;
            if file[at..at + 4] == value.to_le_bytes() {
                continue;
            }
            let mut hostile = file.clone();
            hostile[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let length = u64::from_le_bytes(file[shape_at - 16..shape_at - 8].try_into().unwrap());
            let frame = section::Frame {
                tag: *b"SHAP",
                flags: 1,
                length,
                crc: crc32fast::hash(&hostile[shape_at..shape_at + length as usize]),
            };
            hostile[shape_at - 24..shape_at].copy_from_slice(&frame.to_bytes());
            let mut header = header.clone();
            match field {
                0 => header.vocab_size = u64::from(value),
                1 => header.embedding_dim = u64::from(value),
                2 => header.num_layers = u64::from(value),
                4 => header.context_length = value,
                _ => {}
            }
            hostile[..HEADER_BYTES].copy_from_slice(&header.to_bytes(&extension));
            // Heads, presence and epsilon may be other ones; what takes room may not.
            if let Ok((_, shape, _, _)) = read(&hostile, Values::Finite) {
                let room = |s: &ModelShape| {
                    let hidden: Vec<_> = s.layers.iter().map(|l| l.hidden).collect();
                    let stored = norms(s).len() + tables(s).len();
                    let stored = stored + transforms(s).len();
                    (s.vocab, s.dim, s.max_length, s.norms.len(), hidden, stored)
                };
                assert_eq!(room(&shape), room(&sample_shape()), "field {field} = {value}");
            }
        }
    }
}

#[test]
fn a_file_that_no_reader_takes_is_not_written() {
    let shape = sample_shape();
    let tensors = sample_tensors(&shape);
    let refused = |change: fn(&mut ModelShape)| {
        let mut shape = shape.clone();
        change(&mut shape);
        prepare(&Header::default(), &shape, &tensors, &Extras::default()).is_err()
    };
    assert!(!refused(|s| s.vocab = 1_000_001), "beyond what files of the original hold");
    assert!(!refused(|s| {
        s.layers = vec![s.layers[0]; 101];
        s.norms = vec![s.norms[0]; 202];
    }));
    assert!(refused(|s| s.vocab = 1 << 32));
    assert!(refused(|s| s.layers[0].hidden = usize::MAX));
    assert!(refused(|s| {
        s.dim = 1 << 31;
        s.max_length = 1 << 31;
    }));
    assert!(refused(|s| s.dim = 0));
    assert!(refused(|s| s.layers.clear()));
    assert!(refused(|s| s.layers[1].heads = 3));
    assert!(refused(|s| s.norms.truncate(3)));
    assert!(refused(|s| s.norms[0].epsilon = f32::NAN));
}
