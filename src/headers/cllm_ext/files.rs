//! Files and folders as the library itself writes and reads them.

use super::CLLMPathCallback;
use crate::border::{ffi, host};
use cllm_engine::error::{Error, Result};
use cllm_engine::system::atomic;
use cllm_engine::text::files;
use cllm_macros::c_api;
use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;

/// Replaces a file as the library replaces its own: whole or not at all. The new content is written
/// to a temporary file in the same folder, flushed to the disk and renamed. An old file keeps its
/// permissions and, where the process may give files away, its owner; a read-only one is refused;
/// of a symbolic link the file that it names is replaced. A file that is a mount point of its own
/// can't be renamed over: it is overwritten in its place.
///
/// @param path  the file; devices and pipes are refused.
/// @param data  the content; may be NULL where `size` is 0.
/// @param size  bytes.
/// @return 0; -1 on failure: the old file is as it was.
///
/// ```c
/// const char *report = "done\n";
/// if (cllm_write_file("report.txt", report, strlen(report)) != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `path` is NULL or a C string; `data` holds `size` bytes.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_write_file(
    path: *const c_char,
    data: *const c_void,
    size: usize,
) -> c_int {
    let content = ffi::slice_or_empty(data.cast::<u8>(), size, "data")?;
    atomic::write(ffi::path(path, "path")?, |file| file.write_all(content))?;
    Ok(0)
}

/// Tells what cllm_data_loader_load_directory() would load of a directory, and what not. The
/// callback gets each file, in byte order of the paths: first those that would be loaded, then
/// those that are left out, each with the reason.
///
/// @param dirname    the directory.
/// @param callback   returns false to end the list.
/// @param user_data  handed to the callback.
/// @return 0; -1 if an argument is NULL or the directory can't be read.
///
/// ```c
/// static bool show(const char *path, const char *left_out, void *user_data) {
///     (void)user_data;
///     printf("%s%s%s\n", path, left_out ? ": " : "", left_out ? left_out : "");
///     return true;
/// }
/// cllm_text_files("texts", show, NULL);
/// ```
///
/// # Safety
/// `dirname` is NULL or a C string; `callback` may be called with `user_data` during this call.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_text_files(
    dirname: *const c_char,
    callback: CLLMPathCallback,
    user_data: *mut c_void,
) -> c_int {
    let callback = callback.ok_or_else(|| Error::null("callback"))?;
    let found = files::text_files(ffi::path(dirname, "dirname")?)?;
    let loaded = found.files.iter().map(|path| (path, None));
    let left_out = found.left_out.iter().map(|l| (&l.path, Some(l.reason.as_str())));
    for (path, reason) in loaded.chain(left_out) {
        let path = c_string(path.as_os_str().as_bytes())?;
        let reason = reason.map(|reason| c_string(reason.as_bytes())).transpose()?;
        let reason = reason.as_ref().map_or(std::ptr::null(), |reason| reason.as_ptr());
        if !host::outside(|| callback(path.as_ptr(), reason, user_data)) {
            break;
        }
    }
    Ok(0)
}

fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::shape("a name with a NUL byte"))
}
