//! How many processors the calling thread may use: those that it may run on, as far as the quota of
//! its control groups goes. Both can change while a program runs, so they are read again, once in
//! [`FRESH`] at most.

use crate::threads::MAX_THREADS;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long an answer holds. Reading it anew takes some 30 microseconds.
const FRESH: Duration = Duration::from_secs(1);

/// The processors that the calling thread may use; at least 1.
///
/// A quota of one and a half processors counts as two: two threads get all of it, one thread does not.
pub fn processors() -> usize {
    // For each thread: the processors that it may run on are its own.
    thread_local!(static KNOWN: Cell<Option<(Instant, usize)>> = const { Cell::new(None) });
    let now = Instant::now();
    if let Some((read, count)) = KNOWN.get()
        && now.saturating_duration_since(read) < FRESH
    {
        return count;
    }
    let count = system::processors().clamp(1, MAX_THREADS);
    KNOWN.set(Some((now, count)));
    count
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn processors() -> usize {
        super::available()
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::groups::{Mounts, Quotas};
    use once_cell::sync::Lazy;
    use std::fs::{self, File};
    use std::io::Read;
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    /// Gives `f` the text of a small file of the kernel's; nothing of a longer one. Allocates nothing,
    /// for steps of training don't.
    fn read(path: &Path, f: &mut dyn FnMut(&str)) {
        let mut bytes = [0; 8 << 10];
        let (mut file, mut len) = match File::open(path) {
            Ok(file) => (file, 0),
            Err(_) => return,
        };
        while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => return str::from_utf8(&bytes[..len]).map_or((), f),
                Ok(n) => len += n,
                Err(_) => return,
            }
        }
    }

    pub fn processors() -> usize {
        // Mounts stay; which groups the process is in, and what those allow, may change.
        static MOUNTS: Lazy<Mounts> = Lazy::new(|| {
            Mounts::find(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
        });
        static QUOTAS: Mutex<Quotas> = Mutex::new(Quotas::new());
        let allowed = affinity().unwrap_or_else(super::available);
        let mut quotas = QUOTAS.lock().unwrap_or_else(PoisonError::into_inner);
        read(Path::new("/proc/self/cgroup"), &mut |groups| quotas.follow(&MOUNTS, groups));
        match quotas.least(read) {
            Some(quota) => allowed.min(quota.ceil() as usize),
            None => allowed,
        }
    }

    /// The processors that the calling thread may run on; `None` where there are more of them than
    /// a set of the C library's has places.
    fn affinity() -> Option<usize> {
        // SAFETY: a set of zeros is an empty one; the system fills as much of it as its size says.
        let count = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let failed = libc::sched_getaffinity(0, size_of_val(&set), &mut set) != 0;
            if failed { 0 } else { libc::CPU_COUNT(&set) }
        };
        usize::try_from(count).ok().filter(|&count| count > 0)
    }
}

/// The quotas of control groups, of both versions.
#[cfg(target_os = "linux")]
mod groups {
    use std::path::{Component, Path, PathBuf};

    /// Where a hierarchy of groups is mounted.
    #[derive(Debug, PartialEq, Eq)]
    struct Mount {
        /// The group that stands at the mount point.
        root: PathBuf,
        point: PathBuf,
        unified: bool,
    }

    /// Where the hierarchies are mounted that limit processor time.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub struct Mounts(Vec<Mount>);

    impl Mounts {
        /// By the text of `/proc/self/mountinfo`: number, parent, device, root, point, options, then,
        /// behind a dash, kind, source, options of the kind.
        pub fn find(mountinfo: &str) -> Self {
            let mount = |line: &str| {
                let (of_mount, of_kind) = line.split_once(" - ")?;
                let mut of_mount = of_mount.split(' ').skip(3);
                let (root, point) = (of_mount.next()?, of_mount.next()?);
                let mut of_kind = of_kind.split(' ');
                let (kind, options) = (of_kind.next()?, of_kind.nth(1)?);
                let unified = kind == "cgroup2";
                let limits =
                    unified || (kind == "cgroup" && options.split(',').any(|o| o == "cpu"));
                limits.then(|| Mount { root: root.into(), point: point.into(), unified })
            };
            Self(mountinfo.lines().filter_map(mount).collect())
        }
    }

    /// The files that say how much the groups of the process leave it.
    #[derive(Debug, Default)]
    pub struct Quotas {
        /// The text of `/proc/self/cgroup` that they follow from.
        groups: String,
        /// A file that says the quota, and for version 1 one that says the period.
        files: Vec<(PathBuf, Option<PathBuf>)>,
    }

    impl Quotas {
        pub const fn new() -> Self {
            Self { groups: String::new(), files: Vec::new() }
        }

        /// Finds the files of the groups that the text of `/proc/self/cgroup` names, if it has changed.
        pub fn follow(&mut self, mounts: &Mounts, groups: &str) {
            if self.groups == groups {
                return;
            }
            self.groups = groups.into();
            self.files.clear();
            for mount in &mounts.0 {
                let Some(inside) = group(groups, mount) else { continue };
                // A group has no more than the groups around it.
                self.files.extend(inside.ancestors().map(|part| {
                    let folder = mount.point.join(part);
                    match mount.unified {
                        true => (folder.join("cpu.max"), None),
                        false => (
                            folder.join("cpu.cfs_quota_us"),
                            Some(folder.join("cpu.cfs_period_us")),
                        ),
                    }
                }));
            }
        }

        /// The processors that the groups leave, parts of one too; `None` where none limits them.
        pub fn least(&self, read: impl Fn(&Path, &mut dyn FnMut(&str))) -> Option<f64> {
            let mut least: Option<f64> = None;
            for (quota, period) in &self.files {
                let mut take = |quota: &str, period: &str| {
                    least = share(quota, period).into_iter().chain(least).reduce(f64::min);
                };
                read(quota, &mut |text| match period {
                    // Microseconds in each period, or `max`; the period.
                    None => {
                        if let Some((quota, period)) = text.trim().split_once(' ') {
                            take(quota, period);
                        }
                    }
                    // Microseconds, −1 for no limit.
                    Some(period) => read(period, &mut |period| take(text.trim(), period.trim())),
                });
            }
            least
        }
    }

    /// The group of the process in a hierarchy, as a path from its mount point on. The lines are
    /// `number:controllers:/path`; version 2 names no controllers.
    fn group<'a>(groups: &'a str, mount: &Mount) -> Option<&'a Path> {
        let path = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let ours = match mount.unified {
                true => controllers.is_empty(),
                false => controllers.split(',').any(|c| c == "cpu"),
            };
            ours.then_some(Path::new(path))
        })?;
        // Seen from another namespace a path may begin elsewhere, or lead upwards: the mount point
        // is what can be seen of it.
        let inside = path.strip_prefix(&mount.root).unwrap_or(Path::new(""));
        let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
        Some(if plain { inside } else { Path::new("") })
    }

    fn share(quota: &str, period: &str) -> Option<f64> {
        let (quota, period) = (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?);
        (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::collections::BTreeMap;

        /// What the files leave a process of these groups.
        fn quota(mounts: &Mounts, groups: &str, files: &[(&str, &str)]) -> Option<f64> {
            let files: BTreeMap<_, _> =
                files.iter().map(|(at, text)| (Path::new(at), *text)).collect();
            let mut quotas = Quotas::new();
            // The ones before leave nothing behind.
            quotas.follow(mounts, "0::/a\n4:cpu:/docker/a\n");
            quotas.follow(mounts, groups);
            quotas.least(|path, f| files.get(path).map_or((), |text| f(text)))
        }

        const TWO: &str =
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        const ONE: &str = "31 23 0:27 /docker/a /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                           32 23 0:28 / /cg/memory rw - cgroup cgroup rw,memory\n\
                           29 23 8:1 / / rw - ext4 /dev/sda1 rw\n";

        #[test]
        fn version_2_takes_the_least_of_a_group_and_those_around_it() {
            let mounts = Mounts::find(TWO);
            let files = [
                ("/sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
                ("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
                ("/sys/fs/cgroup/a/c/cpu.max", "50000 100000\n"),
            ];
            assert_eq!(quota(&mounts, "0::/a/b\n", &files), Some(1.5));
            assert_eq!(quota(&mounts, "0::/a/c\n", &files), Some(0.5));
            assert_eq!(quota(&mounts, "0::/d\n", &files), None);
            assert_eq!(quota(&mounts, "0::/../elsewhere\n", &files), None);
            assert_eq!(quota(&mounts, "1:cpu:/a\n", &files), None);
        }

        #[test]
        fn version_1_is_read_from_where_its_hierarchy_is_mounted() {
            let mounts = Mounts::find(ONE);
            assert_eq!(mounts.0.len(), 1);
            let files = [
                ("/cg/cpu/cpu.cfs_quota_us", "300000\n"),
                ("/cg/cpu/cpu.cfs_period_us", "100000\n"),
                ("/cg/cpu/b/cpu.cfs_quota_us", "25000\n"),
                ("/cg/cpu/b/cpu.cfs_period_us", "50000\n"),
                ("/cg/cpu/free/cpu.cfs_quota_us", "-1\n"),
                ("/cg/cpu/free/cpu.cfs_period_us", "100000\n"),
            ];
            let of = |path: &str| {
                let groups = format!("3:memory:/x\n4:cpu,cpuacct:{path}\n0::/y\n");
                quota(&mounts, &groups, &files)
            };
            assert_eq!(of("/docker/a/b"), Some(0.5));
            assert_eq!(of("/docker/a/free"), Some(3.0));
            // Outside of what is mounted: the mount point's.
            assert_eq!(of("/other"), Some(3.0));
        }

        #[test]
        fn texts_of_another_kind_say_nothing() {
            let none = Mounts::default();
            assert!(Mounts::find("") == none && Mounts::find("a - b\nc\n - \n") == none);
            let mounts = Mounts::find(TWO);
            for text in ["", "max", "x y", "-1 100000", "100000 0", "0 100000"] {
                let all = [("/sys/fs/cgroup/cpu.max", text)];
                assert_eq!(quota(&mounts, "0::/\n", &all), None, "{text}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_least_and_the_answer_stays_for_a_while() {
        let first = processors();
        assert!((1..=MAX_THREADS).contains(&first));
        let begin = Instant::now();
        (0..100_000).for_each(|_| assert_eq!(processors(), first));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_may_run_on_one_processor_has_one() {
        let found = std::thread::spawn(|| {
            // SAFETY: sets of the C library's, for this thread alone.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0);
                let first = (0..libc::CPU_SETSIZE as usize).find(|&i| libc::CPU_ISSET(i, &set));
                libc::CPU_ZERO(&mut set);
                libc::CPU_SET(first.unwrap(), &mut set);
                assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
            }
            processors()
        });
        assert_eq!(found.join().unwrap(), 1);
    }
}
