//! Processes: found again, signalled, waited for.

use std::fs;
use std::io::{Error, Result};

use allot_agent_core::{ProcessId, Signal};
use allot_model::Span;
use rustix::process::Pid;
use rustix::time::ClockId;

/// How a process ended, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) cpu_us: u64,
    /// Never less than what the agent itself takes: a process begins as a copy of the one that spawns it, and the
    /// kernel counts from there.
    pub(crate) peak_mem_bytes: u64,
}

/// The kernel's clock ticks since boot: what it stamps processes with.
pub(crate) fn ticks_since_boot() -> u64 {
    // Not the time of day, and only ever compared with what the kernel says of a process.
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    let whole = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(per_second);
    whole.saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0).saturating_mul(per_second) / 1_000_000_000)
}

/// How long so many of the kernel's clock ticks are.
pub(crate) fn ticks_to_span(ticks: u64) -> Span {
    Span::from_micros(ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second().max(1))
}

/// Sends a signal to the group that `leader` leads. No such group any more is no failure.
pub(crate) fn signal_group(leader: Pid, signal: Signal) {
    let signal = match signal {
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    };
    let _ = rustix::process::kill_process_group(leader, signal);
}

/// Takes the end of a child of ours, which must have ended. No other child is touched.
pub(crate) fn reap(pid: Pid) -> Result<Reaped> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // The standard library and rustix wait without resource usage, and a second wait would come too late for it.
    // SAFETY: both pointers are to values of the right type that live through the call, and an `rusage` of all zeros,
    // which is what an error leaves behind, is a valid one.
    #[allow(unsafe_code, reason = "wait4 is the only way to learn what a child of ours has used")]
    let (waited, usage) = unsafe {
        let waited =
            libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, libc::WNOHANG, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    match waited {
        -1 => Err(Error::last_os_error()),
        0 => Err(Error::other("the process has not ended")),
        _ => Ok(Reaped {
            exit_code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
            cpu_us: micros(usage.ru_utime).saturating_add(micros(usage.ru_stime)),
            peak_mem_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1 << 10),
        }),
    }
}

fn micros(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// True where a process that started then may be this one.
pub(crate) fn began(process: ProcessId, ticks: u64) -> bool {
    (process.not_before_ticks..=process.not_after_ticks).contains(&ticks)
}

/// Kills one process. That it is gone is no failure.
pub(crate) fn kill(pid: Pid) {
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Kills the group of a process of an earlier life of the agent, if it is still that process.
pub(crate) fn kill_leftover(process: ProcessId) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    if start_ticks_of(process.pid).is_some_and(|ticks| began(process, ticks)) {
        signal_group(pid, Signal::Kill);
    }
}

/// True where the process of this number has ended, whether or not it was reaped.
pub(crate) fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, after_name)| after_name.trim_start().starts_with('Z'))
}

/// When the process of this number was started; nothing where there is none.
pub(crate) fn start_ticks_of(pid: i32) -> Option<u64> {
    start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// When a process was started, from its line in `/proc`. Its name, in brackets, may hold anything.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt, ExitStatusExt};

    #[test]
    fn a_process_is_known_by_when_it_started() {
        let before = ticks_since_boot();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let after = ticks_since_boot();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        assert!((before..=after).contains(&start_ticks(&stat).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_mislead() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 2000 100";
        assert_eq!(start_ticks(stat), Some(4_242));
    }

    #[test]
    fn another_process_of_the_same_number_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        kill_leftover(ProcessId { pid, not_before_ticks: 1, not_after_ticks: 2 });
        assert!(child.try_wait().unwrap().is_none(), "it runs on");
        kill_leftover(ProcessId { pid, not_before_ticks: 1, not_after_ticks: u64::MAX });
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
