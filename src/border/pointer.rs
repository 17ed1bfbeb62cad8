//! Counts and pointers from C: checked as far as they can be, and seen as numbers, slices and
//! references.

use cllm_engine::error::{Error, Result};
use cllm_kernels::memory::copied;
use std::borrow::Cow;
use std::ffi::c_int;
use std::mem::MaybeUninit;

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
        return Err(Error::null(name));
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

/// As [`slice`]; `None` for NULL.
///
/// # Safety
/// As [`slice`].
pub(crate) unsafe fn slice_opt<'a, T>(
    pointer: *const T,
    len: usize,
    name: &'static str,
) -> Result<Option<&'a [T]>> {
    // SAFETY: the caller's promise.
    if pointer.is_null() { Ok(None) } else { unsafe { slice(pointer, len, name) }.map(Some) }
}

/// As [`slice_mut`]; `None` for NULL.
///
/// # Safety
/// As [`slice_mut`].
pub(crate) unsafe fn slice_mut_opt<'a, T>(
    pointer: *mut T,
    len: usize,
    name: &'static str,
) -> Result<Option<&'a mut [T]>> {
    // SAFETY: the caller's promise.
    if pointer.is_null() { Ok(None) } else { unsafe { slice_mut(pointer, len, name) }.map(Some) }
}

/// As [`slice`], of an array that may be NULL where it has no elements.
///
/// # Safety
/// As [`slice`].
pub(crate) unsafe fn slice_or_empty<'a, T>(
    pointer: *const T,
    len: usize,
    name: &'static str,
) -> Result<&'a [T]> {
    // SAFETY: the caller's promise.
    if len == 0 { Ok(&[]) } else { unsafe { slice(pointer, len, name) } }
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

/// Writes a result where the program wants one: nothing for NULL.
///
/// # Safety
/// A non-NULL pointer has room for a value that nothing else uses meanwhile.
pub(crate) unsafe fn set_out<T>(pointer: *mut T, value: T, name: &'static str) -> Result<()> {
    if !pointer.is_null() {
        // SAFETY: the caller's promise.
        unsafe { get_uninit(pointer, name)? }.write(value);
    }
    Ok(())
}

/// How much of a struct whose first field is its size the program knows: all, or the first `least` bytes, which it
/// had before fields were added. Nothing between: there, an older struct may have had padding. `names` are those of the
/// struct, of its first field, and the `sizeof` of the whole.
///
/// # Safety
/// `pointer` is NULL or points to a struct as large as its first field says.
unsafe fn known_bytes<T>(
    pointer: *const T,
    least: usize,
    names: [&'static str; 3],
) -> Result<usize> {
    let [name, field, whole] = names;
    // SAFETY: the caller's promise.
    match *unsafe { get(pointer.cast::<usize>(), name)? } {
        size if size >= size_of::<T>() => Ok(size_of::<T>()),
        size if size >= least => Ok(least),
        size => Err(Error::argument(field, size, whole)),
    }
}

/// Such a struct, as far as the program knows of its fields; the others are those of `rest`.
///
/// # Safety
/// As [`known_bytes`]; any bytes are a value of its fields.
pub(crate) unsafe fn sized<T: Copy>(
    pointer: *const T,
    rest: T,
    least: usize,
    names: [&'static str; 3],
) -> Result<T> {
    let mut known = rest;
    // SAFETY: the caller's promise; so many bytes are there, and fit.
    unsafe {
        let bytes = known_bytes(pointer, least, names)?;
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut known).cast(), bytes);
    }
    Ok(known)
}

/// Writes a value over such a struct: the fields that the program knows of but for the size.
///
/// # Safety
/// As [`known_bytes`], and writable.
pub(crate) unsafe fn set_sized<T: Copy>(
    pointer: *mut T,
    value: T,
    least: usize,
    names: [&'static str; 3],
) -> Result<()> {
    let size = size_of::<usize>();
    // SAFETY: the caller's promise; so many bytes are there in both.
    unsafe {
        let bytes = known_bytes(pointer, least, names)?.saturating_sub(size);
        let from = (&raw const value).cast::<u8>().add(size);
        std::ptr::copy_nonoverlapping(from, pointer.cast::<u8>().add(size), bytes);
    }
    Ok(())
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
    Ok(Cow::Owned(copied("a copy of an array", values)?))
}
