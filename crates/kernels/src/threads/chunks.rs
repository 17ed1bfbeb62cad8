//! Loops over arrays: each task gets a chunk of its own.

use super::Pool;
use std::marker::PhantomData;

/// An array cut into chunks that tasks take one each.
struct Chunks<'a, A> {
    start: *mut A,
    len: usize,
    size: usize,
    array: PhantomData<&'a mut [A]>,
}

// SAFETY: every chunk is taken by one task, which may be on another thread.
unsafe impl<A: Send> Sync for Chunks<'_, A> {}

impl<'a, A> Chunks<'a, A> {
    /// Chunks of `size` values; the last may be shorter.
    fn new((array, size): (&'a mut [A], usize)) -> Self {
        assert!(size > 0 || array.is_empty(), "chunks of no values");
        Self { start: array.as_mut_ptr(), len: array.len(), size, array: PhantomData }
    }

    fn count(&self) -> usize {
        if self.len == 0 { 0 } else { self.len.div_ceil(self.size) }
    }

    /// # Safety
    /// Chunk `i` exists and is taken once.
    unsafe fn take(&self, i: usize) -> &'a mut [A] {
        let first = i * self.size;
        // SAFETY: inside the array, which is borrowed; exclusive by the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(first), self.size.min(self.len - first))
        }
    }
}

impl Pool {
    /// `work(i, chunk)` for each chunk of `size` values of `a` (the last may be shorter).
    ///
    /// # Panics
    /// If `size` is 0 and `a` is not empty.
    pub fn chunks<A: Send>(&self, a: (&mut [A], usize), work: impl Fn(usize, &mut [A]) + Sync) {
        let a = Chunks::new(a);
        // SAFETY: each index comes once.
        self.for_each(a.count(), |i| work(i, unsafe { a.take(i) }));
    }

    /// The same over two arrays in step, as long as both last.
    pub fn chunks2<A: Send, B: Send>(
        &self,
        a: (&mut [A], usize),
        b: (&mut [B], usize),
        work: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let (a, b) = (Chunks::new(a), Chunks::new(b));
        // SAFETY: each index comes once.
        self.for_each(a.count().min(b.count()), |i| unsafe { work(i, a.take(i), b.take(i)) });
    }

    /// The same over three.
    pub fn chunks3<A: Send, B: Send, C: Send>(
        &self,
        a: (&mut [A], usize),
        b: (&mut [B], usize),
        c: (&mut [C], usize),
        work: impl Fn(usize, &mut [A], &mut [B], &mut [C]) + Sync,
    ) {
        let (a, b, c) = (Chunks::new(a), Chunks::new(b), Chunks::new(c));
        let count = a.count().min(b.count()).min(c.count());
        // SAFETY: each index comes once.
        self.for_each(count, |i| unsafe { work(i, a.take(i), b.take(i), c.take(i)) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_go_in_step_as_long_as_all_last() {
        for pool in [Pool::serial(), Pool::start(3)] {
            let (mut a, mut b, mut c) = ([0u32; 10], [0u64; 7], [0u8; 50]);
            pool.chunks3((&mut a, 3), (&mut b, 3), (&mut c, 10), |i, a, b, c| {
                assert_eq!((a.len(), b.len(), c.len()), (3, [3, 3, 1][i], 10));
                a.fill(i as u32 + 1);
                b.fill(i as u64 + 1);
                c.fill(i as u8 + 1);
            });
            assert_eq!(a, [1, 1, 1, 2, 2, 2, 3, 3, 3, 0]);
            assert_eq!(b, [1, 1, 1, 2, 2, 2, 3]);
            assert!(c[20..30].iter().all(|&c| c == 3) && c[30..].iter().all(|&c| c == 0));
            pool.chunks2((&mut a, 100), (&mut b[..0], 0), |_, _, _| panic!("nothing to do"));
            pool.chunks((&mut a, 100), |i, a| assert_eq!((i, a.len()), (0, 10)));
        }
    }

    #[test]
    #[should_panic(expected = "chunks of no values")]
    fn chunks_of_no_values() {
        Pool::serial().chunks((&mut [1, 2], 0), |_, _| ());
    }
}
