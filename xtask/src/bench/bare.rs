//! What the machine itself does: a loop that spawns processes and waits for them, and nothing else.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

/// How many processes a second, with so many in flight. The standard library spawns with `posix_spawn`.
#[allow(clippy::disallowed_methods, reason = "a stopwatch")]
pub(crate) fn spawn_and_wait(program: &str, tasks: u32, in_flight: u32) -> Result<f64> {
    let spawn =
        || Command::new(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let each = tasks / in_flight;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let one = || (0..each).try_for_each(|_| spawn()?.wait().map(drop));
        let threads: Vec<_> = (0..in_flight).map(|_| scope.spawn(one)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    Ok(f64::from(each * in_flight) / begun.elapsed().as_secs_f64())
}
