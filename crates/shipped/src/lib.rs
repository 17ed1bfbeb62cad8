//! The C library as it is shipped.
//!
//! Its functions are those of the package `cllm`, which are exported from here, too. Only a crate
//! without an rlib is optimised as a whole, at the level of this last crate: a sixth of the code goes.

extern crate cllm;
