//! Files seen as memory, for reading only.

use crate::fault;
use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

/// The content of a file, mapped for reading: pages come from the file when they are first read, are
/// shared with every other process that maps it, and can be dropped at any time, for the file has them.
///
/// Mapped is what the file held when it was opened, as long as nobody writes into it or cuts it. Files
/// of this library are replaced by a rename, never written in their place: a mapping of the old
/// content stays whole. A file that another program cuts below the mapping can't be read any more:
/// the system then ends the process (SIGBUS). So only files are mapped that are known to be
/// replaced that way, and [`check`](Self::check) tells a cut one before it is read again.
#[derive(Debug)]
pub struct FileMap {
    start: NonNull<u8>,
    len: usize,
    file: File,
}

// SAFETY: the mapping is read only, by whichever thread; it ends with its owner.
unsafe impl Send for FileMap {}
// SAFETY: likewise.
unsafe impl Sync for FileMap {}

impl FileMap {
    /// Maps a whole file, which stays open.
    ///
    /// # Errors
    /// It is no ordinary file, is longer than the address space, or the system refuses.
    pub fn new(file: File) -> io::Result<Self> {
        fault::point("a mapped file").map_err(|error| Error::new(ErrorKind::OutOfMemory, error))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, "is not an ordinary file"));
        }
        let len = usize::try_from(metadata.len()).ok().filter(|&len| len <= isize::MAX as usize);
        let len = len.ok_or_else(|| Error::from(ErrorKind::OutOfMemory))?;
        if len == 0 {
            // The system maps no empty range.
            return Ok(Self { start: NonNull::dangling(), len, file });
        }
        // SAFETY: a new mapping at an address that the system chooses touches no other memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Error::from(ErrorKind::Other))?;
        Ok(Self { start, len, file })
    }

    /// An error where the file is shorter than it was when it was mapped, so that reading the rest
    /// would end the process.
    ///
    /// # Errors
    /// That one, or the system's.
    pub fn check(&self) -> io::Result<()> {
        let now = self.file.metadata()?.len();
        if now < self.len as u64 {
            let problem = format!("was cut from {} to {now} bytes while it was in use", self.len);
            return Err(Error::new(ErrorKind::UnexpectedEof, problem));
        }
        Ok(())
    }

    /// Floats from byte `at` on, as the file has them; `None` where they are not inside, `at` is no
    /// multiple of 4, or the machine's bytes have another order than a file's, which is
    /// little-endian.
    pub fn floats(&self, at: usize, len: usize) -> Option<&[f32]> {
        let bytes = self.get(at..at.checked_add(len.checked_mul(4)?)?)?;
        // SAFETY: any four bytes are a float.
        let (before, floats, _) = unsafe { bytes.align_to::<f32>() };
        (cfg!(target_endian = "little") && before.is_empty()).then_some(floats)
    }

    /// Signed bytes from `at` on; `None` where they are not inside.
    pub fn signed(&self, at: usize, len: usize) -> Option<&[i8]> {
        let bytes = self.get(at..at.checked_add(len)?)?;
        // SAFETY: any byte is a signed byte, of the same size and alignment.
        Some(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) })
    }
}

impl Deref for FileMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` on are mapped for as long as `self` is there, and nobody
        // writes them through it. That the file itself stays as it is: see the type.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the mapping is this one's own, and nothing borrows from it any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::io::Write;

    /// A file without a name.
    fn file(content: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!(
            "cllm-map-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_file_as_memory() {
        let content: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
        let map = FileMap::new(file(&content)).unwrap();
        assert_eq!(map[..], content);
        assert_eq!(
            map.floats(4, 1),
            cfg!(target_endian = "little").then_some(&[f32::from_bits(1)][..])
        );
        assert!(map.floats(2, 1).is_none() && map.floats(39_996, 2).is_none());
        assert!(map.floats(4, usize::MAX).is_none() && map.floats(usize::MAX, 1).is_none());
        assert_eq!(map.signed(39_996, 4), Some(&[15, 39, 0, 0][..]));
        assert!(map.signed(39_999, 2).is_none());
        std::thread::scope(|s| s.spawn(|| assert_eq!(map[8], 2)).join().unwrap());
    }

    #[test]
    fn what_can_not_be_mapped() {
        assert!(FileMap::new(file(b"")).unwrap().is_empty());
        assert!(FileMap::new(File::open("/dev/null").unwrap()).is_err());
        assert!(FileMap::new(File::open("/").unwrap()).is_err());
    }

    #[test]
    fn a_file_that_is_cut_is_told() {
        let whole = file(&[7; 9000]);
        let map = FileMap::new(whole.try_clone().unwrap()).unwrap();
        map.check().unwrap();
        whole.set_len(8999).unwrap();
        let error = map.check().unwrap_err().to_string();
        assert!(error.contains("cut from 9000 to 8999 bytes"), "{error}");
    }
}
