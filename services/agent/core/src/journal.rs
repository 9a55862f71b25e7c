//! What an agent notes before it acts, so that its next life knows what this one did.

use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, Epoch, Outcome, Reason, Report, TaskState, Time};
use serde::{Deserialize, Serialize};

use crate::hold::{Hold, StopOrder};
use crate::memory::Memory;
use crate::processes::MOST_PROCESSES;

/// One line of the journal. What an agent must remember is a fold over these, see [`Memory::fold`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum JournalEntry {
    /// All that came before, in one: the first line of a journal that was rewritten.
    Snapshot(Box<Memory>),
    /// A dispatcher of this generation gave orders: those of earlier ones are ignored from here on.
    Obeying {
        /// Which.
        epoch: Epoch,
        /// How many allocations it had read of, where it ordered launches; the most so far.
        #[serde(default)]
        allocations: u64,
    },
    /// Processes of these attempts are about to be started, and never again from here on.
    Starting {
        /// Which.
        run: AttemptRun,
        /// What each of them holds. Agents of before did not note it; what they began cannot be taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<Arc<Hold>>,
    },
    /// A process was started.
    Running {
        /// Its attempt.
        attempt: AttemptId,
        /// When.
        at: Time,
        /// How to find it again.
        process: ProcessId,
    },
    /// An attempt is to stop.
    Stopping {
        /// Which.
        attempt: AttemptId,
        /// Why, and how.
        order: StopOrder,
    },
    /// Attempts ended, or are known never to start.
    Ended {
        /// Which, and how.
        end: End,
        /// True where the report waits until the output of the attempt is stored.
        held: bool,
    },
    /// The output of an attempt is stored, or was waited for long enough: its end may be reported.
    Released {
        /// Which.
        attempt: AttemptId,
    },
    /// What had gathered to be reported became this batch.
    Batched {
        /// The number of the batch.
        sequence: u64,
    },
    /// The dispatcher has committed the batches up to this one.
    Acknowledged {
        /// The number of the last of them.
        sequence: u64,
    },
}

/// A process, so that another one that got the same number later is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number, which is its group's number too.
    pub pid: i32,
    /// It was started no earlier than this, in the kernel's clock ticks since boot.
    pub not_before_ticks: u64,
    /// It was started no later than this, in the kernel's clock ticks since boot.
    pub not_after_ticks: u64,
}

/// How a run of attempts ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Which.
    pub run: AttemptRun,
    /// A final state.
    pub state: TaskState,
    /// Why.
    pub reason: Reason,
    /// When the process started; absent where none did.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Time,
    /// How.
    pub outcome: Outcome,
}

/// Something to be reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The processes started.
    Started {
        /// Which.
        run: AttemptRun,
        /// When.
        at: Time,
    },
    /// The attempts ended.
    Ended(Arc<End>),
}

impl JournalEntry {
    /// Checks that an agent may have noted it. A journal that was damaged can say what takes all memory to remember.
    ///
    /// # Errors
    /// What no agent notes.
    pub fn check(&self) -> Result<(), String> {
        let one_by_one: Vec<AttemptRun> = match self {
            Self::Starting { run, .. } => vec![*run],
            Self::Ended { end, held: true } => vec![end.run],
            Self::Snapshot(memory) => memory.outbox().gathered_starts().collect(),
            _ => Vec::new(),
        };
        match one_by_one.into_iter().find(|run| run.tasks.count() > MOST_PROCESSES as u64) {
            Some(run) => Err(format!("{run} is more than {MOST_PROCESSES} processes at a time")),
            None => Ok(()),
        }
    }
}

impl Note {
    /// The note in the words of the bus.
    #[must_use]
    pub fn to_report(&self) -> Report {
        match self {
            Self::Started { run, at } => Report::Started { run: *run, at: *at },
            Self::Ended(end) => Report::Ended {
                run: end.run,
                state: end.state,
                reason: end.reason,
                started_at: end.started_at,
                ended_at: end.ended_at,
                outcome: end.outcome.clone(),
            },
        }
    }

    /// Takes `next` in where it says the same of the tasks that follow; false, and nothing changed, otherwise.
    pub(crate) fn join(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Self::Started { run, at }, Self::Started { run: next, at: next_at }) => {
                at == next_at && extend(run, *next)
            }
            (Self::Ended(end), Self::Ended(next)) => {
                let mut joined = end.run;
                let alike =
                    extend(&mut joined, next.run) && End { run: next.run, ..(**end).clone() } == **next;
                if alike {
                    Arc::make_mut(end).run = joined;
                }
                alike
            }
            _ => false,
        }
    }

    /// About how many bytes it takes in a message.
    pub(crate) fn size_bytes(&self) -> usize {
        /// A report without its message takes less than this.
        const PLAIN_BYTES: usize = 128;
        match self {
            Self::Started { .. } => PLAIN_BYTES,
            Self::Ended(end) => PLAIN_BYTES + end.outcome.message.as_ref().map_or(0, |message| message.len()),
        }
    }
}

/// Makes `run` longer by `next` where that follows directly; false otherwise.
fn extend(run: &mut AttemptRun, next: AttemptRun) -> bool {
    let follows = run.tasks.last.checked_add(1) == Some(next.tasks.first);
    let joins = run.job == next.job && run.attempt == next.attempt && follows;
    if joins {
        run.tasks.last = next.tasks.last;
    }
    joins
}
