//! Text that crosses the border: C strings, paths, `char[]` fields, what is printed.

use cllm_engine::error::{Error, Result};
use cllm_engine::text::split::cut;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The bytes of a C string, without its NUL.
///
/// # Safety
/// A non-NULL pointer is NUL-terminated and not written during `'a`.
pub(crate) unsafe fn bytes<'a>(pointer: *const c_char, name: &'static str) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return Err(Error::null(name));
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

/// Prints to C's stdout, so that it interleaves with the caller's own output.
pub(crate) fn print(text: impl AsRef<[u8]>) {
    let bytes: Vec<u8> = text.as_ref().iter().copied().filter(|&b| b != 0).collect();
    let Ok(text) = CString::new(bytes) else {
        return;
    };
    // SAFETY: a constant format that takes one NUL-terminated string.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

/// A number with that many decimals, as C's `%.*f` prints it: Rust says `NaN` where C says `nan`.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    match (value.is_nan(), value.is_sign_negative()) {
        (true, false) => "nan".into(),
        (true, true) => "-nan".into(),
        _ => format!("{value:.decimals$}"),
    }
}

/// Now, in the zone of the machine, as C's `ctime` has it: `Fri Nov 27 08:30:00 2026`. Empty where the
/// system can't say.
pub(crate) fn local_time() -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = std::mem::MaybeUninit::uninit();
    // SAFETY: `time` takes NULL; `localtime_r` reads one value and fills the other, or returns NULL.
    let t = unsafe {
        let now = libc::time(std::ptr::null_mut());
        if libc::localtime_r(&now, parts.as_mut_ptr()).is_null() {
            return String::new();
        }
        parts.assume_init()
    };
    let name = |names: &'static [&'static str], index: i32| {
        usize::try_from(index).ok().and_then(|i| names.get(i)).copied().unwrap_or("???")
    };
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        name(&DAYS, t.tm_wday),
        name(&MONTHS, t.tm_mon),
        t.tm_mday,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
        i64::from(t.tm_year) + 1900
    )
}
