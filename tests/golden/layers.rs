//! The layers one by one.

use crate::case::Handler;

pub fn handler(_name: &str) -> Option<Handler> {
    None
}
