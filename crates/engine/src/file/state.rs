//! The self-contained block of a training checkpoint: named numbers and arrays under one
//! checksum. What the names mean is the trainer's business.

use super::Problem;
use super::bytes::{Parser, bytes_to_floats, floats_to_bytes};
use crate::error::{Error, Result};
use crc32fast::Hasher;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"CLLMSTAT";
const VERSION: u32 = 1;
/// Magic, version, number of entries, length of the block.
const BLOCK_HEADER: usize = 24;
const CRC_BYTES: usize = 4;
/// Floats converted at a time.
const CHUNK: usize = 64 * 1024;

const U64: u8 = 1;
const F64: u8 = 2;
const F32: u8 = 3;
const I32: u8 = 4;
const F32S: u8 = 5;
const BYTES: u8 = 6;
const ABSENT: u8 = 7;

enum Value<'a> {
    Scalar(u8, [u8; 8]),
    F32s(&'a [f32]),
    Bytes(&'a [u8]),
    Absent,
}

impl Value<'_> {
    /// Bytes that the value takes in an entry.
    fn len(&self) -> usize {
        match self {
            Self::Scalar(..) => 8,
            Self::F32s(values) => 4 * values.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Absent => 0,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Scalar(kind, _) => *kind,
            Self::F32s(_) => F32S,
            Self::Bytes(_) => BYTES,
            Self::Absent => ABSENT,
        }
    }
}

/// Collects a checkpoint: `prefix` is what stands before the block (the scalars that the original
/// library wrote), and is under the checksum as well. Arrays are borrowed until [`Self::write`].
pub struct StateWriter<'a> {
    prefix: &'a [u8],
    entries: Vec<(String, Value<'a>)>,
}

impl<'a> StateWriter<'a> {
    /// A block without entries.
    pub fn new(prefix: &'a [u8]) -> Self {
        Self { prefix, entries: Vec::new() }
    }

    fn add(mut self, key: impl Into<String>, value: Value<'a>) -> Self {
        self.entries.push((key.into(), value));
        self
    }

    fn scalar(self, key: impl Into<String>, kind: u8, value: &[u8]) -> Self {
        let mut bytes = [0; 8];
        for (slot, byte) in bytes.iter_mut().zip(value) {
            *slot = *byte;
        }
        self.add(key, Value::Scalar(kind, bytes))
    }

    /// Adds a number.
    pub fn u64(self, key: impl Into<String>, value: u64) -> Self {
        self.scalar(key, U64, &value.to_le_bytes())
    }

    /// Adds a number, bit for bit.
    pub fn f64(self, key: impl Into<String>, value: f64) -> Self {
        self.scalar(key, F64, &value.to_le_bytes())
    }

    /// Adds a number, bit for bit.
    pub fn f32(self, key: impl Into<String>, value: f32) -> Self {
        self.scalar(key, F32, &value.to_le_bytes())
    }

    /// Adds a number.
    pub fn i32(self, key: impl Into<String>, value: i32) -> Self {
        self.scalar(key, I32, &value.to_le_bytes())
    }

    /// Adds an array, bit for bit.
    pub fn f32s(self, key: impl Into<String>, values: &'a [f32]) -> Self {
        self.add(key, Value::F32s(values))
    }

    /// Adds bytes.
    pub fn bytes(self, key: impl Into<String>, bytes: &'a [u8]) -> Self {
        self.add(key, Value::Bytes(bytes))
    }

    /// Records that the object has no such array.
    pub fn absent(self, key: impl Into<String>) -> Self {
        self.add(key, Value::Absent)
    }

    /// Adds an array, or records that there is none.
    pub fn maybe_f32s(self, key: impl Into<String>, values: Option<&'a [f32]>) -> Self {
        match values {
            Some(values) => self.f32s(key, values),
            None => self.absent(key),
        }
    }

    /// Writes the prefix and the block.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let entry_bytes = |(key, value): &(String, Value)| 2 + key.len() + 1 + 8 + value.len();
        let length: usize = self.entries.iter().map(entry_bytes).sum();
        let mut crc = Hasher::new();
        let mut put = |bytes: &[u8]| {
            crc.update(bytes);
            out.write_all(bytes)
        };
        put(self.prefix)?;
        put(MAGIC)?;
        put(&VERSION.to_le_bytes())?;
        put(&(self.entries.len() as u32).to_le_bytes())?;
        put(&((BLOCK_HEADER + length + CRC_BYTES) as u64).to_le_bytes())?;
        let mut buffer = vec![0; 4 * CHUNK];
        for (key, value) in &self.entries {
            let key_len = u16::try_from(key.len())
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a key is too long"))?;
            put(&key_len.to_le_bytes())?;
            put(key.as_bytes())?;
            put(&[value.kind()])?;
            put(&(value.len() as u64).to_le_bytes())?;
            match value {
                Value::Scalar(_, bytes) => put(bytes)?,
                Value::Bytes(bytes) => put(bytes)?,
                Value::Absent => {}
                Value::F32s(values) => {
                    for chunk in values.chunks(CHUNK) {
                        put(floats_to_bytes(chunk, &mut buffer))?;
                    }
                }
            }
        }
        let crc = crc.finalize();
        out.write_all(&crc.to_le_bytes())
    }
}

/// An array of floats in the bytes of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Floats<'a>(&'a [u8]);

impl Floats<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies them to `out`, which must be of the same length.
    pub fn copy_to(&self, out: &mut [f32]) -> Result<()> {
        if out.len() != self.len() {
            return Err(Error::shape(format!(
                "{} values of a checkpoint for an array of {}",
                self.len(),
                out.len()
            )));
        }
        bytes_to_floats(self.0, out);
        Ok(())
    }

    /// A copy of them.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        let mut values = cllm_kernels::memory::filled("an array of a checkpoint", self.len())?;
        self.copy_to(&mut values)?;
        Ok(values)
    }
}

/// A checkpoint that has been read: every entry is there, whole, and under a checksum that holds.
#[derive(Debug)]
pub struct State<'a> {
    entries: HashMap<&'a str, (u8, &'a [u8])>,
}

/// Whether the bytes after the prefix are a block of this library. An original file has floats
/// there, or nothing.
pub fn has_block(file: &[u8], prefix_len: usize) -> bool {
    file.get(prefix_len..).is_some_and(|rest| rest.starts_with(MAGIC))
}

impl<'a> State<'a> {
    /// Reads the block after the first `prefix_len` bytes of `file`; those bytes are under the
    /// checksum too.
    pub fn parse(file: &'a [u8], prefix_len: usize) -> Result<Self, Problem> {
        let block = file.get(prefix_len..).filter(|b| b.len() >= BLOCK_HEADER + CRC_BYTES);
        let block = block.ok_or_else(|| {
            Problem::content(format!(
                "is {} bytes long, too short for a checkpoint: it is cut short",
                file.len()
            ))
        })?;
        let mut p = Parser::new("the checkpoint", block);
        if p.take(8)? != MAGIC {
            return Err(Problem::content(format!(
                "is not a checkpoint of this library: no \"CLLMSTAT\" at byte {prefix_len}"
            )));
        }
        let version = p.u32()?;
        if version != VERSION {
            return Err(Problem::content(format!(
                "the checkpoint has version {version}; this library knows version {VERSION}"
            )));
        }
        let count = p.u32()?;
        let length = p.u64()?;
        if length != block.len() as u64 {
            return Err(Problem::content(format!(
                "the checkpoint states {length} bytes from byte {prefix_len} on, the file has {}: \
                 it is cut short or damaged",
                block.len()
            )));
        }
        let (content, crc) = file.split_at(file.len() - CRC_BYTES);
        if crc32fast::hash(content).to_le_bytes() != *crc {
            return Err(Problem::content(format!(
                "the checkpoint ({} bytes) does not match its checksum: the file is damaged",
                file.len()
            )));
        }

        // An entry takes 11 bytes or more, whatever `count` says.
        let room = (block.len() / 11).min(count as usize);
        let mut entries = HashMap::new();
        entries
            .try_reserve(room)
            .map_err(|_| Error::Memory { what: "a checkpoint", bytes: 32 * room })?;
        for _ in 0..count {
            let key_len = u16::from_le_bytes(p.array()?);
            let key = std::str::from_utf8(p.take(usize::from(key_len))?)
                .map_err(|_| Problem::content("an entry of the checkpoint has no proper name"))?;
            let [kind] = p.array()?;
            let len = p.u64()?;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let value = p.take(len)?;
            let fits = match kind {
                U64 | F64 | F32 | I32 => len == 8,
                F32S => len.is_multiple_of(4),
                BYTES => true,
                ABSENT => len == 0,
                _ => false,
            };
            if !fits || entries.insert(key, (kind, value)).is_some() {
                return Err(Problem::content(format!(
                    "entry {key} of the checkpoint (kind {kind}, {len} bytes) is not valid"
                )));
            }
        }
        p.take(CRC_BYTES)?;
        p.end()?;
        Ok(Self { entries })
    }

    fn get(&self, key: &str, kind: u8) -> Result<&'a [u8], Problem> {
        match self.entries.get(key) {
            Some(&(found, value)) if found == kind => Ok(value),
            Some((found, _)) => Err(Problem::content(format!(
                "entry {key} of the checkpoint has kind {found}, not {kind}"
            ))),
            None => Err(Problem::content(format!("the checkpoint has no entry {key}"))),
        }
    }

    fn scalar<const N: usize>(&self, key: &str, kind: u8) -> Result<[u8; N], Problem> {
        Parser::new("an entry of the checkpoint", self.get(key, kind)?).array()
    }

    /// A number.
    pub fn u64(&self, key: &str) -> Result<u64, Problem> {
        self.scalar(key, U64).map(u64::from_le_bytes)
    }

    /// A number.
    pub fn f64(&self, key: &str) -> Result<f64, Problem> {
        self.scalar(key, F64).map(f64::from_le_bytes)
    }

    /// A number.
    pub fn f32(&self, key: &str) -> Result<f32, Problem> {
        self.scalar(key, F32).map(f32::from_le_bytes)
    }

    /// A number.
    pub fn i32(&self, key: &str) -> Result<i32, Problem> {
        self.scalar(key, I32).map(i32::from_le_bytes)
    }

    /// Bytes.
    pub fn bytes(&self, key: &str) -> Result<&'a [u8], Problem> {
        self.get(key, BYTES)
    }

    /// An array of `expected` values; `None` where the object had none.
    pub fn maybe_f32s(&self, key: &str, expected: usize) -> Result<Option<Floats<'a>>, Problem> {
        if self.is_absent(key) {
            return Ok(None);
        }
        let floats = Floats(self.get(key, F32S)?);
        if floats.len() != expected {
            return Err(Problem::content(format!(
                "entry {key} of the checkpoint has {} values, not {expected}",
                floats.len()
            )));
        }
        Ok(Some(floats))
    }

    /// An array of `expected` values, which must be there.
    pub fn f32s(&self, key: &str, expected: usize) -> Result<Floats<'a>, Problem> {
        self.maybe_f32s(key, expected)?.ok_or_else(|| {
            Problem::content(format!("the checkpoint was made without the array {key}"))
        })
    }

    /// Whether it is recorded that there is no such array.
    pub fn is_absent(&self, key: &str) -> bool {
        matches!(self.entries.get(key), Some((ABSENT, _)))
    }

    /// Whether there is an entry, be it an absent array.
    pub fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The names of the entries, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }
}

/// The whole content of a checkpoint file, for [`State::parse`]. Memory is taken for what the
/// file really holds.
pub fn load(path: &Path) -> Result<Vec<u8>> {
    let (file, len) = super::open(path)?;
    let mut bytes = Vec::new();
    let capacity = usize::try_from(len).unwrap_or(usize::MAX);
    bytes
        .try_reserve_exact(capacity)
        .map_err(|_| Error::Memory { what: "a checkpoint", bytes: capacity })?;
    file.take(len).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &[u8] = b"sixteen  bytes  ";

    fn sample() -> Vec<u8> {
        let moments = [1.5f32, -0.0, f32::NAN, 3e-45];
        let mut file = Vec::new();
        StateWriter::new(PREFIX)
            .u64("t", u64::MAX - 1)
            .f64("scale", -0.1)
            .f32("rate", 1e-3)
            .i32("step", -7)
            .f32s("m/query/0", &moments)
            .f32s("m/none", &[])
            .absent("v/query/0")
            .bytes("rng", b"\0\x01\xff")
            .write(&mut file)
            .unwrap();
        file
    }

    #[test]
    fn entries_survive() {
        let file = sample();
        assert!(has_block(&file, 16) && file.starts_with(PREFIX));
        let state = State::parse(&file, 16).unwrap();
        assert_eq!(state.u64("t").unwrap(), u64::MAX - 1);
        assert_eq!(state.f64("scale").unwrap(), -0.1);
        assert_eq!(state.f32("rate").unwrap(), 1e-3);
        assert_eq!(state.i32("step").unwrap(), -7);
        assert_eq!(state.bytes("rng").unwrap(), b"\0\x01\xff");
        let moments = state.f32s("m/query/0", 4).unwrap().to_vec().unwrap();
        let bits: Vec<u32> = moments.iter().map(|x| x.to_bits()).collect();
        assert_eq!(bits, [0x3FC0_0000, 0x8000_0000, f32::NAN.to_bits(), 2]);
        assert!(state.f32s("m/none", 0).unwrap().is_empty());
        assert!(state.is_absent("v/query/0"));
        assert!(state.maybe_f32s("v/query/0", 4).unwrap().is_none());
        assert_eq!(state.keys().count(), 8);
    }

    #[test]
    fn wrong_questions_are_errors() {
        let file = sample();
        let state = State::parse(&file, 16).unwrap();
        for problem in [
            state.f32s("m/query/0", 3).unwrap_err(),
            state.f32s("v/query/0", 4).unwrap_err(),
            state.f32s("t", 2).unwrap_err(),
            state.u64("m/query/0").map(drop).unwrap_err(),
            state.u64("nothing").map(drop).unwrap_err(),
        ] {
            assert!(matches!(problem, Problem::Content(_)));
        }
        let moments = state.f32s("m/query/0", 4).unwrap();
        assert!(moments.copy_to(&mut [0.0; 3]).is_err());
    }

    #[test]
    fn every_truncation_and_flip_is_refused() {
        let file = sample();
        for len in 0..file.len() {
            assert!(State::parse(&file[..len], 16).is_err(), "{len} bytes");
        }
        for i in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[i] ^= 1 << bit;
                assert!(State::parse(&damaged, 16).is_err(), "byte {i} bit {bit}");
            }
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(State::parse(&longer, 16).is_err());
    }

    #[test]
    fn hostile_entries_with_a_true_checksum_are_refused() {
        // An entry's length that goes past the end; a key that stands twice.
        let mut huge = sample();
        let at = 16 + BLOCK_HEADER + 2 + 1 + 1;
        huge[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        let mut twice = Vec::new();
        StateWriter::new(PREFIX).u64("t", 1).u64("t", 2).write(&mut twice).unwrap();
        for mut file in [huge, twice] {
            let content = file.len() - CRC_BYTES;
            let crc = crc32fast::hash(&file[..content]).to_le_bytes();
            file[content..].copy_from_slice(&crc);
            assert!(State::parse(&file, 16).is_err());
        }
    }
}
