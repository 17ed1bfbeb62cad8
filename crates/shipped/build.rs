//! Links the shared library as the `build.rs` of the package `cllm` has it, which says why.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        let arguments =
            ["-soname,libcllm.so.1", "-Bsymbolic-functions", "--build-id=none", "-z,nodelete"];
        for argument in arguments {
            println!("cargo::rustc-cdylib-link-arg=-Wl,{argument}");
        }
    }
}
