//! `dataset.bin`: a u64 count, then that many u32 ids, all little-endian.

use crate::error::{Error, Result};
use crate::file::atomic;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

const HEADER_BYTES: u64 = 8;
/// Ids converted at a time.
const CHUNK: usize = 4096;

/// Writes a file, whole or not at all.
pub fn write(path: &Path, ids: &[u32]) -> Result<()> {
    atomic::write(path, |out| {
        out.write_all(&(ids.len() as u64).to_le_bytes())?;
        for chunk in ids.chunks(CHUNK) {
            let mut bytes = [0u8; 4 * CHUNK];
            for (place, id) in bytes.chunks_exact_mut(4).zip(chunk) {
                place.copy_from_slice(&id.to_le_bytes());
            }
            out.write_all(&bytes[..4 * chunk.len()])?;
        }
        Ok(())
    })
}

/// A file whose length was checked against its count, ready to be read.
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    len: usize,
}

/// Opens a file. What follows the ids is not looked at.
pub fn open(path: &Path) -> Result<Reader> {
    let file = File::open(path).map_err(Error::io(path))?;
    let bytes = file.metadata().map_err(Error::io(path))?.len();
    let Some(room) = bytes.checked_sub(HEADER_BYTES) else {
        let problem = format!("{bytes} bytes are too few for the count of a dataset");
        return Err(Error::file(path, problem));
    };
    let mut file = BufReader::new(file);
    let mut header = [0; HEADER_BYTES as usize];
    file.read_exact(&mut header).map_err(Error::io(path))?;
    let count = u64::from_le_bytes(header);
    let len = usize::try_from(count).ok().filter(|_| count <= room / 4);
    let Some(len) = len else {
        let problem = format!("says it holds {count} ids, but has room for {} only", room / 4);
        return Err(Error::file(path, problem));
    };
    Ok(Reader { path: path.to_path_buf(), file, len })
}

impl Reader {
    /// Number of ids.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `ids`, which has [`len`](Self::len) places.
    pub fn read(mut self, ids: &mut [u32]) -> Result<()> {
        let mut bytes = [0u8; 4 * CHUNK];
        for chunk in ids.chunks_mut(CHUNK) {
            let bytes = &mut bytes[..4 * chunk.len()];
            self.file.read_exact(bytes).map_err(Error::io(&self.path))?;
            for (id, place) in chunk.iter_mut().zip(bytes.chunks_exact(4)) {
                *id = u32::from_le_bytes([place[0], place[1], place[2], place[3]]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<Vec<u32>> {
        let reader = open(path)?;
        let mut ids = vec![0; reader.len()];
        reader.read(&mut ids)?;
        Ok(ids)
    }

    #[test]
    fn bytes_of_the_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dataset.bin");
        write(&path, &[5, 0x0102_0304]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes, [2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 4, 3, 2, 1]);
        assert_eq!(read(&path).unwrap(), [5, 0x0102_0304]);
        // Trailing bytes are ignored.
        std::fs::write(&path, [&bytes[..], &[9, 9, 9]].concat()).unwrap();
        assert_eq!(read(&path).unwrap(), [5, 0x0102_0304]);
    }

    #[test]
    fn lengths_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dataset.bin");
        let cut = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path)
        };
        for len in 0..16 {
            let whole = [2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 4, 3, 2, 1];
            assert!(cut(&whole[..len]).is_err(), "{len} bytes");
        }
        for count in [1 << 62, 1 << 63, u64::MAX, 2] {
            let bytes = [&u64::to_le_bytes(count)[..], &[0; 4]].concat();
            assert!(cut(&bytes).is_err(), "{count} ids");
        }
        assert_eq!(cut(&[0; 8]).unwrap(), []);
    }
}
