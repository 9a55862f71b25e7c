//! What the dispatcher orders.

use std::sync::Arc;

use allot_model::{
    AgentOrder, AttemptId, AttemptRun, Executor, Launch, OrderBatch, Outcome, Reason, Span, TaskState, Time,
};

use crate::attempts::AttemptSet;
use crate::hold::StopOrder;
use crate::journal::{End, JournalEntry};
use crate::live::Live;
use crate::waiting::NO_LINE;
use crate::{AgentCore, Output};

/// While more reports than this wait to be sent, nothing that would add to them is taken on; the dispatcher repeats
/// what it wants.
const MOST_REPORTS: usize = 16_384;

impl AgentCore {
    pub(crate) fn on_orders(&mut self, now: Time, batch: OrderBatch, out: &mut Vec<Output>) {
        let OrderBatch { epoch, incarnation, allocations, orders } = batch;
        if incarnation != self.facts.incarnation || epoch < self.memory.epoch() {
            return;
        }
        let launches = orders.iter().any(|order| matches!(order, AgentOrder::Launch(_)));
        if epoch > self.memory.epoch() || (launches && allocations > self.memory.allocations()) {
            let allocations = if launches { allocations } else { 0 };
            self.note(JournalEntry::Obeying { epoch, allocations }, out);
        }
        for order in orders {
            match order {
                AgentOrder::Launch(launch) => self.on_launch(now, Arc::new(launch), allocations, out),
                AgentOrder::Kill { run, grace, reason } => {
                    self.on_kill(now, run, grace, reason, allocations, out);
                }
                AgentOrder::Reconcile { wanted } => self.on_reconcile(now, &wanted, allocations, out),
                AgentOrder::Acknowledge { sequence } => self.on_acknowledge(sequence, out),
            }
        }
    }

    fn on_launch(&mut self, now: Time, launch: Arc<Launch>, allocations: u64, out: &mut Vec<Output>) {
        if let Some(farewell) = &mut self.farewell {
            return farewell.decline(self.memory.unseen(launch.run).into_iter());
        }
        if self.stopping || self.is_full() {
            return;
        }
        let unseen = self.memory.unseen(launch.run);
        let new: Vec<AttemptRun> = unseen.into_iter().flat_map(|part| self.waiting.missing(part)).collect();
        match self.refusal(&launch) {
            Some(message) => new.into_iter().for_each(|run| {
                let message = Some(Arc::clone(&message));
                self.end_unstarted(now, run, TaskState::Failed, Reason::LaunchFailed, message, out);
            }),
            None if launch.spec.executor == Executor::Noop => {
                new.into_iter().for_each(|run| self.finish_at_once(now, run, out));
            }
            None if new.is_empty() => {}
            None => self.wait_in_line(now, new, launch, allocations),
        }
    }

    /// Attempts of an earlier life that take turns with these keep the slots that they have.
    fn wait_in_line(&mut self, now: Time, runs: Vec<AttemptRun>, launch: Arc<Launch>, allocations: u64) {
        let run = launch.run;
        let shares = |turns: &AttemptRun| {
            turns.job == run.job && turns.attempt == run.attempt && turns.tasks.overlap(run.tasks).is_some()
        };
        let in_slots: Vec<&mut Live> = self
            .live
            .values_mut()
            .filter(|live| live.line == NO_LINE && live.hold.turns.as_ref().is_some_and(shares))
            .collect();
        let line = self.waiting.push(now, runs, launch, allocations, in_slots.len() as u64);
        in_slots.into_iter().for_each(|live| live.line = line);
    }

    /// Hands tasks back that did not have their turn in time.
    pub(crate) fn hand_back(&mut self, now: Time, out: &mut Vec<Output>) {
        for run in self.waiting.hand_back(now) {
            self.end_unstarted(now, run, TaskState::Gone, Reason::HandedBack, None, out);
        }
    }

    /// Why this agent can never run such a task, where it cannot.
    fn refusal(&self, launch: &Launch) -> Option<Arc<str>> {
        let agent = &self.facts.id;
        if launch.spec.executor == Executor::Noop {
            let text = format!(
                "agent {agent} does not take tasks of the executor `noop`: set `noop = true` in its config"
            );
            return (!self.settings.noop).then(|| text.into());
        }
        let text = format!("the task needs more than all that agent {agent} has");
        (!self.facts.resources.contains(&launch.slice)).then(|| text.into())
    }

    fn finish_at_once(&mut self, now: Time, run: AttemptRun, out: &mut Vec<Output>) {
        let outcome = Outcome { exit_code: Some(0), ..Outcome::default() };
        let (state, reason) = (TaskState::Finished, Reason::ExitedZero);
        let end = End { run, state, reason, started_at: Some(now), ended_at: now, outcome };
        self.note(JournalEntry::Ended { end, held: false }, out);
    }

    fn on_kill(
        &mut self,
        now: Time,
        run: AttemptRun,
        grace: Span,
        reason: Reason,
        allocations: u64,
        out: &mut Vec<Output>,
    ) {
        let killed: AttemptSet = std::iter::once(run).collect();
        let waiting = self.waiting.known(allocations);
        for part in waiting.into_iter().flat_map(|part| killed.within(part).collect::<Vec<_>>()) {
            self.waiting.remove(part);
            self.end_unstarted(now, part, TaskState::Killed, reason, None, out);
        }
        for attempt in self.live_within(run) {
            if self.live.get(&attempt).is_some_and(|live| live.allocations <= allocations) {
                self.stop(now, attempt, StopOrder { state: TaskState::Killed, reason, grace }, out);
            }
        }
        self.disown(now, run, out);
    }

    fn on_reconcile(&mut self, now: Time, wanted: &[AttemptRun], allocations: u64, out: &mut Vec<Output>) {
        let wanted: AttemptSet = wanted.iter().copied().collect();
        let unwanted: Vec<AttemptRun> =
            self.waiting.known(allocations).into_iter().flat_map(|run| wanted.missing(run)).collect();
        for run in unwanted {
            self.waiting.remove(run);
            self.end_unstarted(now, run, TaskState::Killed, Reason::NotWanted, None, out);
        }
        let unwanted: Vec<(AttemptId, Span)> = self
            .live
            .iter()
            .filter(|(attempt, live)| live.allocations <= allocations && !wanted.contains(**attempt))
            .map(|(attempt, live)| (*attempt, live.hold.kill_grace))
            .collect();
        for (attempt, grace) in unwanted {
            let order = StopOrder { state: TaskState::Killed, reason: Reason::NotWanted, grace };
            self.stop(now, attempt, order, out);
        }
        wanted.iter().for_each(|run| self.disown(now, run, out));
        self.schedule.repeat_at(now);
    }

    fn on_acknowledge(&mut self, sequence: u64, out: &mut Vec<Output>) {
        if self.memory.outbox().in_flight().is_some_and(|batch| batch.sequence <= sequence) {
            self.note(JournalEntry::Acknowledged { sequence }, out);
        }
    }

    /// Says of the attempts of `run` that neither wait nor live, and whose end is not on its way, that they are
    /// gone. What had ended and was committed is answered too: the dispatcher passes over what it knows to be over,
    /// and must not wait for ever for what it does not.
    fn disown(&mut self, now: Time, run: AttemptRun, out: &mut Vec<Output>) {
        if self.stopping || self.is_full() {
            // Launches of these may have been passed over.
            return;
        }
        let unknown = self.memory.unaccounted(run);
        let unknown: Vec<AttemptRun> =
            unknown.into_iter().flat_map(|part| self.waiting.missing(part)).collect();
        for part in unknown {
            self.end_unstarted(now, part, TaskState::Gone, Reason::UnknownToAgent, None, out);
        }
    }

    /// Ends attempts that no process was started for, and never will be.
    pub(crate) fn end_unstarted(
        &mut self,
        now: Time,
        run: AttemptRun,
        state: TaskState,
        reason: Reason,
        message: Option<Arc<str>>,
        out: &mut Vec<Output>,
    ) {
        let outcome = Outcome { message, ..Outcome::default() };
        let end = End { run, state, reason, started_at: None, ended_at: now, outcome };
        self.note(JournalEntry::Ended { end, held: false }, out);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.memory.outbox().waiting() >= MOST_REPORTS
    }

    fn live_within(&self, run: AttemptRun) -> Vec<AttemptId> {
        let low = AttemptId::new(run.job, run.tasks.first, 0);
        let high = AttemptId::new(run.job, run.tasks.last, u32::MAX);
        let found = self.live.range(low..=high).map(|(attempt, _)| *attempt);
        found.filter(|attempt| attempt.attempt == run.attempt).collect()
    }
}
