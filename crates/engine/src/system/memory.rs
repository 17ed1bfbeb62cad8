//! How much memory the process holds, as Linux reports it.

use crate::error::{Error, Result};
use std::path::Path;

/// Memory of the process that is in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Bytes now.
    pub current: u64,
    /// Most bytes since the start.
    pub peak: u64,
}

/// Reads it from `/proc/self/status`; an error on systems that have no such file.
pub fn resident() -> Result<Resident> {
    let path = Path::new("/proc/self/status");
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    parse(&text).ok_or_else(|| Error::file(path, "has no line VmRSS"))
}

/// Bytes of RAM of the machine; `None` on systems that have no `/proc/meminfo`.
pub fn physical() -> Option<u64> {
    total(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn total(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemTotal:").filter(|&bytes| bytes > 0)
}

/// The bytes in the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

fn parse(status: &str) -> Option<Resident> {
    let current = field(status, "VmRSS:")?;
    // Some sandboxes report no peak.
    Some(Resident { current, peak: field(status, "VmHWM:").unwrap_or(current).max(current) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_parsed() {
        let text = "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t    1500 kB\n";
        let expected = Resident { current: 1500 * 1024, peak: 2000 * 1024 };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("VmRSS: 5 kB"), Some(Resident { current: 5120, peak: 5120 }));
        assert_eq!(parse("VmRSS: x kB"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_machine_has_memory() {
        let all = physical().unwrap();
        assert!(all >= resident().unwrap().current && all < 1 << 50, "{all}");
        assert_eq!(total("MemFree: 1 kB\nMemTotal:  2 kB\n"), Some(2048));
        assert_eq!(total("MemTotal: 0 kB"), None);
    }
}
