//! How fast logs of real machines are played to the engine, by each kind of backfilling.
//!
//! `cargo bench -p allot-engine --bench backfill` runs all; `-- kth`, `-- sdsc`, `-- ricc` one log. The time is that of the
//! engine and of the few words that the offers service takes in `tests/it/support/replay.rs`, without reading the log.

use std::time::Duration;

use allot_engine::{Backfill, Policy};

#[allow(dead_code, reason = "tests use all of it")]
#[path = "../tests/it/support/replay.rs"]
mod replay;

use replay::{Play, figures, jobs_of, logs, starts};

/// As in all programs: see `allot_shell`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOGS: [(&str, &str, u64); 3] = [
    ("kth", "KTH-SP2-1996-2.swf.gz", 100),
    ("sdsc", "SDSC-SP2-1998-4.2-cln.swf.gz", 128),
    ("ricc", "RICC-2010-2.swf.gz", 8_192),
];

const KINDS: [(&str, Backfill, bool); 6] = [
    ("none", Backfill::None, false),
    ("skip", Backfill::Skip, false),
    ("easy", Backfill::Easy, false),
    ("easy-shortest", Backfill::EasyShortest, false),
    ("conservative", Backfill::Conservative, false),
    ("easy as gangs", Backfill::Easy, true),
];

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |name: &str, among: &[&str]| {
        let named: Vec<&String> = chosen.iter().filter(|arg| among.contains(&arg.as_str())).collect();
        named.is_empty() || named.iter().any(|arg| *arg == name)
    };
    let Some(folder) = logs() else { return };
    for (log, file, procs) in LOGS.into_iter().filter(|(log, ..)| wants(log, &LOGS.map(|(log, ..)| log))) {
        let jobs = jobs_of(&folder, file, procs);
        println!("{log}: {} jobs on {procs} processors", jobs.len());
        for (kind, backfill, gangs) in
            KINDS.into_iter().filter(|(kind, ..)| wants(kind, &KINDS.map(|(kind, ..)| kind)))
        {
            let Ok(fifo) = Policy::named("fifo") else { return };
            // Not in sight of an answer: thousands of jobs wait, each with room kept on a machine of thousands of agents.
            if log == "ricc" && (gangs || backfill == Backfill::Conservative) && chosen.len() < 2 {
                continue;
            }
            let before = processor_time();
            let starts = starts(Policy { backfill, ..fifo }, &jobs, Play { procs, gangs, exact: false });
            let took = processor_time().saturating_sub(before);
            let (slowdown, response) = figures(&jobs, &starts);
            println!(
                "  {kind:14} {took:7.2?}, {:9} jobs/s, slowdown {slowdown:9.2}, response {response:11.1} s, {:4} MB at most",
                u128::from(jobs.len() as u64) * 1_000_000 / took.as_micros().max(1),
                peak_bytes() >> 20,
            );
        }
    }
}

/// How long this thread has had a processor so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The most memory that the process has had so far.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
