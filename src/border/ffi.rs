//! The border: entering a C function, turning pointers into references, memory that C may free.

use crate::border::host;
use cllm_engine::error::{Error, Result};
use cllm_engine::log::{self, Level};
use cllm_engine::text::split::cut;
use cllm_kernels::fault;
use cllm_kernels::memory::floats::ask_for_huge_pages;
use cllm_kernels::notice;
use cllm_kernels::threads::pool;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::fmt::Display;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
    /// The exported function that runs; empty outside of the library.
    static RUNNING: Cell<&str> = const { Cell::new("") };
}

/// Runs the body of an exported function. An error or a panic is recorded for
/// `cllm_last_error()`, goes to the log sink, and becomes `fallback`.
pub(crate) fn guard<T>(function: &'static str, fallback: T, body: impl FnOnce() -> Result<T>) -> T {
    quiet_panics();
    let caller = RUNNING.replace(function);
    let body = AssertUnwindSafe(|| {
        fault::point("the call")?;
        body()
    });
    let outcome = host::enter(|| panic::catch_unwind(body)).unwrap_or_else(|error| Ok(Err(error)));
    if notice::waiting() {
        notice::take().iter().for_each(|note| log::warn(note));
    }
    let value = match outcome {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            report(error);
            fallback
        }
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("panic");
            report(format_args!("internal error: {text}"));
            fallback
        }
    };
    RUNNING.set(caller);
    value
}

/// Records a failure that is not the end of the call, under the name of the running function.
pub(crate) fn report(problem: impl Display) {
    let text = format!("{}: {problem}", RUNNING.get());
    let c_text = CString::new(text.replace('\0', "\\0")).unwrap_or_default();
    LAST_ERROR.with(|last| last.replace(c_text));
    log::message(Level::Error, &text);
}

/// The text of this thread's last failure; valid until its next one.
pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// Panics inside a guarded call, and in the threads that work for it, are reported by the guard,
/// not printed by Rust's hook.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !host::inside() && !pool::is_member() {
                previous(info);
            }
        }));
    });
}

/// A count from C that may be zero but not negative.
pub(crate) fn len(value: c_int, name: &'static str) -> Result<usize> {
    usize::try_from(value).map_err(|_| Error::argument(name, value, "0 or more"))
}

/// A count from C that must be at least 1.
pub(crate) fn positive(value: c_int, name: &'static str) -> Result<usize> {
    match usize::try_from(value) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Error::argument(name, value, "1 or more")),
    }
}

fn check<T>(pointer: *const T, len: usize, name: &'static str) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::Null(name));
    }
    if !pointer.is_aligned() {
        return Err(Error::shape(format!("{name} is not aligned for its type")));
    }
    if len.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Error::argument(name, len, "an array that fits in memory"));
    }
    Ok(())
}

/// `len` values at `pointer`.
///
/// # Safety
/// A non-NULL pointer holds `len` initialised values that nothing writes during `'a`.
pub(crate) unsafe fn slice<'a, T>(
    pointer: *const T,
    len: usize,
    name: &'static str,
) -> Result<&'a [T]> {
    check(pointer, len, name)?;
    // SAFETY: not NULL, aligned, of a size that fits; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// `len` values at `pointer`, to be changed.
///
/// # Safety
/// As [`slice`], and nothing else reads or writes them during `'a`.
pub(crate) unsafe fn slice_mut<'a, T>(
    pointer: *mut T,
    len: usize,
    name: &'static str,
) -> Result<&'a mut [T]> {
    check(pointer, len, name)?;
    // SAFETY: as above, and exclusive by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}

/// The value at `pointer`.
///
/// # Safety
/// A non-NULL pointer holds a value that nothing writes during `'a`.
pub(crate) unsafe fn get<'a, T>(pointer: *const T, name: &'static str) -> Result<&'a T> {
    check(pointer, 1, name)?;
    // SAFETY: not NULL and aligned; the rest is the caller's promise.
    Ok(unsafe { &*pointer })
}

/// The value at `pointer`, to be changed.
///
/// # Safety
/// As [`get`], and nothing else reads or writes it during `'a`.
pub(crate) unsafe fn get_mut<'a, T>(pointer: *mut T, name: &'static str) -> Result<&'a mut T> {
    check(pointer, 1, name)?;
    // SAFETY: as above, and exclusive by the caller's promise.
    Ok(unsafe { &mut *pointer })
}

/// The bytes of a C string, without its NUL.
///
/// # Safety
/// A non-NULL pointer is NUL-terminated and not written during `'a`.
pub(crate) unsafe fn bytes<'a>(pointer: *const c_char, name: &'static str) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return Err(Error::Null(name));
    }
    // SAFETY: NUL-terminated by the caller's promise.
    Ok(unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// A C string as a path.
///
/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn path<'a>(pointer: *const c_char, name: &'static str) -> Result<&'a Path> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { bytes(pointer, name)? };
    if bytes.is_empty() {
        return Err(Error::argument(name, "\"\"", "the name of a file"));
    }
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

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
        unsafe impl $crate::border::ffi::Zeroable for $t {}
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
            return Err(Error::Memory { what, bytes });
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
            return Err(Error::Memory { what, bytes });
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

/// The bytes of a fixed `char[]` field up to its NUL, or all of it.
pub(crate) fn field_bytes(field: &[c_char]) -> &[u8] {
    // SAFETY: c_char and u8 have one size and alignment and no invalid values.
    let bytes = unsafe { std::slice::from_raw_parts(field.as_ptr().cast::<u8>(), field.len()) };
    &bytes[..bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len())]
}

/// Writes `text` into a fixed `char[]` field, cut at a character boundary where it must be, and
/// zero-filled to its end.
pub(crate) fn set_field(field: &mut [c_char], text: &[u8]) {
    let text = cut(text, field.len().saturating_sub(1));
    field.fill(0);
    for (slot, &byte) in field.iter_mut().zip(text) {
        *slot = byte as c_char;
    }
}

/// A seed from two draws of libc's `rand()`, so that a program's `srand` makes its run
/// reproducible. The only place that calls it for a context.
pub(crate) fn libc_seed() -> u64 {
    // SAFETY: rand has no preconditions.
    let (high, low) = unsafe { (libc::rand(), libc::rand()) };
    (u64::from(high as u32) << 32) | u64::from(low as u32)
}

/// Prints to C's stdout, so that it interleaves with the caller's own output.
pub(crate) fn print(text: &str) {
    let Ok(text) = CString::new(text.replace('\0', "")) else {
        return;
    };
    // SAFETY: a constant format that takes one NUL-terminated string.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

/// `len` values at `pointer` that stay readable while the `out_len` values at `out` are written:
/// a copy where the two overlap, as C programs that work in place make them.
///
/// # Safety
/// As [`slice`], except that the values may lie in the written block.
pub(crate) unsafe fn input<'a, T: Copy>(
    pointer: *const T,
    len: usize,
    name: &'static str,
    (out, out_len): (*const T, usize),
) -> Result<Cow<'a, [T]>> {
    // SAFETY: the caller's promise; where it is not the whole of it, the slice ends here.
    let values = unsafe { slice(pointer, len, name)? };
    let bytes = |start: usize, n: usize| start..start.saturating_add(n * size_of::<T>());
    let (read, written) = (bytes(pointer.addr(), len), bytes(out.addr(), out_len));
    if read.start >= written.end || written.start >= read.end {
        return Ok(Cow::Borrowed(values));
    }
    let mut copy = Vec::new();
    copy.try_reserve_exact(len)
        .map_err(|_| Error::Memory { what: "a copy of an array", bytes: size_of_val(values) })?;
    copy.extend_from_slice(values);
    Ok(Cow::Owned(copy))
}

/// Room for a value at `pointer`, which may be uninitialised.
///
/// # Safety
/// A non-NULL pointer has room for a value that nothing else uses during `'a`.
pub(crate) unsafe fn get_uninit<'a, T>(
    pointer: *mut T,
    name: &'static str,
) -> Result<&'a mut MaybeUninit<T>> {
    check(pointer, 1, name)?;
    // SAFETY: not NULL and aligned; anything is a MaybeUninit.
    Ok(unsafe { &mut *pointer.cast::<MaybeUninit<T>>() })
}
