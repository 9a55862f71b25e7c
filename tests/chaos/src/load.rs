//! Jobs of all kinds, submitted while things break.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allot_bus::Subject;

use allot_model::view::AgentUse;
use allot_model::{JobId, JobView};
use allot_shell::{Shutdown, clock};
use allot_testkit::User;
use allot_workload::SplitMix64;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::journal::noting;
use crate::ledger::Scribe;
use crate::parts::Parts;

/// How long an answer is waited for before it is asked again.
const ANSWER: Duration = Duration::from_secs(2);
/// How many jobs may be open at a time, so that what has gathered when everything is healed is done soon.
const MOST_OPEN: usize = 40;
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What may become of a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// How many tasks it has.
    pub(crate) tasks: usize,
    /// How often each may be tried again.
    pub(crate) retries: usize,
    /// True where they are tried elsewhere when their agent is silent.
    pub(crate) moves: bool,
}

/// A job whose publish was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    pub(crate) job: JobId,
    pub(crate) terms: Terms,
}

/// A user who submits.
pub(crate) struct Load {
    stop: Shutdown,
    submitting: JoinHandle<Vec<Submitted>>,
}

impl Load {
    /// Submits jobs that write to this file until told to stop, each when few enough of those before are open.
    pub(crate) fn begin(user: &User, scribe: &Arc<Scribe>, journal: &Path, seed: u64) -> Self {
        let stop = Shutdown::new();
        let submitter =
            Submitter { user: user.clone(), scribe: scribe.clone(), journal: journal.to_owned(), seed };
        let submitting = tokio::spawn(submitter.run(stop.clone()));
        Self { stop, submitting }
    }

    /// Stops, and returns the jobs. What is on its way is submitted until it is acknowledged.
    pub(crate) async fn end(self) -> anyhow::Result<Vec<Submitted>> {
        self.stop.trigger();
        Ok(self.submitting.await?)
    }
}

struct Submitter {
    user: User,
    scribe: Arc<Scribe>,
    journal: PathBuf,
    seed: u64,
}

impl Submitter {
    async fn run(self, stop: Shutdown) -> Vec<Submitted> {
        let mut random = SplitMix64::new(self.seed);
        let mut jobs = Vec::new();
        loop {
            tokio::select! {
                () = stop.wait() => return jobs,
                () = self.scribe.ended((jobs.len() + 1).saturating_sub(MOST_OPEN)) => {}
            }
            let (spec, terms) = draw(&mut random, &self.journal);
            let cancel_after = (random.below(10) == 0).then(|| random.below(2_000) as u64);
            let pause = 50 + random.below(300) as u64;
            let message_id = format!("chaos-{}-{}", self.seed, jobs.len());
            let job = self.submit(&spec, &message_id).await;
            jobs.push(Submitted { job, terms });
            if let Some(after) = cancel_after {
                tokio::spawn(cancel(self.user.clone(), job, Duration::from_millis(after)));
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Publishes it until that is acknowledged.
    async fn submit(&self, spec: &Value, message_id: &str) -> JobId {
        loop {
            let publish = self.user.publish("chaos", spec.to_string().into_bytes(), Some(message_id));
            match timeout(ANSWER, publish).await {
                Ok(Ok(job)) => return job,
                // Whether the server has it is not known. The message id makes it safe to try again.
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

async fn cancel(user: User, job: JobId, after: Duration) {
    tokio::time::sleep(after).await;
    // It may be over already, or nobody there to answer: then it is not cancelled.
    let _ = timeout(ANSWER, user.ask::<_, Value>(Subject::JobCancel(job), &json!({}))).await;
}

/// A job, with what may become of it.
fn draw(random: &mut SplitMix64, journal: &Path) -> (Value, Terms) {
    let (retries, moves) = (random.below(3), random.below(3) == 0);
    let (tasks, millis) = match random.below(12) {
        // So short that they take turns.
        0..=2 => (20 + random.below(60), random.below(10)),
        3..=5 => (1 + random.below(6), 500 + random.below(2_000)),
        // So long that they live through several faults.
        6 => (1 + random.below(2), 5_000 + random.below(5_000)),
        _ => (1 + random.below(12), 20 + random.below(300)),
    };
    let end = match random.below(8) {
        0 => "exit 3",
        1 => "kill -9 $$",
        _ => "exit 0",
    };
    let (seconds, thousandths) = (millis / 1_000, millis % 1_000);
    let line = format!("{}; {end}", noting(&format!("sleep {seconds}.{thousandths:03}")));
    let mut job = json!({
        "command": line,
        "env": { "JOURNAL": journal },
        "resources": { "cpus": 1 + random.below(2) },
        "tasks": tasks,
        "retries": retries,
        "backoff": "100ms",
        "kill_grace": "300ms",
        "on_unreachable": if moves { "retry" } else { "wait" },
    });
    if random.below(6) == 0 {
        job["time_limit"] = json!("1s");
    }
    (job, Terms { tasks, retries, moves })
}

/// What became of the jobs, of those that ended in time.
pub(crate) async fn ends(
    user: &User,
    parts: &mut Parts,
    jobs: &[Submitted],
    patience: Duration,
) -> BTreeMap<JobId, JobView> {
    let started = clock::now();
    let mut views = BTreeMap::new();
    while views.len() < jobs.len() && clock::now().since(started).to_std() < patience {
        // A service that lost its place ends, and is started again by whoever looks after it.
        let _ = parts.revive();
        for Submitted { job, .. } in jobs {
            if views.contains_key(job) {
                continue;
            }
            match timeout(ANSWER, user.show(*job)).await {
                Ok(Ok(view)) if view.summary.state.is_final() => drop(views.insert(*job, view)),
                // Most likely those behind it are not over either.
                _ => break,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    views
}

/// Waits until nothing is allocated any more. Returns what is, where that does not come.
pub(crate) async fn rest(user: &User, patience: Duration) -> Vec<AgentUse> {
    let started = clock::now();
    loop {
        let asked = timeout(ANSWER, user.ask::<_, Vec<AgentUse>>(Subject::AgentsUsage, &json!({}))).await;
        let late = clock::now().since(started).to_std() >= patience;
        if let Ok(Ok(all)) = asked {
            let busy = |one: &AgentUse| one.free != one.total || !one.available;
            let busy: Vec<AgentUse> = all.into_iter().filter(busy).collect();
            if busy.is_empty() || late {
                return busy;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
