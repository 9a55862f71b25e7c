//! What agents report, turned into records.

use allot_model::{
    AgentId, AgentOrder, AttemptRun, DispatcherRecord, Outcome, Reason, Report, ReportBatch, TaskRange,
    TaskSet, TaskState, Time,
};

use crate::job::{Phase, Placed, Task};
use crate::react::retry_at;
use crate::{DispatcherCore, Output};

/// How much of an agent's message about an end is kept, in characters.
const MOST_MESSAGE_CHARACTERS: usize = 1_000;

impl DispatcherCore {
    /// Takes an agent's reports and, once they are committed, lets it forget them. An agent that is not known, or
    /// speaks of an earlier life, is not answered: it must say hello first. Nor is one that may speak of allocations which
    /// have not been read of yet: it repeats itself.
    pub(crate) fn on_reports(&mut self, now: Time, batch: ReportBatch, out: &mut Vec<Output>) {
        let known = self.agents.get(&batch.agent);
        let is_known = known.is_some_and(|agent| agent.incarnation == batch.incarnation && !agent.gone);
        if !is_known || batch.allocations > self.allocations {
            return;
        }
        for report in &batch.reports {
            match report {
                Report::Started { run, at } => self.on_started(now, &batch.agent, *run, *at, out),
                Report::Ended { .. } => self.on_ended(now, &batch.agent, report, out),
            }
        }
        self.order(&batch.agent, AgentOrder::Acknowledge { sequence: batch.sequence });
        self.react(now, out);
    }

    /// The parts of the run that hold an allocation there, and what of the run does not.
    fn wanted(&self, agent: &AgentId, run: AttemptRun) -> (Vec<(TaskRange, Task, Placed)>, TaskSet) {
        let mut stray: TaskSet = std::iter::once(run.tasks).collect();
        let mut wanted = Vec::new();
        let runs = self.jobs.get(&run.job).map(|job| job.runs(run.tasks)).unwrap_or_default();
        for (part, task) in runs {
            if let Phase::Placed(placed) = &task.phase
                && placed.agent == *agent
                && task.attempt == run.attempt
            {
                stray.remove(part);
                let placed = placed.clone();
                wanted.push((part, task, placed));
            }
        }
        (wanted, stray)
    }

    fn on_started(&mut self, now: Time, id: &AgentId, run: AttemptRun, at: Time, out: &mut Vec<Output>) {
        let (wanted, stray) = self.wanted(id, run);
        for (tasks, _, _) in wanted.into_iter().filter(|(_, _, placed)| placed.started_at.is_none()) {
            let run = AttemptRun { tasks, ..run };
            self.append(now, DispatcherRecord::TasksStarted { agent: id.clone(), run, started_at: at }, out);
        }
        for tasks in stray.ranges() {
            self.order_stray_kill(id, AttemptRun { tasks, ..run });
        }
    }

    fn on_ended(&mut self, now: Time, id: &AgentId, report: &Report, out: &mut Vec<Output>) {
        let Report::Ended { run, state, reason, started_at, ended_at, outcome } = report else { return };
        let (wanted, _) = self.wanted(id, *run);
        for (tasks, task, placed) in wanted {
            let (state, reason) = verdict(*state, *reason, &placed);
            let retry_at = self.jobs.get(&run.job).and_then(|job| retry_at(now, job, &task, state, reason));
            let record = DispatcherRecord::TasksEnded {
                agent: id.clone(),
                run: AttemptRun { tasks, ..*run },
                state,
                reason,
                started_at: started_at.or(placed.started_at),
                ended_at: *ended_at,
                outcome: bounded(outcome),
                retry_at,
            };
            self.append(now, record, out);
        }
        self.queue_again(now, out);
    }
}

/// What an agent has to say about an end is kept for as long as the job is.
fn bounded(outcome: &Outcome) -> Outcome {
    let mut bounded = outcome.clone();
    if let Some(message) = &outcome.message
        && let Some((end, _)) = message.char_indices().nth(MOST_MESSAGE_CHARACTERS)
    {
        bounded.message = message.get(..end).map(|kept| format!("{kept}…").into());
    }
    bounded
}

/// The state and reason to record: a task that was to be stopped was killed for that reason, unless it finished first.
fn verdict(state: TaskState, reason: Reason, placed: &Placed) -> (TaskState, Reason) {
    match placed.killed_for() {
        Some(why) if state != TaskState::Finished => (TaskState::Killed, why),
        _ if state.is_final() => (state, reason),
        _ => (TaskState::Gone, Reason::UnknownToAgent),
    }
}
