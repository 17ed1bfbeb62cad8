//! Files whose checksums hold although their content was changed: without this a changed file would
//! never come past its first checksum, and nothing behind that would be tried. Written from
//! `docs/FORMAT.md`, apart from the library's own writers.

const HEADER: usize = 1576;
const FRAME: usize = 24;

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    let value = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(value)).ok()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn put_crc(bytes: &mut [u8], at: usize, from: usize, to: usize) {
    let crc = crc32fast::hash(&bytes[from..to]);
    put(bytes, at, &crc.to_le_bytes());
}

/// A model file: the length of the extension and the number of its sections as they are, then all
/// checksums. `None` where there is no extension to be found.
pub fn model(file: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = file.to_vec();
    let start = u64_at(&bytes, 1400)?;
    if bytes.get(1384..1392)? != b"CLLM-EXT" || !(HEADER..=bytes.len()).contains(&start) {
        return None;
    }
    let (mut at, mut sections) = (start, 0u32);
    while bytes.len() - at >= FRAME {
        let (payload, left) = (at + FRAME, bytes.len() - at - FRAME);
        let length = u64_at(&bytes, at + 8).filter(|&n| n <= left);
        put_crc(&mut bytes, at + 16, payload, payload + length.unwrap_or(left));
        put_crc(&mut bytes, at + 20, at, at + 20);
        sections += 1;
        at = payload + length.unwrap_or(left);
    }
    let length = (bytes.len() - start) as u64;
    put(&mut bytes, 1396, &sections.to_le_bytes());
    put(&mut bytes, 1408, &length.to_le_bytes());
    put_crc(&mut bytes, 1416, HEADER, start);
    put(&mut bytes, 1420, &[0; 4]);
    put_crc(&mut bytes, 1420, 0, HEADER);
    Some(bytes)
}

/// A checkpoint of either kind: the length of its block, then the checksum.
pub fn checkpoint(file: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = file.to_vec();
    let prefix = [16, 40].into_iter().find(|&n| bytes.get(n..n + 8) == Some(b"CLLMSTAT"))?;
    let end = bytes.len().checked_sub(4).filter(|&end| end >= prefix + 24)?;
    let length = (bytes.len() - prefix) as u64;
    put(&mut bytes, prefix + 16, &length.to_le_bytes());
    put_crc(&mut bytes, end, 0, end);
    Some(bytes)
}

/// The state of a generation.
pub fn generation(file: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = file.to_vec();
    if !bytes.starts_with(b"CLLMGEN1") || bytes.len() < 12 {
        return None;
    }
    let end = bytes.len();
    put_crc(&mut bytes, 8, 12, end);
    Some(bytes)
}
