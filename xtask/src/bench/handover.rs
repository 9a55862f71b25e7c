//! How long nothing is placed where a policy hands over to another under a flow of jobs.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::cluster::Programs;
use super::failover::Full;
use super::figure::{Figure, Wanted};
use super::rows::{Size, stage};

/// The flow goes on for so long between two handovers.
const BETWEEN: Duration = Duration::from_millis(500);
/// The policy that is there beside that of all clusters.
const OTHER: &str = "fifo";

/// The longest time without a placement in a flow of jobs, left alone and with the policy changing hands all the time.
pub(super) fn handover(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let mut full = Full::start(programs, 1_000, size.of(100_000), 1)?;
    full.cluster.start_beside(programs, &format!("allocator-{OTHER}"))?;
    let words =
        format!("--executor noop --separate --in-flight 1000 --batch 100 --tasks {}", size.of(200_000));
    let alone = full.cluster.bench(&words)?;
    let (flow, handovers) = thread::scope(|scope| {
        let flow = scope.spawn(|| full.cluster.bench(&words));
        let mut handovers = 0;
        while !flow.is_finished() {
            let policy = [OTHER, "drf"][handovers % 2];
            full.cluster.allot(&["policy", "use", policy, "--wait"])?;
            handovers += 1;
            pause();
        }
        let flow = flow.join().map_err(|_| anyhow!("the flow of jobs broke"))?;
        anyhow::Ok((flow?, handovers))
    })?;
    let mut figures = told(&format!("over {handovers} handovers"), flow)?;
    figures.extend(told("without any", alone)?);
    Ok(figures)
}

/// For how long jobs of a flow waited at most, and nothing was placed.
fn told(which: &str, run: Value) -> Result<Vec<Figure>> {
    let longest = |what: &str, of: &str| -> Result<Figure> {
        let took = stage(&run, of, "max_us")? / 1e3;
        Ok(Figure::new("handover", format!("{what}, {which}"), took, "ms").wanted(Wanted::AtMost(2_000.0)))
    };
    let waited = longest("longest wait of an admitted job for its place", "admitted_allocated")?;
    let apart = longest("longest time without a placement", "allocated_next")?;
    Ok(vec![waited, apart.with(run)])
}

#[allow(clippy::disallowed_methods, reason = "the flow is to go on for a while between two handovers")]
fn pause() {
    thread::sleep(BETWEEN);
}
