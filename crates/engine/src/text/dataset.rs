//! The ids of texts, and `dataset.bin`: a u64 count, then that many u32 ids, all little-endian.

use super::{Vocabulary, files};
use crate::error::{Error, Result};
use crate::limits::MAX_TEXT_BYTES;
use crate::system::atomic;
use cllm_kernels::memory::{copied, filled};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

const HEADER_BYTES: u64 = 8;
/// Ids converted at a time.
const CHUNK: usize = 4096;

/// The ids of texts, one after the other: what a model is trained and evaluated on.
///
/// ```
/// use cllm_engine::{Dataset, Vocabulary};
///
/// let text = b"one two three one two three one two";
/// let vocabulary = Vocabulary::from_text(text, 100, 1)?;
/// let dataset = Dataset::from_text(text, &vocabulary)?;
/// assert_eq!(dataset.ids(), [5, 6, 7, 5, 6, 7, 5, 6]);
/// let (training, held_out) = dataset.split(0.25)?;
/// assert_eq!((training.len(), held_out.len()), (6, 2));
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    ids: Vec<u32>,
}

impl Dataset {
    /// The ids themselves.
    pub fn from_ids(ids: Vec<u32>) -> Self {
        Self { ids }
    }

    /// The words of a text.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`].
    pub fn from_text(text: &[u8], vocabulary: &Vocabulary) -> Result<Self> {
        vocabulary.encode(text).map(Self::from_ids)
    }

    /// The words of text files, in their order, with nothing between the files.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`]; a file that can't be read or is longer than 1 GiB.
    pub fn from_files<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
        vocabulary: &Vocabulary,
    ) -> Result<Self> {
        let mut ids = Vec::new();
        for path in paths {
            let text = files::read_text(path.as_ref(), MAX_TEXT_BYTES)?;
            vocabulary.encode_onto(&text, &mut ids)?;
        }
        Ok(Self { ids })
    }

    /// Reads a `dataset.bin`. What follows the ids in the file is not looked at.
    ///
    /// # Errors
    /// The file can't be read, or is shorter than it says.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let reader = open(path.as_ref())?;
        let mut ids = filled("the ids of a dataset", reader.len())?;
        reader.read(&mut ids)?;
        Ok(Self { ids })
    }

    /// Writes a `dataset.bin`, whole or not at all.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write(path.as_ref(), &self.ids)
    }

    /// The ids in order.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Two datasets: the ids before the last `fraction` of them, and that rest, to evaluate on.
    ///
    /// # Errors
    /// `fraction` is not from 0 to 1; no memory.
    pub fn split(mut self, fraction: f64) -> Result<(Self, Self)> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::argument("fraction", fraction, "0 to 1"));
        }
        let held_out = (self.len() as f64 * fraction) as usize;
        let first = self.len() - held_out.min(self.len());
        let rest = copied("the ids of a dataset", &self.ids[first..])?;
        self.ids.truncate(first);
        Ok((self, Self { ids: rest }))
    }
}

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
    fn ids_of_texts_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, bin] = ["a", "b", "dataset.bin"].map(|name| dir.path().join(name));
        std::fs::write(&a, "x y").unwrap();
        std::fs::write(&b, "Y\0z").unwrap();
        let vocabulary = Vocabulary::from_files([&a], 100, 1).unwrap();
        let dataset = Dataset::from_files([&a, &b], &vocabulary).unwrap();
        assert_eq!(dataset.ids(), [5, 6, 6, 1]);
        dataset.write(&bin).unwrap();
        assert_eq!(Dataset::read(&bin).unwrap(), dataset);
        for (fraction, len) in [(0.0, 0), (0.5, 2), (0.3, 1), (1.0, 4)] {
            let (first, rest) = dataset.clone().split(fraction).unwrap();
            assert_eq!((first.len(), rest.len()), (4 - len, len));
            assert_eq!([first.ids(), rest.ids()].concat(), dataset.ids());
        }
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert!(dataset.clone().split(fraction).is_err());
        }
        assert!(Dataset::read(&a).is_err());
        assert!(Dataset::from_files([dir.path()], &vocabulary).is_err());
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
        assert_eq!(cut(&[0; 8]).unwrap(), [0u32; 0]);
    }
}
