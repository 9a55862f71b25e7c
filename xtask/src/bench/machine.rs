//! What else the machine does: figures measured beside something else mean less.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// The share of its processors' time that the machine is busy with now.
#[allow(clippy::disallowed_methods, reason = "a length of time is what is looked at")]
pub(crate) fn busy() -> Result<f64> {
    let before = times()?;
    std::thread::sleep(LOOK);
    Ok(share(before, times()?))
}

/// Ticks that all processors together were busy and idle since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    busy: u64,
    idle: u64,
}

fn times() -> Result<Times> {
    read(&fs::read_to_string("/proc/stat")?).context("/proc/stat cannot be read")
}

/// Reads `cpu  user nice system idle iowait irq softirq steal …`.
fn read(stat: &str) -> Option<Times> {
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(Times { busy: fields.iter().sum::<u64>() - idle, idle })
}

#[allow(clippy::cast_precision_loss, reason = "a share for people to read")]
fn share(before: Times, after: Times) -> f64 {
    let (busy, idle) = (after.busy.saturating_sub(before.busy), after.idle.saturating_sub(before.idle));
    busy as f64 / (busy + idle).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_busy_time_is_read_as_the_kernel_writes_it() {
        let before = read("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1").unwrap();
        assert_eq!(before, Times { busy: 150, idle: 850 });
        let after = Times { busy: 180, idle: 920 };
        assert_eq!(format!("{:.2}", share(before, after)), "0.30");
        assert_eq!(read("cpu 1 2"), None);
    }
}
