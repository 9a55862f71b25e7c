//! A dispatcher rebuilt from the ledger equals the one that lived through it, though the records of others stand in
//! the ledger before it had read them.
#![allow(clippy::unwrap_used)]

mod harness;

use std::collections::{BTreeSet, VecDeque};

use allot_dispatcher_core::Input;
use allot_model::*;
use harness::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Join(u8, u64),
    Registry(u8, u8),
    Submit { tasks: u32, retries: u32, after: Option<u64>, retry_unreachable: bool },
    Allocate(u8, prop::sample::Index, u32),
    Read(u8),
    Start(prop::sample::Index),
    End(prop::sample::Index, u8),
    Cancel(prop::sample::Index),
    Preempt(prop::sample::Index),
    Queue(QueueSetCommand),
    Pass(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let submit = (1_u32..6, 0_u32..3, prop::option::of(1_u64..6), any::<bool>());
    prop_oneof![
        1 => (0_u8..3, 1_u64..3).prop_map(|(a, i)| Step::Join(a, i)),
        1 => (0_u8..3, 0_u8..6).prop_map(|(a, what)| Step::Registry(a, what)),
        3 => submit.prop_map(|(tasks, retries, after, retry_unreachable)| {
            Step::Submit { tasks, retries, after, retry_unreachable }
        }),
        5 => (0_u8..3, any::<prop::sample::Index>(), 0_u32..3).prop_map(|(a, i, n)| Step::Allocate(a, i, n)),
        4 => (1_u8..4).prop_map(Step::Read),
        3 => any::<prop::sample::Index>().prop_map(Step::Start),
        4 => (any::<prop::sample::Index>(), 0_u8..4).prop_map(|(i, how)| Step::End(i, how)),
        1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        2 => any::<prop::sample::Index>().prop_map(Step::Preempt),
        1 => queue_set().prop_map(Step::Queue),
        2 => (0_u64..3_000).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

fn queue_set() -> impl Strategy<Value = QueueSetCommand> {
    let limit = prop::sample::select(vec!["cpus=4", "cpus=none", "tasks=2,mem=1GB", "tasks=none"]);
    let limit = prop::option::of(limit.prop_map(|text| text.parse().unwrap()));
    let guarantee = prop::sample::select(vec!["cpus=2", "cpus=none", "tasks=1"]);
    let guarantee = prop::option::of(guarantee.prop_map(|text| text.parse().unwrap()));
    let given = (prop::option::of(0_u32..3), any::<bool>(), limit, any::<bool>(), guarantee);
    given.prop_map(|(weight, no_limit, limit, no_guarantee, guarantee)| QueueSetCommand {
        weight,
        no_limit,
        limit: limit.unwrap_or_default(),
        no_guarantee,
        guarantee: guarantee.unwrap_or_default(),
        ..set("a")
    })
}

/// A dispatcher that reads the records of others some time after they were written.
struct Story {
    house: House,
    unread: VecDeque<Entry>,
    allocated: BTreeSet<AttemptId>,
}

impl Story {
    fn new() -> Self {
        let mut house = House::new();
        (0..3).for_each(|agent| house.join(&format!("m{agent}"), 1));
        Self { house, unread: VecDeque::new(), allocated: BTreeSet::new() }
    }

    /// Another writer appends; the dispatcher has not read it yet.
    fn written(&mut self, record: Record) {
        let entry = Entry { at: self.house.now, record };
        self.house.ledger.push(entry.clone());
        self.unread.push_back(entry);
    }

    fn read(&mut self, count: usize) {
        for _ in 0..count {
            let Some(entry) = self.unread.pop_front() else { return };
            self.house.give(Input::Ledger(entry));
        }
    }

    /// Tries that the ledger says are to be placed, and that were not placed yet.
    fn placeable(&self) -> Vec<AttemptRun> {
        let runs = self.house.ledger.iter().filter_map(|entry| match &entry.record {
            Record::Dispatcher(DispatcherRecord::JobAdmitted { job, spec, waits: false, .. }) => {
                Some(run(job.0, 0, spec.tasks - 1, 1))
            }
            Record::Dispatcher(DispatcherRecord::TasksQueued { run }) => Some(*run),
            _ => None,
        });
        let single = |all: AttemptRun| all.tasks.indexes().map(move |i| run(all.job.0, i, i, all.attempt));
        let free = |one: &AttemptRun| {
            !self.allocated.contains(&AttemptId::new(one.job, one.tasks.first, one.attempt))
        };
        runs.flat_map(single).filter(free).collect()
    }

    fn allocate(&mut self, agent: u8, pick: prop::sample::Index, more: u32) {
        let placeable = self.placeable();
        if placeable.is_empty() {
            return;
        }
        let at = pick.index(placeable.len());
        let first = placeable[at];
        let fits = |(i, one): &(usize, &AttemptRun)| {
            one.job == first.job
                && one.attempt == first.attempt
                && one.tasks.first as usize == first.tasks.first as usize + i
        };
        let count = placeable[at..].iter().enumerate().take_while(fits).take(1 + more as usize).count();
        let last = first.tasks.first + u32::try_from(count).unwrap() - 1;
        let run = run(first.job.0, first.tasks.first, last, first.attempt);
        self.allocated.extend(run.tasks.indexes().map(|i| AttemptId::new(run.job, i, run.attempt)));
        let record = self.house.allocated(&format!("m{agent}"), run, 1).record;
        self.written(record);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Join(agent, incarnation) => {
                let id = format!("m{agent}");
                let facts = AgentFacts {
                    id: agent_id(&id),
                    incarnation: Incarnation(incarnation),
                    host: id,
                    resources: slice(),
                    attributes: Attributes::new(),
                    program_version: String::new(),
                };
                self.written(Record::Registry(RegistryRecord::AgentJoined { facts: facts.into() }));
            }
            Step::Registry(agent, what) => {
                let agent = agent_id(&format!("m{agent}"));
                let record = match what {
                    0 => RegistryRecord::AgentUnreachable { agent },
                    1 => RegistryRecord::AgentReturned { agent },
                    2 => RegistryRecord::AgentDraining { agent, kill: true },
                    3 => RegistryRecord::AgentUndrained { agent },
                    4 => RegistryRecord::AgentDraining { agent, kill: false },
                    _ => RegistryRecord::AgentGone { agent },
                };
                self.written(Record::Registry(record));
            }
            Step::Submit { tasks, retries, after, retry_unreachable } => {
                let on_unreachable =
                    if retry_unreachable { OnUnreachable::Retry } else { OnUnreachable::Wait };
                let after = after.into_iter().map(JobId).collect();
                self.house.submit(JobSpec { retries, after, on_unreachable, ..spec(tasks) });
            }
            Step::Allocate(agent, pick, more) => self.allocate(agent, pick, more),
            Step::Read(count) => self.read(count.into()),
            Step::Start(pick) => self.on_some(pick, |house, agent, run| house.started(&agent, run)),
            Step::End(pick, how) => self.on_some(pick, |house, agent, run| {
                let how = match how {
                    0 => BAD,
                    1 => (TaskState::Killed, Reason::CancelledByUser),
                    2 => (TaskState::Gone, Reason::UnknownToAgent),
                    _ => FINE,
                };
                house.ended(&agent, run, how);
            }),
            Step::Preempt(pick) => {
                let mut preempted = None;
                self.on_some(pick, |house, agent, run| preempted = Some(house.preempted(&agent, run, 1)));
                preempted.into_iter().for_each(|record| self.written(record));
            }
            Step::Cancel(pick) => self.house.cancel(pick.index(6) as u64 + 1),
            Step::Queue(command) => self.house.set_queue(command),
            Step::Pass(ms) => self.house.pass(Span::from_millis(ms)),
            Step::Restart => {
                // A new instance reads everything that stands in the ledger before it takes over.
                self.unread.clear();
                self.house.restart();
            }
        }
    }

    /// Something that an agent may say of a try that was placed on it.
    fn on_some(&mut self, pick: prop::sample::Index, say: impl FnOnce(&mut House, String, AttemptRun)) {
        let placements: Vec<Placement> = self
            .house
            .ledger
            .iter()
            .flat_map(|entry| match &entry.record {
                Record::Offers(OffersRecord::Allocated { placements, .. }) => placements.clone(),
                _ => Vec::new(),
            })
            .collect();
        if !placements.is_empty() {
            let placement = &placements[pick.index(placements.len())];
            say(&mut self.house, placement.agent.to_string(), placement.run);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn replay_equals_life(steps in proptest::collection::vec(step(), 0..100)) {
        let mut story = Story::new();
        for step in steps {
            story.take(step);
        }
        story.read(usize::MAX);
        let rebuilt = story.house.rebuilt();
        rebuilt.sanity_check();
        prop_assert!(rebuilt.same_state(&story.house.core));
    }

    #[test]
    fn a_snapshot_and_the_records_after_it_equal_all_records(
        steps in proptest::collection::vec(step(), 0..100),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut story = Story::new();
        for step in steps {
            story.take(step);
        }
        story.read(usize::MAX);
        let restored = story.house.restored_at(cut.index(story.house.ledger.len() + 1));
        restored.sanity_check();
        prop_assert!(restored.same_state(&story.house.core));
    }

    #[test]
    fn a_snapshot_of_one_that_lives_and_has_read_all_is_as_good_as_one_of_the_ledger(
        before in proptest::collection::vec(step(), 0..60),
        after in proptest::collection::vec(step(), 0..40),
    ) {
        let mut story = Story::new();
        before.into_iter().for_each(|step| story.take(step));
        story.read(usize::MAX);
        let core = story.house.core.clone();
        let written = story.house.ledger.len();
        after.into_iter().for_each(|step| story.take(step));
        story.read(usize::MAX);
        let restored = story.house.restored(&core, &story.house.ledger[written..]);
        restored.sanity_check();
        prop_assert!(restored.same_state(&story.house.core));
    }

    #[test]
    fn every_allocation_is_released_once_and_no_ended_task_is_launched(
        steps in proptest::collection::vec(step(), 0..100),
    ) {
        let mut story = Story::new();
        for step in steps {
            story.take(step);
        }
        story.read(usize::MAX);
        let mut held: BTreeSet<AttemptId> = BTreeSet::new();
        for entry in &story.house.ledger {
            match &entry.record {
                Record::Offers(OffersRecord::Allocated { placements, .. }) => {
                    for run in placements.iter().map(|p| p.run) {
                        held.extend(run.tasks.indexes().map(|i| AttemptId::new(run.job, i, run.attempt)));
                    }
                }
                Record::Dispatcher(
                    DispatcherRecord::TasksEnded { run, .. } | DispatcherRecord::AllocationReturned { run, .. },
                ) => {
                    for id in run.tasks.indexes().map(|i| AttemptId::new(run.job, i, run.attempt)) {
                        prop_assert!(held.remove(&id), "{} was released without being held", id);
                    }
                }
                _ => {}
            }
        }
    }
}
