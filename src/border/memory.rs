//! Memory that C may free: blocks of libc's heap, counted.

use cllm_engine::error::{Error, Result};
use cllm_kernels::fault;
use cllm_kernels::memory::floats::ask_for_huge_pages;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the library allocated and released for C, for `cllm_print_memory_stats`.
pub(crate) struct MemoryStats {
    pub allocations: AtomicU64,
    pub releases: AtomicU64,
    pub bytes_allocated: AtomicU64,
    pub bytes_released: AtomicU64,
}

pub(crate) static MEMORY: MemoryStats = MemoryStats {
    allocations: AtomicU64::new(0),
    releases: AtomicU64::new(0),
    bytes_allocated: AtomicU64::new(0),
    bytes_released: AtomicU64::new(0),
};

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// A zeroed block of libc's heap that C will see. Freed on drop until [`CArray::into_raw`] hands
/// it over, so `?` can't leak it.
pub(crate) struct CArray<T> {
    pointer: *mut T,
    len: usize,
    // Only plain C values live in such blocks: all-zero is a value, and none needs dropping.
    plain: PhantomData<T>,
}

/// Types for which all-zero bytes are a valid value.
///
/// # Safety
/// The implementor vouches for that.
pub(crate) unsafe trait Zeroable: Copy {}

macro_rules! zeroable {
    ($($t:ty),* $(,)?) => { $(
        // SAFETY: numbers, pointers and repr(C) structs of them: all-zero is a value.
        unsafe impl $crate::border::memory::Zeroable for $t {}
    )* };
}
pub(crate) use zeroable;

zeroable!(u8, i8, u16, u32, i32, u64, usize, f32, f64);
// SAFETY: NULL is a value of every pointer type.
unsafe impl<T> Zeroable for *mut T {}

impl<T: Zeroable> CArray<T> {
    /// `len` zeroed values; a block is made even for none, so that the pointer is not NULL.
    pub(crate) fn zeroed(what: &'static str, len: usize) -> Result<Self> {
        let bytes = cllm_kernels::memory::product(what, &[len.max(1), size_of::<T>()])?;
        fault::point(what)?;
        // SAFETY: calloc has no preconditions.
        let pointer = unsafe { libc::calloc(1, bytes) }.cast::<T>();
        if pointer.is_null() {
            return Err(Error::memory(what, bytes));
        }
        count_allocation(pointer.cast());
        Ok(Self { pointer, len, plain: PhantomData })
    }

    /// [`CArray::zeroed`], beginning on a cache line: reading weights whose registers each touch two
    /// lines takes half as long again. Unlike there, all of the memory is touched.
    pub(crate) fn aligned(what: &'static str, len: usize) -> Result<Self> {
        let bytes = cllm_kernels::memory::product(what, &[len.max(1), size_of::<T>()])?;
        fault::point(what)?;
        let mut pointer = std::ptr::null_mut();
        // SAFETY: a power of two, a multiple of the size of a pointer; `pointer` is ours.
        if unsafe { libc::posix_memalign(&mut pointer, CACHE_LINE, bytes) } != 0 {
            return Err(Error::memory(what, bytes));
        }
        ask_for_huge_pages(pointer.cast(), bytes);
        // SAFETY: a block of so many bytes.
        unsafe { pointer.cast::<u8>().write_bytes(0, bytes) };
        count_allocation(pointer);
        Ok(Self { pointer: pointer.cast(), len, plain: PhantomData })
    }

    /// A copy of `values`.
    pub(crate) fn copy_of(what: &'static str, values: &[T]) -> Result<Self> {
        let mut array = Self::zeroed(what, values.len())?;
        array.as_mut_slice().copy_from_slice(values);
        Ok(array)
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: there is room for `len` values, all-zero is a value of T, and self owns it.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.len) }
    }

    /// Now the program's (or the owning C struct's) to free.
    pub(crate) fn into_raw(self) -> *mut T {
        let pointer = self.pointer;
        std::mem::forget(self);
        pointer
    }
}

impl CArray<u8> {
    /// A C string of `bytes`, which hold no NUL.
    pub(crate) fn string(what: &'static str, bytes: &[u8]) -> Result<Self> {
        let mut string = Self::zeroed(what, bytes.len().saturating_add(1))?;
        string.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
        Ok(string)
    }
}

impl<T> Drop for CArray<T> {
    fn drop(&mut self) {
        // SAFETY: the block came from libc's heap and was not handed over.
        unsafe { free(self.pointer) };
    }
}

fn count_allocation(pointer: *mut c_void) {
    // SAFETY: the pointer is a live block of the heap.
    let bytes = unsafe { libc::malloc_usable_size(pointer) } as u64;
    MEMORY.allocations.fetch_add(1, Ordering::Relaxed);
    MEMORY.bytes_allocated.fetch_add(bytes, Ordering::Relaxed);
}

/// Frees a block of libc's heap; NULL is fine.
///
/// # Safety
/// `pointer` is NULL or a live block of malloc's family that nothing uses any more.
pub(crate) unsafe fn free<T>(pointer: *mut T) {
    if pointer.is_null() {
        return;
    }
    let pointer = pointer.cast::<c_void>();
    // SAFETY: a live block, by the caller's promise.
    let bytes = unsafe { libc::malloc_usable_size(pointer) } as u64;
    MEMORY.releases.fetch_add(1, Ordering::Relaxed);
    MEMORY.bytes_released.fetch_add(bytes, Ordering::Relaxed);
    // SAFETY: likewise.
    unsafe { libc::free(pointer) };
}
