//! What the cluster costs while this command does nothing.

use allot_model::Span;
use serde::Serialize;

use super::cost::{Cost, Snapshot};
use super::numbers::{micros, per, three_figures};
use super::unless_interrupted;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, note};

/// What a stretch of time has cost.
#[derive(Debug, Serialize)]
struct Idle {
    cost: Cost,
    /// CPU time of all services but agents, as a share of one core's time.
    control_plane_of_a_core: f64,
}

/// Measures for so long.
pub(super) async fn run(length: Span, client: &Client, output: &Output) -> Result<(), Failure> {
    if length == Span::ZERO {
        return Err(Failure::Usage(
            "--idle 0s measures nothing: give a length of time such as 1m".to_owned(),
        ));
    }
    let before = Snapshot::take(client).await?;
    note(&format!("allot: measuring for {length}"));
    unless_interrupted(async {
        tokio::time::sleep(length.to_std()).await;
        Ok(())
    })
    .await?;
    let cost = before.until(&Snapshot::take(client).await?);
    let idle = Idle { control_plane_of_a_core: per(cost.control_plane.cpu_us, cost.took_us), cost };
    output.print(&idle, |idle| idle.text(output))
}

impl Idle {
    fn text(&self, output: &Output) -> String {
        let share = three_figures(self.control_plane_of_a_core * 100.0);
        let took = micros(self.cost.took_us);
        let services = self.cost.services_text(0, output);
        let traffic = self.cost.traffic_text(0, output);
        format!("in {took} all services but agents took {share}% of one core\n\n{services}\n\n{traffic}")
    }
}
