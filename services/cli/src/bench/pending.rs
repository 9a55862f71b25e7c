//! What tasks that wait cost in memory.

use std::time::Duration;

use allot_model::{Span, Time};
use allot_shell::clock;
use serde::Serialize;
use tokio::time::interval;

use super::cost::{Cost, Snapshot};
use super::load::{Load, Publisher};
use super::numbers::{bytes, counted, micros, per, three_figures};
use super::track::Tracker;
use super::{cancel, follow, hear, progress, unless_interrupted};
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::Follower;
use crate::output::Output;

/// How often it is looked whether the services have come to rest.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Services that take less than one core's time in so many have nothing left to do.
const RESTS_BELOW: u64 = 20;

/// What waiting tasks cost.
#[derive(Debug, Serialize)]
struct Pending {
    jobs: usize,
    tasks: u32,
    /// From the first publication until all were admitted and every service had come to rest, microseconds.
    settled_us: u64,
    cost: Cost,
}

/// Submits tasks that fit nowhere, waits until every service knows them, tells what they cost, and cancels them.
pub(super) async fn run(
    load: &Load,
    patience: Span,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let follower = follow(client).await?;
    let before = Snapshot::take(client).await?;
    let mut tracker = Tracker::new(load.name().to_owned(), load.jobs());
    let publisher = Publisher::start(client, load, None);
    let mut settled = Err(Failure::internal("not measured"));
    let measured = unless_interrupted(async {
        admit(&mut tracker, publisher, follower, patience).await?;
        settled = at_rest(client, patience).await;
        Ok(())
    })
    .await;
    cancel(client, tracker.open()).await;
    measured?;
    let settled = settled?;
    let (from, _) = tracker.extent();
    let cost = before.until(&settled);
    let settled_us = settled.at().since(from).as_micros();
    let pending = Pending { jobs: tracker.admitted(), tasks: load.tasks(), settled_us, cost };
    output.print(&pending, |pending| pending.text(output))
}

/// Waits until all jobs have been admitted.
async fn admit(
    tracker: &mut Tracker,
    mut publisher: Publisher,
    mut ledger: Follower,
    patience: Span,
) -> Result<(), Failure> {
    let bar = progress(u64::from(tracker.expected()));
    while !tracker.is_admitted() {
        hear(tracker, &mut publisher, &mut ledger, patience).await?;
        bar.set_position(tracker.admitted() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Waits until the services have nothing left to do, and returns how things stand then.
async fn at_rest(client: &Client, patience: Span) -> Result<Snapshot, Failure> {
    let begun = clock::now();
    let mut look = interval(LOOK_EVERY);
    look.tick().await;
    let mut before = Snapshot::take(client).await?;
    loop {
        look.tick().await;
        let now = Snapshot::take(client).await?;
        let cost = before.until(&now);
        let spent = now.cpu_us().saturating_sub(before.cpu_us());
        if spent < cost.took_us / RESTS_BELOW {
            return Ok(now);
        }
        if is_over(begun, patience) {
            return Err(Failure::failed(format!("the services do not come to rest within {patience}")));
        }
        before = now;
    }
}

fn is_over(begun: Time, patience: Span) -> bool {
    clock::now().since(begun) > patience
}

impl Pending {
    fn text(&self, output: &Output) -> String {
        let control_plane = &self.cost.control_plane;
        let before: u64 =
            self.cost.services.iter().filter(|s| !s.is_agent()).map(|s| s.mem_before_bytes).sum();
        let grown = control_plane.mem_bytes.saturating_sub(before);
        let head = format!(
            "{} tasks in {} wait, known everywhere after {}: all services but agents have {}, {} more than before, {}B a \
             task",
            self.tasks,
            counted(self.jobs, "job"),
            micros(self.settled_us),
            bytes(control_plane.mem_bytes),
            bytes(grown),
            three_figures(per(grown, u64::from(self.tasks)))
        );
        let services = self.cost.services_text(u64::from(self.tasks), output);
        format!("{head}\n\n{services}")
    }
}
