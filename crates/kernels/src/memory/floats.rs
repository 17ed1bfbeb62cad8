//! Arrays of floats that begin on a cache line.

use crate::error::{Error, Result};
use crate::fault;
use crate::memory::product;
use std::alloc::{Layout, alloc_zeroed};
use std::ops::{Deref, DerefMut};

/// Floats of a cache line of 64 bytes, which is also the widest register.
pub const LINE: usize = 16;

/// A growing array whose first value is at the beginning of a cache line. Registers that each
/// touch two lines take half as long again to read.
#[derive(Debug, Default)]
pub struct Floats {
    /// What was allocated, zero where nothing was written yet. Of a large block the system gives
    /// pages only to the parts that are used.
    memory: Vec<f32>,
    /// Index of the first value in `memory`.
    start: usize,
    len: usize,
}

impl Floats {
    /// An empty array.
    pub const fn new() -> Self {
        Self { memory: Vec::new(), start: 0, len: 0 }
    }

    /// Makes the array hold at least `len` values; what it held may be overwritten by later use.
    pub fn grow(&mut self, what: &'static str, len: usize) -> Result<()> {
        if self.memory.len() - self.start < len {
            let mut memory = zeroed(what, len.saturating_add(LINE - 1))?;
            let address = memory.as_ptr().addr();
            let start = (address.next_multiple_of(4 * LINE) - address) / 4;
            memory[start..start + self.len].copy_from_slice(self);
            *self = Self { memory, start, len };
        }
        self.len = self.len.max(len);
        Ok(())
    }
}

/// A block of `len` zeros, at least one. A vector of zeros would end the process where memory is
/// missing; one that is filled would touch all of it.
fn zeroed(what: &'static str, len: usize) -> Result<Vec<f32>> {
    fault::point(what)?;
    let bytes = product(what, &[len, size_of::<f32>()])?;
    let memory = || Error::Memory { what, bytes };
    let layout = Layout::array::<f32>(len).map_err(|_| memory())?;
    // SAFETY: the layout is of at least one float.
    let block = unsafe { alloc_zeroed(layout) };
    if block.is_null() {
        return Err(memory());
    }
    ask_for_huge_pages(block, bytes);
    // SAFETY: a block of the global allocator for `len` floats, all of them zero.
    Ok(unsafe { Vec::from_raw_parts(block.cast(), len, len) })
}

/// Asks the system to hold the inner part of a block in huge pages (2 MiB), where it offers them
/// to programs that ask: decoding, which reads each weight once a token, is a tenth faster, and the
/// first touch of a block takes a third of the time. A wish: nothing depends on it.
pub fn ask_for_huge_pages(block: *const u8, bytes: usize) {
    const PAGE: usize = 2 << 20;
    let first = block.addr().next_multiple_of(PAGE);
    let end = (block.addr() + bytes) / PAGE * PAGE;
    if first < end {
        #[cfg(target_os = "linux")]
        // SAFETY: the advice changes the content of no page, and the range is inside of a block.
        unsafe {
            libc::madvise(
                block.with_addr(first).cast_mut().cast(),
                end - first,
                libc::MADV_HUGEPAGE,
            )
        };
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..][..self.len]
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_aligned_and_keeps_its_values() {
        let mut x = Floats::default();
        assert!(x.is_empty());
        for len in [1, 15, 16, 17, 1000, 5] {
            x.grow("a test", len).unwrap();
            assert!(x.len() >= len && x.as_ptr().addr() % 64 == 0);
            x[len - 1] = len as f32;
        }
        assert_eq!((x.len(), x[0], x[14], x[999], x[500]), (1000, 1.0, 15.0, 1000.0, 0.0));
        assert!(x.grow("a test", usize::MAX).is_err());
        assert_eq!(x.len(), 1000);
    }

    /// What Linux says about the mapping that holds `address`; `None` where it can't tell.
    #[cfg(target_os = "linux")]
    fn flags(address: usize) -> Option<String> {
        std::fs::metadata("/sys/kernel/mm/transparent_hugepage").ok()?;
        let text = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let mut inside = false;
        for line in text.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let range =
                range.map(|(a, b)| (usize::from_str_radix(a, 16), usize::from_str_radix(b, 16)));
            if let Some((Ok(first), Ok(end))) = range {
                inside = (first..end).contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                return Some(flags.to_string());
            }
        }
        None
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn large_blocks_ask_for_huge_pages() {
        let mut x = Floats::new();
        x.grow("a test", 2 << 20).unwrap();
        let middle = x.as_ptr().addr() + (4 << 20);
        match flags(middle) {
            Some(flags) => assert!(flags.split(' ').any(|flag| flag == "hg"), "{flags}"),
            None => eprintln!("left out: this system does not tell of huge pages"),
        }
    }
}
