//! What tasks write down themselves, independent of anything that allot says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use allot_model::AttemptId;

/// What a task runs around its work: a line at the start of each attempt and one at its end, `start 12 3 2 a1`.
pub(crate) fn noting(work: &str) -> String {
    format!(
        r#"me="$ALLOT_JOB_ID $ALLOT_TASK_INDEX $ALLOT_ATTEMPT $ALLOT_AGENT"; echo "start $me" >> "$JOURNAL"
        {work}; echo "end $me" >> "$JOURNAL""#
    )
}

/// What stands there.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// How many times each attempt began, and where.
    pub(crate) started: BTreeMap<AttemptId, Vec<String>>,
    /// How many times each attempt came to its end.
    pub(crate) ended: BTreeMap<AttemptId, u32>,
    /// Those that came to their end when a later attempt at the task had begun.
    pub(crate) outrun: BTreeSet<AttemptId>,
}

impl Journal {
    /// Reads it.
    pub(crate) fn read(path: &Path) -> Self {
        let mut journal = Self::default();
        let mut newest = BTreeMap::new();
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, job, task, attempt, agent] = words[..] else { continue };
            let (Ok(job), Ok(task), Ok(number)) = (job.parse(), task.parse(), attempt.parse()) else {
                continue;
            };
            let attempt = AttemptId::new(job, task, number);
            let newest = newest.entry(attempt.task).or_insert(number);
            if what == "start" {
                journal.started.entry(attempt).or_default().push(agent.to_owned());
                *newest = number.max(*newest);
                continue;
            }
            *journal.ended.entry(attempt).or_default() += 1;
            if number < *newest {
                journal.outrun.insert(attempt);
            }
        }
        journal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_ends_after_a_later_one_began_is_told_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let lines = "start 7 0 1 a1\nend 7 0 1 a1\nstart 7 1 1 a1\nstart 7 1 2 a2\nend 7 1 2 a2\nend 7 1 1 a1\nstart 7";
        std::fs::write(&path, lines).unwrap();
        let journal = Journal::read(&path);
        let attempt = |text: &str| text.parse::<AttemptId>().unwrap();
        assert_eq!(journal.started[&attempt("7.1#2")], ["a2"]);
        assert_eq!(journal.ended.len(), 3);
        assert_eq!(journal.outrun, [attempt("7.1#1")].into());
    }
}
