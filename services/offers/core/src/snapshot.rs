//! The state of the offers service as the items of a snapshot, and back. Sums are not saved: they are added up anew.

use allot_model::{AttemptRun, DrainState, HeldRun, OffersAgentState, OffersJobState, QueueName, StateItem};

use crate::OffersCore;
use crate::agents::{Agent, Drain, Held, Turns};
use crate::allocators::Active;
use crate::demand::{Account, Job};
use crate::fold::shared_slice;

impl OffersCore {
    /// All that it knows from the ledger, in items: a new core that is given them is as if it had folded every record.
    pub fn snapshot(&self) -> impl Iterator<Item = StateItem> + '_ {
        let queues = self.demand.queues.iter().filter_map(|(queue, account)| self.save_queue(queue, account));
        let active = self.allocators.active.iter().map(|Active { epoch, instance, policy }| {
            let (instance, policy) = (instance.clone(), policy.clone());
            StateItem::Active { epoch: *epoch, instance, policy }
        });
        let chosen = self.allocators.chosen.iter().map(|policy| StateItem::Chosen { policy: policy.clone() });
        let jobs = self.demand.jobs.values().map(|job| StateItem::OffersJob(save_job(job)));
        let agents = self.agents.values().map(|agent| StateItem::OffersAgent(agent.save()));
        let preempted = self.preemptions.iter().cloned().map(StateItem::Preempted);
        queues.chain(active).chain(chosen).chain(jobs).chain(agents).chain(preempted)
    }

    fn save_queue(&self, queue: &QueueName, account: &Account) -> Option<StateItem> {
        let (limit, guarantee) = (self.demand.limits.of(queue), self.demand.limits.guarantee(queue));
        Some(StateItem::Queue { queue: queue.clone(), weight: account.weight?, limit, guarantee })
    }

    /// Takes an item of a snapshot; those of other services mean nothing.
    pub(crate) fn restore(&mut self, item: StateItem) {
        match item {
            StateItem::Queue { queue, weight, limit, guarantee } => {
                self.demand.set_queue(&queue, weight, &limit, &guarantee);
            }
            StateItem::Active { epoch, instance, policy } => {
                self.allocators.active = Some(Active { epoch, instance, policy });
            }
            StateItem::Chosen { policy } => self.allocators.chosen = Some(policy),
            StateItem::Preempted(preemption) => self.preemptions.begin(preemption),
            StateItem::OffersJob(state) => self.restore_job(state),
            StateItem::OffersAgent(state) => self.restore_agent(state),
            _ => {}
        }
    }

    fn restore_job(&mut self, OffersJobState { job: pool, pending }: OffersJobState) {
        let job = pool.job;
        self.demand.admit(pool, true);
        for (tasks, attempt) in pending {
            self.demand.queue(AttemptRun { job, tasks, attempt });
        }
    }

    fn restore_agent(&mut self, state: OffersAgentState) {
        let OffersAgentState { facts, away, drain, held, turns } = state;
        let mut agent = Agent::new(facts);
        agent.away = away;
        agent.drain = drain.map_or(Drain::No, |drain| match drain {
            DrainState::Under => Drain::Under,
            DrainState::Over => Drain::Over,
        });
        agent.turns = turns.into_iter().map(|turns| (turns.first, Turns::load(turns))).collect();
        for HeldRun { run, queue, slice, turns, at } in held {
            let held = Held {
                attempt: run.attempt,
                at,
                queue,
                slice: shared_slice(&self.demand, run.job, &slice),
                turns,
            };
            agent.held.entry(run.job).or_default().set(run.tasks, held);
        }
        for (_, _, held, slots) in agent.runs() {
            self.demand.charge(&held.queue, &held.slice, slots);
        }
        agent.allocated = agent.sum_of_held().unwrap_or_default();
        agent.recount();
        agent.settle();
        self.agents.insert(agent.facts.id.clone(), agent);
    }
}

fn save_job(job: &Job) -> OffersJobState {
    let Job { pool, pending, slice: _ } = job;
    let pending = pending.iter().map(|(tasks, attempt)| (tasks, *attempt)).collect();
    OffersJobState { job: pool.clone(), pending }
}

impl Agent {
    fn save(&self) -> OffersAgentState {
        let held = self.held.iter().flat_map(|(job, parts)| {
            parts.iter().map(|(tasks, held)| {
                let Held { attempt, at, queue, slice, turns } = held;
                let run = AttemptRun { job: *job, tasks, attempt: *attempt };
                HeldRun { run, queue: queue.clone(), slice: slice.clone(), turns: *turns, at: *at }
            })
        });
        OffersAgentState {
            facts: self.facts.clone(),
            away: self.away,
            drain: match self.drain {
                Drain::No => None,
                Drain::Under => Some(DrainState::Under),
                Drain::Over => Some(DrainState::Over),
            },
            held: held.collect(),
            turns: self.turns.iter().map(|(first, turns)| turns.save(*first)).collect(),
        }
    }
}
