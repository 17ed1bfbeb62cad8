//! Little-endian values out of a byte slice, with an error instead of a read past its end.

use super::Problem;

/// Takes values from the front of a slice.
pub(crate) struct Parser<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    /// `what` names the bytes in messages.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Problem> {
        let (head, tail) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| Problem::content(format!("{} ends early", self.what)))?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Problem> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn f32(&mut self) -> Result<f32, Problem> {
        self.array().map(f32::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64, Problem> {
        self.array().map(f64::from_le_bytes)
    }

    pub(crate) fn f32s<const N: usize>(&mut self) -> Result<[f32; N], Problem> {
        let mut values = [0.0; N];
        for x in &mut values {
            *x = self.f32()?;
        }
        Ok(values)
    }

    pub(crate) fn u32s<const N: usize>(&mut self) -> Result<[u32; N], Problem> {
        let mut values = [0; N];
        for x in &mut values {
            *x = self.u32()?;
        }
        Ok(values)
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may be left over.
    pub(crate) fn end(self) -> Result<(), Problem> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Problem::content(format!("{} has {} bytes too many", self.what, self.rest.len())))
    }
}

/// `values` as bytes, into the front of `buffer`, which is long enough; that part of it.
pub(crate) fn floats_to_bytes<'b>(values: &[f32], buffer: &'b mut [u8]) -> &'b [u8] {
    for (slot, x) in buffer.chunks_exact_mut(4).zip(values) {
        slot.copy_from_slice(&x.to_le_bytes());
    }
    buffer.get(..4 * values.len()).unwrap_or_default()
}

/// Fills `values` from `bytes`.
pub(crate) fn bytes_to_floats(bytes: &[u8], values: &mut [f32]) {
    for (x, four) in values.iter_mut().zip(bytes.chunks_exact(4)) {
        *x = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    }
}
