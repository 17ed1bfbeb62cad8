//! Links the shared library as the package `cllm` does.

#[path = "../../link.rs"]
mod link;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../link.rs");
    link::shared_library();
}
