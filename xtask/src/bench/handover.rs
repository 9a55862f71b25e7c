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
    let longest = |run: &Value| Ok::<f64, anyhow::Error>(stage(run, "allocated_next", "max_us")? / 1e3);
    let what = format!("longest time without a placement, over {handovers} handovers");
    Ok(vec![
        Figure::new("handover", what, longest(&flow)?, "ms").wanted(Wanted::AtMost(2_000.0)).with(flow),
        Figure::new("handover", "the same flow without any", longest(&alone)?, "ms").with(alone),
    ])
}

#[allow(clippy::disallowed_methods, reason = "the flow is to go on for a while between two handovers")]
fn pause() {
    thread::sleep(BETWEEN);
}
