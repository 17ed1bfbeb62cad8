//! The date.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in seconds since 1970; 0 on a machine whose clock is before that.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
