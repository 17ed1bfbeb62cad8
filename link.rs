//! Of the two build scripts whose packages make the shared library: how it is linked.

use std::env;

/// Tells cargo the arguments of the linker.
pub(crate) fn shared_library() {
    println!("cargo::rerun-if-env-changed=CARGO_C_CARGO");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    // cargo-c gives the same name by itself.
    if env::var_os("CARGO_C_CARGO").is_none() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcllm.so.1");
    }
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
    // An id would be a hash over the debug data too, which hold the names of folders: the same source
    // is to give the same installed library wherever it is built. Its debug data are found by name.
    println!("cargo::rustc-cdylib-link-arg=-Wl,--build-id=none");
    // dlclose() leaves the library where it is: its threads and exit handlers run its code.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
