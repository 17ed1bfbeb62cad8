//! What a model file holds besides sizes and floats: words, tokens, lattice points, training
//! metadata.

use super::Problem;
use super::bytes::Parser;
use crate::error::{Error, ErrorKind};
use crate::model::{LatticePoint, TokenRecord, TrainingRecord};
use crate::text::{Bpe, WordList};

impl WordList {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + 4 * self.len() + self.byte_len());
        out.extend_from_slice(&(self.len() as u32).to_le_bytes());
        for word in self.iter() {
            out.extend_from_slice(&(word.len() as u32).to_le_bytes());
            out.extend_from_slice(word);
        }
        out
    }

    pub(super) fn parse(payload: &[u8], vocab: usize) -> Result<Self, Problem> {
        let mut p = Parser::new("section WORD", payload);
        expect("WORD", u64::from(p.u32()?), vocab)?;
        let mut words = Self::default();
        words.reserve(vocab.min(payload.len() / 4), payload.len())?;
        for id in 0..vocab {
            let len = p.u32()?;
            let word = p.take(len as usize)?;
            if word.contains(&0) {
                return Err(Problem::content(format!("section WORD: word {id} holds a NUL byte")));
            }
            words.push(word)?;
        }
        p.end()?;
        Ok(words)
    }
}

const TOKEN_BYTES: usize = 68;
/// First byte and length of each column in a token's bytes; bit i of the mask is column i.
const COLUMNS: [(usize, usize); 10] =
    [(0, 4), (4, 8), (12, 12), (24, 4), (28, 4), (32, 4), (36, 4), (40, 4), (44, 4), (48, 20)];

impl TokenRecord {
    /// The id counts from the token's place, so that what is usual is zero.
    fn to_bytes(self, index: u32) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        let mut used = 0;
        let mut put = |value: &[u8]| {
            if let Some(slot) = bytes.get_mut(used..used + value.len()) {
                slot.copy_from_slice(value);
            }
            used += value.len();
        };
        put(&self.token_id.wrapping_sub(index).to_le_bytes());
        put(&self.prime_encoding.to_le_bytes());
        for x in self.lattice_coords {
            put(&x.to_le_bytes());
        }
        put(&self.angle.to_le_bytes());
        put(&self.radius.to_le_bytes());
        put(&self.frequency.to_le_bytes());
        put(&self.symmetry_group.to_le_bytes());
        put(&self.spiral_angle.to_le_bytes());
        put(&self.radial_distance.to_le_bytes());
        put(&self.reserved);
        bytes
    }

    fn parse(bytes: &[u8; TOKEN_BYTES], index: u32) -> Result<Self, Problem> {
        let mut p = Parser::new("section TOKN", bytes);
        Ok(Self {
            token_id: p.u32()?.wrapping_add(index),
            prime_encoding: p.u64()?,
            lattice_coords: p.f32s()?,
            angle: p.f32()?,
            radius: p.f32()?,
            frequency: p.f32()?,
            symmetry_group: p.u32()?,
            spiral_angle: p.f32()?,
            radial_distance: p.f32()?,
            reserved: p.array()?,
        })
    }
}

/// The columns that are not zero throughout, each with one value per token; empty when none is.
pub(super) fn tokens_to_bytes(tokens: &[TokenRecord]) -> Vec<u8> {
    let mut any = [0u8; TOKEN_BYTES];
    for (index, token) in tokens.iter().enumerate() {
        for (sum, byte) in any.iter_mut().zip(token.to_bytes(index as u32)) {
            *sum |= byte;
        }
    }
    let used = |&(start, len): &(usize, usize)| any[start..start + len].iter().any(|&b| b != 0);
    let mask = COLUMNS.iter().enumerate();
    let mask = mask.fold(0u32, |m, (bit, c)| m | u32::from(used(c)) << bit);
    let mut out = Vec::new();
    if mask == 0 {
        return out;
    }
    out.extend_from_slice(&(tokens.len() as u32).to_le_bytes());
    out.extend_from_slice(&mask.to_le_bytes());
    for &(start, len) in COLUMNS.iter().filter(|c| used(c)) {
        for (index, token) in tokens.iter().enumerate() {
            out.extend_from_slice(&token.to_bytes(index as u32)[start..start + len]);
        }
    }
    out
}

pub(super) fn parse_tokens(payload: &[u8], vocab: usize) -> Result<Vec<TokenRecord>, Problem> {
    let mut p = Parser::new("section TOKN", payload);
    expect("TOKN", u64::from(p.u32()?), vocab)?;
    let mask = p.u32()?;
    if mask == 0 || mask >> COLUMNS.len() != 0 {
        return Err(Problem::content(format!(
            "section TOKN: the mask of columns has the unknown value {mask}"
        )));
    }
    let mut columns = [&[][..]; COLUMNS.len()];
    for (bit, (column, (_, len))) in columns.iter_mut().zip(COLUMNS).enumerate() {
        if mask >> bit & 1 == 1 {
            *column = p.take(vocab * len)?;
        }
    }
    p.end()?;
    let mut tokens = Vec::new();
    reserve(&mut tokens, vocab)?;
    for index in 0..vocab {
        let mut bytes = [0; TOKEN_BYTES];
        for (column, (start, len)) in columns.iter().zip(COLUMNS) {
            if let Some(value) = column.get(index * len..(index + 1) * len) {
                bytes[start..start + len].copy_from_slice(value);
            }
        }
        tokens.push(TokenRecord::parse(&bytes, index as u32)?);
    }
    Ok(tokens)
}

/// The rules by which the words of section WORD are meant to be looked up.
const TOKENIZER: [u32; 2] = [
    1, // Text is split at white space.
    1, // A word is looked up as it stands, then in ASCII lower case.
];

pub(super) fn tokenizer() -> Vec<u8> {
    TOKENIZER.iter().flat_map(|n| n.to_le_bytes()).collect()
}

pub(super) fn check_tokenizer(payload: &[u8]) -> Result<(), Problem> {
    let mut p = Parser::new("section TSET", payload);
    let rules = p.u32s::<2>()?;
    p.end()?;
    if rules == TOKENIZER {
        return Ok(());
    }
    Err(Problem::content(format!("section TSET: tokenizer rules {rules:?} are not known")))
}

pub(super) fn parse_subwords(payload: &[u8], vocab: usize) -> Result<Bpe, Problem> {
    let bpe = Bpe::from_bytes(payload).map_err(|error| match error.kind() {
        ErrorKind::Memory { .. } => Problem::Other(error),
        _ => Problem::content(format!("section SUBW: {error}")),
    })?;
    if bpe.len() > vocab {
        return Err(Problem::content(format!(
            "section SUBW has {} tokens, the model {vocab} ids",
            bpe.len()
        )));
    }
    Ok(bpe)
}

const POINT_BYTES: usize = 200;

pub(super) fn points_to_bytes(points: &[LatticePoint]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + POINT_BYTES * points.len());
    out.extend_from_slice(&(points.len() as u64).to_le_bytes());
    for point in points {
        out.extend_from_slice(&point.point_id.to_le_bytes());
        out.extend_from_slice(&point.prime.to_le_bytes());
        out.extend_from_slice(&point.prime_factor.to_le_bytes());
        let floats = point.coords.iter();
        for x in floats.chain([&point.angle, &point.radius, &point.resonance]) {
            out.extend_from_slice(&x.to_le_bytes());
        }
        let numbers = point.neighbors.iter().chain(&point.neighbor_ids);
        for n in numbers.chain([&point.num_neighbors, &point.neighbor_count, &point.symmetry_group])
        {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&point.reserved);
    }
    out
}

pub(super) fn parse_points(payload: &[u8], stated: u64) -> Result<Vec<LatticePoint>, Problem> {
    let mut p = Parser::new("section LATP", payload);
    let count = p.u64()?;
    if count != stated || count.checked_mul(POINT_BYTES as u64) != Some(p.left() as u64) {
        return Err(Problem::content(format!(
            "section LATP states {count} points in {} bytes, the header {stated}",
            p.left()
        )));
    }
    let mut points = Vec::new();
    reserve(&mut points, count as usize)?;
    for _ in 0..count {
        points.push(LatticePoint {
            point_id: p.u32()?,
            prime: p.u64()?,
            prime_factor: p.u64()?,
            coords: p.f32s()?,
            angle: p.f32()?,
            radius: p.f32()?,
            resonance: p.f32()?,
            neighbors: p.u32s()?,
            neighbor_ids: p.u32s()?,
            num_neighbors: p.u32()?,
            neighbor_count: p.u32()?,
            symmetry_group: p.u32()?,
            reserved: p.array()?,
        });
    }
    p.end()?;
    Ok(points)
}

impl TrainingRecord {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.training_steps.to_le_bytes());
        out.extend_from_slice(&self.learning_rate.to_le_bytes());
        out.extend_from_slice(&self.loss.to_le_bytes());
        out.extend_from_slice(&self.optimizer);
        out.extend_from_slice(&self.reserved);
        out
    }

    pub(super) fn parse(payload: &[u8]) -> Result<Self, Problem> {
        let mut p = Parser::new("section META", payload);
        let training = Self {
            training_steps: p.u64()?,
            learning_rate: p.f32()?,
            loss: p.f32()?,
            optimizer: p.array()?,
            reserved: p.array()?,
        };
        p.end()?;
        Ok(training)
    }
}

/// Everything of a model that is neither its sizes nor its floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// One per id; none where the words are `token_<id>`, or the tokens are subwords.
    pub words: WordList,
    /// The subwords, with at most as many tokens as the model has ids.
    pub subwords: Option<Bpe>,
    /// One per id; none where they are all plain.
    pub tokens: Vec<TokenRecord>,
    /// The lattice points of the model.
    pub points: Vec<LatticePoint>,
    /// Its training metadata.
    pub training: TrainingRecord,
}

fn expect(section: &str, count: u64, vocab: usize) -> Result<(), Problem> {
    if count == vocab as u64 {
        return Ok(());
    }
    Err(Problem::content(format!(
        "section {section} is about {count} tokens, the header about {vocab}"
    )))
}

fn reserve<T>(vec: &mut Vec<T>, len: usize) -> Result<(), Problem> {
    vec.try_reserve_exact(len).map_err(|_| {
        Problem::Other(Error::memory("a section of the file", len.saturating_mul(size_of::<T>())))
    })
}
