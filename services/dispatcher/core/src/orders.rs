//! What agents are told: gathered per agent, sent together, repeated until their reports confirm them.

use std::collections::btree_map;

use allot_model::{AgentId, AgentOrder, AttemptRun, Incarnation, Launch, OrderBatch, Reason, Span, Time};

use crate::job::{Phase, Placed};
use crate::{DispatcherCore, Output};

/// The longest pause between repeated orders.
const LONGEST_REPEAT: Span = Span::from_secs(30);

/// An order that waits to be sent, and what was known when it was given: more may be by the time it leaves.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    known: Known,
    order: AgentOrder,
}

/// What an order was given by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// The life of the agent that it was meant for.
    incarnation: Incarnation,
    /// How many allocations had been read of.
    allocations: u64,
}

impl DispatcherCore {
    /// True where the agent can be told anything.
    fn is_there(&self, id: &AgentId) -> bool {
        self.agents.get(id).is_some_and(|agent| !agent.away && !agent.gone)
    }

    pub(crate) fn order(&mut self, id: &AgentId, order: AgentOrder) {
        let Some(agent) = self.agents.get(id) else { return };
        let known = Known { incarnation: agent.incarnation, allocations: self.allocations };
        self.orders.entry(id.clone()).or_default().push(Given { known, order });
    }

    pub(crate) fn order_launches(&mut self, now: Time) {
        for (id, runs) in std::mem::take(&mut self.work.launch) {
            if !self.is_there(&id) {
                continue;
            }
            for run in runs {
                self.order_launch(&id, run);
            }
            self.expect_confirmation(now, &id);
        }
    }

    /// Orders the start of those of the run that are still placed there and have not started.
    fn order_launch(&mut self, id: &AgentId, run: AttemptRun) {
        let Some(job) = self.jobs.get(&run.job) else { return };
        let mut launches = Vec::new();
        for (tasks, task) in job.tasks.within(run.tasks) {
            if let Phase::Placed(placed) = &task.phase
                && placed.agent == *id
                && task.attempt == run.attempt
                && is_unconfirmed_start(placed)
            {
                launches.push(AgentOrder::Launch(Launch {
                    run: AttemptRun { tasks, ..run },
                    spec: job.spec.clone(),
                    queue: job.queue.clone(),
                    slice: (*placed.slice).clone(),
                    slots: placed.slots(tasks.count()),
                }));
            }
        }
        launches.into_iter().for_each(|launch| self.order(id, launch));
    }

    pub(crate) fn order_kills(&mut self, now: Time) {
        for (id, runs) in std::mem::take(&mut self.work.kill) {
            if !self.is_there(&id) {
                continue;
            }
            for run in runs {
                self.order_kill(&id, run);
            }
            self.expect_confirmation(now, &id);
        }
    }

    fn order_kill(&mut self, id: &AgentId, run: AttemptRun) {
        let Some(job) = self.jobs.get(&run.job) else { return };
        let grace = job.spec.kill_grace;
        let mut kills = Vec::new();
        for (tasks, task) in job.tasks.within(run.tasks) {
            if let Phase::Placed(placed) = &task.phase
                && placed.agent == *id
                && task.attempt == run.attempt
                && let Some(reason) = placed.killed_for()
            {
                kills.push(AgentOrder::Kill { run: AttemptRun { tasks, ..run }, grace, reason });
            }
        }
        kills.into_iter().for_each(|kill| self.order(id, kill));
    }

    /// Orders attempts stopped that the agent has and should not have.
    pub(crate) fn order_stray_kill(&mut self, id: &AgentId, run: AttemptRun) {
        let grace = self.jobs.get(&run.job).map_or(Span::from_secs(10), |job| job.spec.kill_grace);
        self.order(id, AgentOrder::Kill { run, grace, reason: Reason::NotWanted });
    }

    /// Tells the agent everything it should have: starts what has not started, stops what is to stop, and lets it
    /// end whatever else it has. The launches come first, so that nothing wanted is unknown to it.
    pub(crate) fn order_reconcile(&mut self, now: Time, id: &AgentId) {
        if !self.is_there(id) {
            return;
        }
        // Whatever was to be started or stopped there is among what follows.
        self.work.launch.remove(id);
        self.work.kill.remove(id);
        let placed = self.placed_on(id);
        let run = |(job, tasks, task, _): &(_, _, crate::job::Task, _)| AttemptRun {
            job: *job,
            tasks: *tasks,
            attempt: task.attempt,
        };
        for one in placed.iter().filter(|one| is_unconfirmed_start(&one.3)) {
            self.order_launch(id, run(one));
        }
        self.order(id, AgentOrder::Reconcile { wanted: placed.iter().map(run).collect() });
        for one in placed.iter().filter(|one| one.3.killing.is_some()) {
            self.order_kill(id, run(one));
        }
        if placed.iter().any(|one| is_unconfirmed(&one.3)) {
            self.expect_confirmation(now, id);
        }
    }

    fn expect_confirmation(&mut self, now: Time, id: &AgentId) {
        let first = self.options.repeat_after;
        if let btree_map::Entry::Vacant(entry) = self.repeats.entry(id.clone()) {
            entry.insert((now + first, first));
        }
    }

    /// Tells agents again that have not confirmed for a while; ever more rarely.
    pub(crate) fn repeat_orders(&mut self, now: Time) {
        let due: Vec<(AgentId, Span)> = self
            .repeats
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(id, (_, pause))| (id.clone(), *pause))
            .collect();
        for (id, pause) in due {
            self.repeats.remove(&id);
            // By whichever clock it was said when that was.
            let is_recent = |at: Time| now.since(at) < pause && at.since(now) < pause;
            let late = |placed: &Placed| is_unconfirmed(placed) && !is_recent(placed.allocated_at);
            let placed = self.placed_on(&id);
            if !placed.iter().any(|one| is_unconfirmed(&one.3)) {
                continue;
            }
            let mut next = self.options.repeat_after;
            if placed.iter().any(|one| late(&one.3)) {
                self.order_reconcile(now, &id);
                next = pause.times(2).min(LONGEST_REPEAT);
            }
            self.repeats.insert(id, (now + next, next));
        }
    }

    pub(crate) fn flush_orders(&mut self, out: &mut Vec<Output>) {
        let Some(epoch) = self.epoch else { return };
        for (id, orders) in std::mem::take(&mut self.orders) {
            for (Known { incarnation, allocations }, orders) in in_parts(orders) {
                let batch = OrderBatch { epoch, incarnation, allocations, orders };
                out.push(Output::Orders(id.clone(), batch));
            }
        }
    }
}

fn is_unconfirmed_start(placed: &Placed) -> bool {
    placed.started_at.is_none() && placed.killing.is_none()
}

fn is_unconfirmed(placed: &Placed) -> bool {
    placed.started_at.is_none() || placed.killing.is_some()
}

/// Cuts orders into messages that the bus takes, each of orders that were given with the same knowledge.
fn in_parts(orders: Vec<Given>) -> Vec<(Known, Vec<AgentOrder>)> {
    const MOST_BYTES: usize = 512 * 1024;
    let mut parts: Vec<(Known, Vec<AgentOrder>)> = Vec::new();
    let mut room = 0;
    for Given { known, order } in orders {
        let size = size_of(&order);
        if size > room || parts.last().is_none_or(|(of_part, _)| *of_part != known) {
            parts.push((known, Vec::new()));
            room = MOST_BYTES;
        }
        room = room.saturating_sub(size);
        if let Some((_, part)) = parts.last_mut() {
            part.push(order);
        }
    }
    parts
}

/// About how many bytes an order takes on the wire; rather too many.
fn size_of(order: &AgentOrder) -> usize {
    match order {
        AgentOrder::Launch(launch) => {
            let spec = &launch.spec;
            let command: usize = match &spec.command {
                allot_model::Command::Argv(argv) => argv.iter().map(|arg| arg.len() + 8).sum(),
                allot_model::Command::Shell(line) => line.len(),
            };
            let env: usize = spec.env.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
            let constraints: usize = spec.constraints.iter().map(|c| c.to_string().len() + 8).sum();
            512 + command + env + constraints + 80 * spec.resources.iter().count()
        }
        AgentOrder::Reconcile { wanted } => 16 + 24 * wanted.len(),
        AgentOrder::Kill { .. } | AgentOrder::Acknowledge { .. } => 64,
    }
}
