//! Jobs of all kinds, submitted while things break.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use allot_bus::Subject;
use allot_e2e::User;
use allot_model::view::AgentUse;
use allot_model::{JobId, JobView};
use allot_shell::{Shutdown, clock};
use allot_workload::SplitMix64;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::parts::Parts;

/// How long an answer is waited for before it is asked again.
const ANSWER: Duration = Duration::from_secs(2);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// A job whose publish was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    pub(crate) job: JobId,
    /// True where no task of it may ever run twice.
    pub(crate) runs_once: bool,
}

/// A user who submits.
pub(crate) struct Load {
    stop: Shutdown,
    submitting: JoinHandle<Vec<Submitted>>,
}

impl Load {
    /// Submits jobs that write to this file until told to stop.
    pub(crate) fn begin(user: &User, journal: &Path, seed: u64) -> Self {
        let stop = Shutdown::new();
        let submitting = tokio::spawn(submit(user.clone(), journal.to_owned(), seed, stop.clone()));
        Self { stop, submitting }
    }

    /// Stops, and returns the jobs. What is on its way is submitted until it is acknowledged.
    pub(crate) async fn end(self) -> Vec<Submitted> {
        self.stop.trigger();
        self.submitting.await.unwrap_or_default()
    }
}

async fn submit(user: User, journal: PathBuf, seed: u64, stop: Shutdown) -> Vec<Submitted> {
    let mut random = SplitMix64::new(seed);
    let mut jobs = Vec::new();
    for number in 0_u64.. {
        if stop.is_triggered() {
            break;
        }
        let (spec, runs_once) = draw(&mut random, &journal);
        let cancel_after = (random.below(10) == 0).then(|| random.below(2_000) as u64);
        let message_id = format!("chaos-{seed}-{number}");
        let job = loop {
            let publish = user.publish("chaos", spec.to_string().into_bytes(), Some(&message_id));
            match timeout(ANSWER, publish).await {
                Ok(Ok(job)) => break job,
                // Whether the server has it is not known. The message id makes it safe to try again.
                _ => tokio::time::sleep(PAUSE).await,
            }
        };
        jobs.push(Submitted { job, runs_once });
        if let Some(after) = cancel_after {
            tokio::spawn(cancel(user.clone(), job, Duration::from_millis(after)));
        }
        tokio::time::sleep(Duration::from_millis(30 + random.below(200) as u64)).await;
    }
    jobs
}

async fn cancel(user: User, job: JobId, after: Duration) {
    tokio::time::sleep(after).await;
    // It may be over already, or nobody there to answer: then it is not cancelled.
    let _ = timeout(ANSWER, user.ask::<_, Value>(Subject::JobCancel(job), &json!({}))).await;
}

/// A job, and whether its tasks may run at most once.
fn draw(random: &mut SplitMix64, journal: &Path) -> (Value, bool) {
    let (retries, moves) = (random.below(3), random.below(3) == 0);
    let (tasks, millis) = match random.below(4) {
        // So short that they take turns.
        0 => (20 + random.below(60), random.below(10)),
        1 => (1 + random.below(6), 500 + random.below(2_000)),
        _ => (1 + random.below(12), 20 + random.below(300)),
    };
    let end = match random.below(8) {
        0 => "exit 3",
        1 => "kill -9 $$",
        _ => "exit 0",
    };
    let (seconds, thousandths) = (millis / 1_000, millis % 1_000);
    let line = format!(
        r#"me="$ALLOT_JOB_ID $ALLOT_TASK_INDEX $ALLOT_ATTEMPT"; echo "start $me" >> "$JOURNAL"
        sleep {seconds}.{thousandths:03}; echo "end $me" >> "$JOURNAL"; {end}"#
    );
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
    (job, retries == 0 && !moves)
}

/// What became of the jobs, of those that ended in time.
pub(crate) async fn results(
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
