//! Links the shared library as the package `cllm` does.

#[path = "../../packaging/link.rs"]
mod link;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../packaging/link.rs");
    link::shared_library();
}
