//! Arrays of floats that begin on a cache line.

use crate::error::{Error, Result};
use crate::limits::product;
use crate::runtime::fault;
use std::ops::{Deref, DerefMut};

/// Floats of a cache line of 64 bytes, which is also the widest register.
pub const LINE: usize = 16;

#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// A growing array whose first value is at the beginning of a cache line. Registers that each
/// touch two lines take half as long again to read.
#[derive(Clone, Debug, Default)]
pub struct Floats {
    lines: Vec<Line>,
    len: usize,
}

impl Floats {
    /// An empty array.
    pub const fn new() -> Self {
        Self { lines: Vec::new(), len: 0 }
    }

    /// Makes room for `len` values in all.
    pub fn reserve(&mut self, what: &'static str, len: usize) -> Result<()> {
        let lines = len.div_ceil(LINE);
        if self.lines.capacity() < lines {
            fault::point(what)?;
            let bytes = product(what, &[lines, size_of::<Line>()])?;
            self.lines
                .try_reserve_exact(lines - self.lines.len())
                .map_err(|_| Error::Memory { what, bytes })?;
        }
        Ok(())
    }

    /// Makes the array hold at least `len` values; what it held may be overwritten by later use.
    pub fn grow(&mut self, what: &'static str, len: usize) -> Result<()> {
        if self.len < len {
            self.reserve(what, len)?;
            self.lines.resize(len.div_ceil(LINE), Line::default());
            self.len = len;
        }
        Ok(())
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the lines are floats one after the other, at least `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
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
}
