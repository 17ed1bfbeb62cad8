//! The container of a training checkpoint: named numbers and arrays under one checksum, behind a
//! prefix that other readers know. What the names mean is the trainer's business.
//!
//! Neither side holds more than one array's part at a time: writing asks for the content twice,
//! first for its size; reading goes through the file once for the checksum, then takes each array
//! straight to where it belongs.

use super::Problem;
use super::bytes::{Parser, bytes_to_floats, floats_to_bytes};
use crate::error::Error;
use crc32fast::Hasher;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

const MAGIC: &[u8; 8] = b"CLLMSTAT";
const VERSION: u32 = 1;
/// Magic, version, number of entries, length of the block.
const BLOCK_HEADER: usize = 24;
const CRC_BYTES: usize = 4;
/// What the smallest entry takes: length of the key, no key, kind, length of the value.
const ENTRY_HEADER: usize = 11;
/// Floats converted at a time.
const CHUNK: usize = 64 * 1024;

const U64: u8 = 1;
const F64: u8 = 2;
const F32: u8 = 3;
const I32: u8 = 4;
const F32S: u8 = 5;
const BYTES: u8 = 6;
const ABSENT: u8 = 7;

/// Takes the entries of a container, one after the other.
pub struct Entries<'a> {
    /// `None` while they are only measured.
    out: Option<&'a mut dyn Write>,
    crc: Hasher,
    count: u32,
    bytes: u64,
    buffer: Vec<u8>,
}

/// Writes `prefix` and a container. `content` is called twice and has to give the same entries.
///
/// # Errors
/// Those of `out` and of `content`.
pub fn write(
    out: &mut dyn Write,
    prefix: &[u8],
    mut content: impl FnMut(&mut Entries) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let empty = |out| Entries { out, crc: Hasher::new(), count: 0, bytes: 0, buffer: Vec::new() };
    let mut measured = empty(None);
    content(&mut measured)?;
    let length = (BLOCK_HEADER + CRC_BYTES) as u64 + measured.bytes;

    let mut entries = empty(Some(out));
    entries.put(prefix)?;
    entries.put(MAGIC)?;
    entries.put(&VERSION.to_le_bytes())?;
    entries.put(&measured.count.to_le_bytes())?;
    entries.put(&length.to_le_bytes())?;
    entries.bytes = 0;
    content(&mut entries)?;
    if (entries.count, entries.bytes) != (measured.count, measured.bytes) {
        return Err(Problem::content("the content changed while it was written"));
    }
    let crc = entries.crc.clone().finalize();
    entries.put(&crc.to_le_bytes())?;
    Ok(())
}

impl Entries<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if let Some(out) = &mut self.out {
            self.crc.update(bytes);
            out.write_all(bytes)?;
        }
        Ok(())
    }

    fn head(&mut self, key: &str, kind: u8, len: usize) -> Result<(), Problem> {
        let key_len =
            u16::try_from(key.len()).map_err(|_| Problem::content("a key is too long"))?;
        self.count += 1;
        self.put(&key_len.to_le_bytes())?;
        self.put(key.as_bytes())?;
        self.put(&[kind])?;
        self.put(&(len as u64).to_le_bytes())?;
        Ok(())
    }

    fn scalar(&mut self, key: &str, kind: u8, value: &[u8]) -> Result<(), Problem> {
        let mut bytes = [0; 8];
        for (slot, byte) in bytes.iter_mut().zip(value) {
            *slot = *byte;
        }
        self.head(key, kind, bytes.len())?;
        Ok(self.put(&bytes)?)
    }

    /// Adds a number.
    pub fn u64(&mut self, key: &str, value: u64) -> Result<(), Problem> {
        self.scalar(key, U64, &value.to_le_bytes())
    }

    /// Adds a number, bit for bit.
    pub fn f64(&mut self, key: &str, value: f64) -> Result<(), Problem> {
        self.scalar(key, F64, &value.to_le_bytes())
    }

    /// Adds a number, bit for bit.
    pub fn f32(&mut self, key: &str, value: f32) -> Result<(), Problem> {
        self.scalar(key, F32, &value.to_le_bytes())
    }

    /// Adds a number.
    pub fn i32(&mut self, key: &str, value: i32) -> Result<(), Problem> {
        self.scalar(key, I32, &value.to_le_bytes())
    }

    /// Adds bytes.
    pub fn bytes(&mut self, key: &str, bytes: &[u8]) -> Result<(), Problem> {
        self.head(key, BYTES, bytes.len())?;
        Ok(self.put(bytes)?)
    }

    /// Adds an array, bit for bit, or records that there is none.
    pub fn floats(&mut self, key: &str, values: Option<&[f32]>) -> Result<(), Problem> {
        let Some(values) = values else {
            return self.head(key, ABSENT, 0);
        };
        if !self.begin_floats(key, values.len())? {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        for chunk in values.chunks(CHUNK) {
            self.put(floats_to_bytes(chunk, &mut buffer))?;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Adds an array of `len` values, which `fill` gives in parts, each from the place that it is told on.
    pub fn floats_by(
        &mut self,
        key: &str,
        len: usize,
        mut fill: impl FnMut(usize, &mut [f32]) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if !self.begin_floats(key, len)? {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut values = cllm_kernels::memory::filled("a checkpoint", CHUNK.min(len))?;
        for at in (0..len).step_by(CHUNK) {
            let part = &mut values[..CHUNK.min(len - at)];
            fill(at, part)?;
            self.put(floats_to_bytes(part, &mut buffer))?;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// The head of an array of so many values, which are only counted where it says false.
    fn begin_floats(&mut self, key: &str, len: usize) -> Result<bool, Problem> {
        let bytes = len * size_of::<f32>();
        self.head(key, F32S, bytes)?;
        if self.out.is_none() {
            self.bytes += bytes as u64;
            return Ok(false);
        }
        cllm_kernels::memory::grow("a checkpoint", &mut self.buffer, 4 * CHUNK.min(len))?;
        Ok(true)
    }
}

/// Where the value of an entry lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    kind: u8,
    at: u64,
    len: u64,
}

/// A container whose checksum holds and whose entries are all there, whole; their values are read
/// from the source when they are asked for.
#[derive(Debug)]
pub struct Container<R> {
    source: R,
    entries: HashMap<String, Place>,
}

/// Whether a container begins at the source's position, where it stays. A file of the original
/// library has floats there, or nothing.
///
/// # Errors
/// Those of the source.
pub fn begins_here(source: &mut (impl Read + Seek)) -> io::Result<bool> {
    let at = source.stream_position()?;
    let mut magic = Vec::with_capacity(MAGIC.len());
    source.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    source.seek(SeekFrom::Start(at))?;
    Ok(magic == MAGIC)
}

impl<R: Read + Seek> Container<R> {
    /// Reads through a source of `len` bytes, whose first `prefix_len` are under the checksum too,
    /// but no part of the container.
    ///
    /// # Errors
    /// What is not a whole container of this version: says what is wrong.
    pub fn open(mut source: R, prefix_len: usize, len: u64) -> Result<Self, Problem> {
        let block = len.saturating_sub(prefix_len as u64);
        if block < (BLOCK_HEADER + CRC_BYTES) as u64 {
            return Err(Problem::content(format!(
                "is {len} bytes long, too short for a checkpoint: it is cut short"
            )));
        }
        source.seek(SeekFrom::Start(prefix_len as u64))?;
        let mut header = [0; BLOCK_HEADER];
        source.read_exact(&mut header)?;
        let mut p = Parser::new("the checkpoint", &header);
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
        let (count, length) = (p.u32()?, p.u64()?);
        if length != block {
            return Err(Problem::content(format!(
                "the checkpoint states {length} bytes from byte {prefix_len} on, the file has \
                 {block}: it is cut short or damaged"
            )));
        }
        check_sum(&mut source, len)?;

        source.seek(SeekFrom::Start((prefix_len + BLOCK_HEADER) as u64))?;
        let entries = index(&mut source, count, len - CRC_BYTES as u64)?;
        Ok(Self { source, entries })
    }

    fn find(&self, key: &str, kind: u8) -> Result<Place, Problem> {
        match self.entries.get(key) {
            Some(place) if place.kind == kind => Ok(*place),
            Some(Place { kind: found, .. }) => Err(Problem::content(format!(
                "entry {key} of the checkpoint has kind {found}, not {kind}"
            ))),
            None => Err(Problem::content(format!("the checkpoint has no entry {key}"))),
        }
    }

    fn scalar<const N: usize>(&mut self, key: &str, kind: u8) -> Result<[u8; N], Problem> {
        let place = self.find(key, kind)?;
        let mut value = [0; N];
        self.source.seek(SeekFrom::Start(place.at))?;
        self.source.read_exact(&mut value)?;
        Ok(value)
    }

    /// The number of that name.
    pub fn u64(&mut self, key: &str) -> Result<u64, Problem> {
        self.scalar(key, U64).map(u64::from_le_bytes)
    }

    /// The number of that name, bit for bit.
    pub fn f64(&mut self, key: &str) -> Result<f64, Problem> {
        self.scalar(key, F64).map(f64::from_le_bytes)
    }

    /// The number of that name, bit for bit.
    pub fn f32(&mut self, key: &str) -> Result<f32, Problem> {
        self.scalar(key, F32).map(f32::from_le_bytes)
    }

    /// The number of that name.
    pub fn i32(&mut self, key: &str) -> Result<i32, Problem> {
        self.scalar(key, I32).map(i32::from_le_bytes)
    }

    /// The bytes of that name.
    pub fn bytes(&mut self, key: &str) -> Result<Vec<u8>, Problem> {
        let place = self.find(key, BYTES)?;
        // It lies within the file: no larger allocation than that.
        let len = usize::try_from(place.len).unwrap_or(usize::MAX);
        let mut bytes = cllm_kernels::memory::filled("bytes of a checkpoint", len)?;
        self.source.seek(SeekFrom::Start(place.at))?;
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the array of that name is there, with `expected` values; `false` where it is
    /// recorded that there was none.
    ///
    /// # Errors
    /// No such entry, or one of another length or kind.
    pub fn has_floats(&self, key: &str, expected: usize) -> Result<bool, Problem> {
        if matches!(self.entries.get(key), Some(Place { kind: ABSENT, .. })) {
            return Ok(false);
        }
        let count = self.find(key, F32S)?.len / 4;
        if count != expected as u64 {
            return Err(Problem::content(format!(
                "entry {key} of the checkpoint has {count} values, not {expected}"
            )));
        }
        Ok(true)
    }

    /// Fills `out` with the array of that name, bit for bit; `false`, and nothing happens, where
    /// there was none.
    ///
    /// # Errors
    /// As [`has_floats`](Self::has_floats), and those of the source.
    pub fn read_floats(&mut self, key: &str, out: &mut [f32]) -> Result<bool, Problem> {
        self.read_part(key, out.len(), 0, out)
    }

    /// Likewise with the values from place `at` on of an array of `len`.
    ///
    /// # Errors
    /// As [`read_floats`](Self::read_floats), and a part that reaches beyond the array.
    pub fn read_part(
        &mut self,
        key: &str,
        len: usize,
        at: usize,
        out: &mut [f32],
    ) -> Result<bool, Problem> {
        if !self.has_floats(key, len)? {
            return Ok(false);
        }
        if at.checked_add(out.len()).is_none_or(|end| end > len) {
            return Err(Problem::content(format!("entry {key} of the checkpoint ends early")));
        }
        let place = self.find(key, F32S)?.at;
        self.source.seek(SeekFrom::Start(place + 4 * at as u64))?;
        let mut buffer = cllm_kernels::memory::filled("a checkpoint", 4 * CHUNK.min(out.len()))?;
        for chunk in out.chunks_mut(CHUNK) {
            let bytes = &mut buffer[..4 * chunk.len()];
            self.source.read_exact(bytes)?;
            bytes_to_floats(bytes, chunk);
        }
        Ok(true)
    }

    /// Whether there is an entry of that name, be it an absent array.
    pub fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The names of the entries, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

/// Whether the last four bytes of a source are the checksum of those before.
fn check_sum(source: &mut (impl Read + Seek), len: u64) -> Result<(), Problem> {
    source.seek(SeekFrom::Start(0))?;
    let mut buffer = cllm_kernels::memory::filled("a checkpoint", 4 * CHUNK)?;
    let mut hasher = Hasher::new();
    let mut left = len - CRC_BYTES as u64;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        source.read_exact(&mut buffer[..part])?;
        hasher.update(&buffer[..part]);
        left -= part as u64;
    }
    let mut crc = [0; CRC_BYTES];
    source.read_exact(&mut crc)?;
    if hasher.finalize().to_le_bytes() != crc {
        return Err(Problem::content(format!(
            "the checkpoint ({len} bytes) does not match its checksum: the file is damaged"
        )));
    }
    Ok(())
}

/// The entries from the source's position to byte `end`.
fn index(
    source: &mut (impl Read + Seek),
    count: u32,
    end: u64,
) -> Result<HashMap<String, Place>, Problem> {
    let early = || Problem::content("the checkpoint ends early");
    let mut at = source.stream_position()?;
    let left = end.saturating_sub(at);
    // Room for no more entries than the bytes can hold, whatever `count` says.
    let room = u64::from(count).min(left / ENTRY_HEADER as u64) as usize;
    let mut entries = HashMap::new();
    entries.try_reserve(room).map_err(|_| Error::memory("a checkpoint", 64 * room))?;
    for _ in 0..count {
        let mut key_len = [0; 2];
        source.read_exact(&mut key_len)?;
        let key_len = u16::from_le_bytes(key_len);
        let head_len = ENTRY_HEADER as u64 + u64::from(key_len);
        let start = at.checked_add(head_len).filter(|&start| start <= end).ok_or_else(early)?;
        let mut key = vec![0; usize::from(key_len)];
        source.read_exact(&mut key)?;
        let mut rest = [0; 9];
        source.read_exact(&mut rest)?;
        let mut p = Parser::new("an entry of the checkpoint", &rest);
        let ([kind], len) = (p.array()?, p.u64()?);
        let key = String::from_utf8(key)
            .map_err(|_| Problem::content("an entry of the checkpoint has no proper name"))?;
        at = start.checked_add(len).filter(|&next| next <= end).ok_or_else(early)?;
        let fits = match kind {
            U64 | F64 | F32 | I32 => len == 8,
            F32S => len.is_multiple_of(4),
            BYTES => true,
            ABSENT => len == 0,
            _ => false,
        };
        if !fits || entries.contains_key(&key) {
            return Err(Problem::content(format!(
                "entry {key} of the checkpoint (kind {kind}, {len} bytes) is not valid"
            )));
        }
        entries.insert(key, Place { kind, at: start, len });
        // Within the file, so within an i64; a buffered source keeps what it has.
        source.seek_relative(len as i64)?;
    }
    if at != end {
        let more = end - at;
        return Err(Problem::content(format!("the checkpoint has {more} bytes too many")));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const PREFIX: &[u8] = b"sixteen  bytes  ";

    fn written(mut content: impl FnMut(&mut Entries) -> Result<(), Problem>) -> Vec<u8> {
        let mut file = Vec::new();
        write(&mut file, PREFIX, |e| content(e)).unwrap();
        file
    }

    fn sample() -> Vec<u8> {
        let moments = [1.5f32, -0.0, f32::NAN, 3e-45];
        written(|e| {
            e.u64("t", u64::MAX - 1)?;
            e.f64("scale", -0.1)?;
            e.f32("rate", 1e-3)?;
            e.i32("step", -7)?;
            e.floats("m/query/0", Some(&moments))?;
            e.floats("m/none", Some(&[]))?;
            e.floats("v/query/0", None)?;
            e.bytes("rng", b"\0\x01\xff")
        })
    }

    fn open(file: &[u8]) -> Result<Container<Cursor<&[u8]>>, Problem> {
        Container::open(Cursor::new(file), PREFIX.len(), file.len() as u64)
    }

    #[test]
    fn entries_survive() {
        let file = sample();
        assert!(file.starts_with(PREFIX));
        let mut source = Cursor::new(&file);
        assert!(!begins_here(&mut source).unwrap());
        source.set_position(16);
        assert!(begins_here(&mut source).unwrap());
        assert_eq!(source.position(), 16);
        let mut saved = open(&file).unwrap();
        assert_eq!(saved.u64("t").unwrap(), u64::MAX - 1);
        assert_eq!(saved.f64("scale").unwrap(), -0.1);
        assert_eq!(saved.f32("rate").unwrap(), 1e-3);
        assert_eq!(saved.i32("step").unwrap(), -7);
        assert_eq!(saved.bytes("rng").unwrap(), b"\0\x01\xff");
        let mut moments = [0.0f32; 4];
        assert!(saved.read_floats("m/query/0", &mut moments).unwrap());
        let bits: Vec<u32> = moments.iter().map(|x| x.to_bits()).collect();
        assert_eq!(bits, [0x3FC0_0000, 0x8000_0000, f32::NAN.to_bits(), 2]);
        assert!(saved.has_floats("m/none", 0).unwrap());
        assert!(!saved.has_floats("v/query/0", 4).unwrap());
        assert!(!saved.read_floats("v/query/0", &mut moments).unwrap());
        assert_eq!(saved.keys().count(), 8);
        assert!(saved.contains("v/query/0") && !saved.contains("v"));
    }

    #[test]
    fn long_arrays_go_in_parts() {
        let values: Vec<f32> = (0..2 * CHUNK + 3).map(|i| i as f32).collect();
        let file = written(|e| e.floats("w", Some(&values)));
        let mut back = vec![0.0; values.len()];
        assert!(open(&file).unwrap().read_floats("w", &mut back).unwrap());
        assert_eq!(back, values);
    }

    #[test]
    fn content_that_changes_in_between_is_an_error() {
        let mut calls = 0;
        let result = write(&mut Vec::new(), PREFIX, |e| {
            calls += 1;
            e.bytes("x", &vec![0; calls])
        });
        assert!(matches!(result, Err(Problem::Content(_))));
    }

    #[test]
    fn wrong_questions_are_errors() {
        let file = sample();
        let mut saved = open(&file).unwrap();
        for problem in [
            saved.has_floats("m/query/0", 3).unwrap_err(),
            saved.read_floats("m/query/0", &mut [0.0; 3]).unwrap_err(),
            saved.has_floats("t", 2).unwrap_err(),
            saved.u64("m/query/0").map(drop).unwrap_err(),
            saved.u64("nothing").map(drop).unwrap_err(),
        ] {
            assert!(matches!(problem, Problem::Content(_)));
        }
    }

    #[test]
    fn every_truncation_and_flip_is_refused() {
        let file = sample();
        for len in 0..file.len() {
            assert!(open(&file[..len]).is_err(), "{len} bytes");
        }
        for i in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[i] ^= 1 << bit;
                assert!(open(&damaged).is_err(), "byte {i} bit {bit}");
            }
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(open(&longer).is_err());
    }

    #[test]
    fn hostile_entries_with_a_true_checksum_are_refused() {
        // An entry's length that goes past the end; a key that stands twice; a key that does not
        // end; one entry more than there are.
        let first = PREFIX.len() + BLOCK_HEADER;
        let mut huge = sample();
        huge[first + 4..first + 12].copy_from_slice(&u64::MAX.to_le_bytes());
        let twice = written(|e| {
            e.u64("t", 1)?;
            e.u64("t", 2)
        });
        let mut endless = sample();
        endless[first..first + 2].copy_from_slice(&u16::MAX.to_le_bytes());
        let mut more = sample();
        more[PREFIX.len() + 12] += 1;
        for mut file in [huge, twice, endless, more] {
            let content = file.len() - CRC_BYTES;
            let crc = crc32fast::hash(&file[..content]).to_le_bytes();
            file[content..].copy_from_slice(&crc);
            assert!(open(&file).is_err());
        }
    }
}
