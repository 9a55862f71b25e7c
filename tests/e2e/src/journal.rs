//! What tasks write down themselves, independent of anything that allot says of them.

use std::collections::BTreeMap;
use std::path::Path;

use allot_model::JobId;
use serde_json::json;

use crate::User;

/// What the tasks wrote down themselves: `job task attempt`, one line at the start and one at the end of each.
#[derive(Debug, Default)]
pub struct Journal {
    /// How many times each attempt began.
    pub started: BTreeMap<(u64, u32, u32), u32>,
    /// How many times each attempt came to its end.
    pub ended: BTreeMap<(u64, u32, u32), u32>,
}

impl Journal {
    /// What stands there by now.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut journal = Self::default();
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, job, task, attempt] = words[..] else { continue };
            let (Ok(job), Ok(task), Ok(attempt)) = (job.parse(), task.parse(), attempt.parse()) else {
                continue;
            };
            let id = (job, task, attempt);
            let lines = if what == "start" { &mut journal.started } else { &mut journal.ended };
            *lines.entry(id).or_default() += 1;
        }
        journal
    }

    /// How many attempts have come to their end.
    #[must_use]
    pub fn ended_tasks(&self) -> usize {
        self.ended.len()
    }

    /// Submits a job of short tasks that write to this file.
    ///
    /// # Errors
    /// Where the inbox does not take it.
    pub async fn submit(user: &User, journal: &Path, tasks: u32, retries: u32) -> anyhow::Result<JobId> {
        let line = r#"echo "start $ALLOT_JOB_ID $ALLOT_TASK_INDEX $ALLOT_ATTEMPT" >> "$JOURNAL"; sleep 0.02
        echo "end $ALLOT_JOB_ID $ALLOT_TASK_INDEX $ALLOT_ATTEMPT" >> "$JOURNAL""#;
        let job = json!({
            "command": line,
            "env": { "JOURNAL": journal },
            "resources": { "cpus": 1 },
            "tasks": tasks,
            "retries": retries,
            "backoff": "100ms",
        });
        user.submit("chaos", &job).await
    }
}
