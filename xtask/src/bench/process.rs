//! Programs kept running, and what the kernel says they cost.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::run::{run, succeeds};

/// A program that is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
}

/// What a process has cost since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Spent {
    pub(crate) cpu_us: u64,
    pub(crate) mem_bytes: u64,
    pub(crate) peak_mem_bytes: u64,
}

impl Running {
    /// Starts a program that logs into a file of this name.
    pub(crate) fn start(name: &str, command: &mut Command, dir: &Path) -> Result<Self> {
        let log = File::create(dir.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// What it was called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Fails where it has ended by itself.
    pub(crate) fn check(&mut self, dir: &Path) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(dir.join(format!("{}.log", self.name))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n");
        anyhow::bail!("{} ended with {status}:\n{last}", self.name)
    }

    /// What it has cost so far.
    pub(crate) fn spent(&self) -> Result<Spent> {
        let proc = format!("/proc/{}", self.child.id());
        let stat = fs::read_to_string(format!("{proc}/stat"))?;
        let status = fs::read_to_string(format!("{proc}/status"))?;
        let bytes = |name| bytes_of(&status, name).with_context(|| format!("{proc}/status has no {name}"));
        Ok(Spent {
            cpu_us: cpu_us(&stat).with_context(|| format!("{proc}/stat cannot be read"))?,
            mem_bytes: bytes("VmRSS:")?,
            peak_mem_bytes: bytes("VmHWM:")?,
        })
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let asked = succeeds(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        if !asked {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// User and system time in the line of a process, in ticks of 10 ms. Its name, in brackets, may hold anything.
fn cpu_us(stat: &str) -> Option<u64> {
    const TICK_US: u64 = 10_000;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_US)
}

fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Empties a directory.
pub(crate) fn emptied(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // What was written before is not to be written while something is measured.
    run(&mut Command::new("sync"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_has_cost_is_read_as_the_kernel_writes_it() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 4242 2000 100";
        assert_eq!(cpu_us(stat), Some(2_000_000));
        assert_eq!(bytes_of("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 << 10));
    }
}
