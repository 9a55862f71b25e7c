//! What the machine, or the container on it, has.

use std::fs;
use std::path::Path;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Whole processors that this process may use.
    pub cpus: u64,
    /// Memory for tasks, bytes.
    pub mem_bytes: u64,
    /// Space for tasks, bytes.
    pub disk_bytes: u64,
}

/// The most that is left to the agent and the system of the memory there is.
const MOST_MEM_RESERVE: u64 = 1 << 30;
/// Amounts are rounded down to this, so that people can read them.
const MEM_STEP: u64 = 1 << 20;
const DISK_STEP: u64 = 1 << 30;

/// What is found now, for tasks whose directories are in `dir`.
#[must_use]
pub fn found(dir: &Path) -> Found {
    Found { cpus: cpus(), mem_bytes: mem_bytes(), disk_bytes: disk_bytes(dir) }
}

/// Processors by affinity and container limit, rounded down.
pub(crate) fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

/// The memory of the machine or the limit of the container, whichever is less, without a reserve.
pub(crate) fn mem_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text)).unwrap_or(0);
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let total = machine.min(cgroup_limit(Path::new("/sys/fs/cgroup"), &cgroup));
    let left = total - (total / 10).min(MOST_MEM_RESERVE);
    left - left % MEM_STEP
}

/// Nine tenths of what is free for us where `dir` is.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let free = free_bytes(dir).unwrap_or(0);
    let left = free - free / 10;
    left - left % DISK_STEP
}

/// What is free for us where `dir` is, if the system says.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    rustix::fs::statvfs(dir).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// Changes with each start of the machine.
pub(crate) fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The smallest memory limit of the control group in `/proc/self/cgroup` and of those above it.
fn cgroup_limit(root: &Path, cgroup: &str) -> u64 {
    let limit = |path: &Path| fs::read_to_string(path).ok()?.trim().parse().ok();
    let v1 = limit(&root.join("memory/memory.limit_in_bytes"));
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
    let group = root.join(path.trim());
    let above = group.ancestors().take_while(|dir| dir.starts_with(root));
    above.filter_map(|dir| limit(&dir.join("memory.max"))).chain(v1).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernels_table() {
        assert_eq!(mem_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(mem_total("nothing"), None);
        assert!(mem_bytes() > 0);
    }

    #[test]
    fn the_tightest_limit_of_a_control_group_holds() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(cgroup_limit(root.path(), "0::/a/b\n"), u64::MAX);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(root.path().join("a/memory.max"), "4096\n").unwrap();
        assert_eq!(cgroup_limit(root.path(), "0::/a/b\n"), 4_096);
    }
}
