//! What a process has cost: CPU time and memory, as the kernel counts them.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::identity::host_name;

/// What one process has cost so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The name of its machine or container.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// User and system CPU time of all its threads since it started, microseconds. Its children's is not in it.
    pub cpu_us: u64,
    /// Resident memory now, bytes.
    pub mem_bytes: u64,
    /// The most resident memory since it started, bytes.
    pub peak_mem_bytes: u64,
}

impl Usage {
    /// That of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        // Where there is no such file the memory is not known, which is no reason to fail.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            host: host_name(),
            pid: std::process::id(),
            cpu_us: cpu_us(),
            mem_bytes: bytes_of(&status, "VmRSS:").unwrap_or(0),
            peak_mem_bytes: bytes_of(&status, "VmHWM:").unwrap_or(0),
        }
    }
}

fn cpu_us() -> u64 {
    // Counts what this process has used, and tells no time of day.
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(used.tv_sec).saturating_mul(1_000_000).saturating_add(part(used.tv_nsec) / 1_000)
}

/// The amount in a line such as `VmRSS:     1234 kB`.
fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\ta\nVmHWM:\t   20480 kB\nVmRSS:\t     512 kB\n";
        assert_eq!(bytes_of(status, "VmRSS:"), Some(512 << 10));
        assert_eq!(bytes_of(status, "VmHWM:"), Some(20 << 20));
        assert_eq!(bytes_of("VmRSS: many kB", "VmRSS:"), None);
    }

    #[test]
    fn a_process_knows_what_it_has_cost() {
        let before = Usage::of_this_process();
        let touched: Vec<u8> = (0..32_u32 << 20).map(|number| number.to_le_bytes()[0]).collect();
        let after = Usage::of_this_process();
        assert_eq!((after.pid, touched.len()), (std::process::id(), 32 << 20));
        assert!(after.cpu_us > before.cpu_us);
        assert!(after.peak_mem_bytes >= before.mem_bytes + (16 << 20), "{before:?} {after:?}");
        assert!(after.peak_mem_bytes >= after.mem_bytes);
    }
}
