//! The C library as it is shipped.
//!
//! Its functions are those of the package `cllm`, which are exported from here, too. Cargo optimises a
//! library together with all that it uses only where no rlib is made beside it: that makes it an eighth smaller.

extern crate cllm;
