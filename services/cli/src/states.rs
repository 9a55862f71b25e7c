//! States and reasons as words, and the colour of each.

use allot_model::view::{AgentState, TaskCounts};
use allot_model::{JobState, TaskState};
use serde::Serialize;

use crate::output::{Cell, Tone};

/// The word that JSON uses for a value of a closed list.
#[must_use]
pub fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// A job's state.
#[must_use]
pub fn job(state: JobState) -> Cell {
    let tone = match state {
        JobState::Waiting | JobState::Queued => Tone::Plain,
        JobState::Running | JobState::Killing => Tone::Busy,
        JobState::Finished => Tone::Good,
        JobState::Failed | JobState::Rejected => Tone::Bad,
        JobState::Killed | JobState::Dropped => Tone::Faint,
    };
    Cell::new(word(state), tone)
}

/// A task's state.
#[must_use]
pub fn task(state: TaskState) -> Cell {
    let tone = match state {
        TaskState::Queued | TaskState::Allocated => Tone::Plain,
        TaskState::Starting | TaskState::Running | TaskState::Killing => Tone::Busy,
        TaskState::Finished => Tone::Good,
        TaskState::Unreachable | TaskState::Failed | TaskState::Rejected | TaskState::Gone => Tone::Bad,
        TaskState::Killed | TaskState::Dropped => Tone::Faint,
    };
    Cell::new(word(state), tone)
}

/// An agent's state.
#[must_use]
pub fn agent(state: AgentState) -> Cell {
    let tone = match state {
        AgentState::Ready => Tone::Good,
        AgentState::Draining => Tone::Busy,
        AgentState::Drained => Tone::Plain,
        AgentState::Unreachable | AgentState::Gone => Tone::Bad,
    };
    Cell::new(word(state), tone)
}

/// `3 running, 5 queued, 2 finished`: the states that tasks are in.
#[must_use]
pub fn counts(counts: &TaskCounts) -> String {
    let states = [
        (counts.running, "running"),
        (counts.starting, "starting"),
        (counts.killing, "killing"),
        (counts.queued, "queued"),
        (counts.unreachable, "unreachable"),
        (counts.finished, "finished"),
        (counts.failed, "failed"),
        (counts.killed, "killed"),
        (counts.dropped, "dropped"),
        (counts.gone, "gone"),
    ];
    let there = states.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = there.map(|(count, state)| format!("{count} {state}")).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_states_that_tasks_are_in_are_named() {
        let some = TaskCounts { running: 3, queued: 5, ..TaskCounts::default() };
        assert_eq!(counts(&some), "3 running, 5 queued");
        assert_eq!(counts(&TaskCounts::default()), "-");
    }

    #[test]
    fn states_are_the_words_of_json() {
        assert_eq!(word(TaskState::Unreachable), "unreachable");
        assert_eq!(word(allot_model::Reason::ExitedNonzero), "exited_nonzero");
    }
}
