//! Model files: the v1 layout, the extension after it, atomic writing.

pub mod atomic;
