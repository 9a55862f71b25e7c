//! What must hold whatever happens to an agent, in whatever order.

mod story;

use std::collections::{BTreeMap, BTreeSet};

use allot_agent_core::{AgentCore, Input, JournalEntry, Output, Signal};
use allot_model::{
    AgentOrder, AttemptId, AttemptRun, Core, Epoch, JobId, OrderBatch, Reason, Report, ReportBatch, Span,
    TaskRange, Time,
};
use proptest::prelude::*;
use story::*;

#[derive(Debug, Clone)]
enum Step {
    Launch(AttemptRun),
    Noop(AttemptRun),
    Kill(AttemptRun),
    Reconcile(Vec<AttemptRun>),
    /// Delivers an earlier set of orders once more.
    Repeat(usize),
    /// The process of one of the attempts that were spawned starts, fails to start, or ends.
    Start(usize),
    FailToStart(usize),
    Exit(usize, bool),
    OutputStored(usize),
    /// The dispatcher takes the last batch of reports.
    Commit,
    Pass(u64),
    /// The agent is killed after so many of the outputs of its next step.
    Crash(usize),
}

fn any_run() -> impl Strategy<Value = AttemptRun> {
    (1_u64..4, 0_u32..6, 0_u32..3, 1_u32..3).prop_map(|(job, first, more, attempt)| AttemptRun {
        job: JobId(job),
        tasks: TaskRange { first, last: first + more },
        attempt,
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any_run().prop_map(Step::Launch),
        1 => any_run().prop_map(Step::Noop),
        2 => any_run().prop_map(Step::Kill),
        1 => proptest::collection::vec(any_run(), 0..4).prop_map(Step::Reconcile),
        2 => (0_usize..20).prop_map(Step::Repeat),
        4 => (0_usize..4).prop_map(Step::Start),
        1 => (0_usize..4).prop_map(Step::FailToStart),
        3 => (0_usize..4, any::<bool>()).prop_map(|(which, output)| Step::Exit(which, output)),
        2 => (0_usize..4).prop_map(Step::OutputStored),
        3 => Just(Step::Commit),
        2 => (0_u64..8).prop_map(Step::Pass),
        1 => (0_usize..6).prop_map(Step::Crash),
    ]
}

fn unknown_exit(at: Time) -> allot_agent_core::Exit {
    allot_agent_core::Exit {
        at,
        exit_code: None,
        signal: None,
        cpu_us: 0,
        peak_mem_bytes: 0,
        has_output: false,
    }
}

/// An agent, its machine, and a dispatcher that counts.
struct World {
    core: AgentCore,
    now: Time,
    journal: Vec<JournalEntry>,
    orders: Vec<AgentOrder>,
    /// Processes on the machine, true once the agent was told that they run.
    processes: BTreeMap<AttemptId, bool>,
    spawned: BTreeSet<AttemptId>,
    stored: Vec<AttemptId>,
    sent: Option<ReportBatch>,
    committed: u64,
    /// How often the dispatcher committed the end of an attempt, answers about unknown ones apart.
    ends: BTreeMap<AttemptId, u32>,
    crash_after: Option<usize>,
    /// What the agent takes back and has not heard of yet.
    orphans: Vec<AttemptId>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            core: AgentCore::new(facts(), settings()),
            now: Time::ZERO,
            journal: Vec::new(),
            orders: Vec::new(),
            processes: BTreeMap::new(),
            spawned: BTreeSet::new(),
            stored: Vec::new(),
            sent: None,
            committed: 0,
            ends: BTreeMap::new(),
            crash_after: None,
            orphans: Vec::new(),
        };
        world.give(Input::Resume);
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Launch(run) => self.order(launch(&run.to_string())),
            Step::Noop(run) => self.order(noop(&run.to_string())),
            Step::Kill(run) => self.order(kill(&run.to_string())),
            Step::Reconcile(wanted) => self.order(AgentOrder::Reconcile { wanted }),
            Step::Repeat(which) => {
                let which =
                    which.checked_rem(self.orders.len()).and_then(|which| self.orders.get(which).cloned());
                which.into_iter().for_each(|order| self.deliver(order));
            }
            Step::Start(which) => self.start(which),
            Step::FailToStart(which) => self.fail_to_start(which),
            Step::Exit(which, has_output) => self.exit(which, has_output),
            Step::OutputStored(which) => {
                if let Some(attempt) = self.stored.get(which).copied() {
                    self.give(Input::OutputStored { attempt });
                }
            }
            Step::Commit => self.commit(),
            Step::Pass(seconds) => self.pass(seconds),
            Step::Crash(after) => self.crash_after = Some(after),
        }
    }

    fn order(&mut self, order: AgentOrder) {
        self.orders.push(order.clone());
        self.deliver(order);
    }

    fn deliver(&mut self, order: AgentOrder) {
        self.give(Input::Orders(OrderBatch {
            epoch: Epoch(1),
            incarnation: LIFE,
            allocations: 0,
            orders: vec![order],
        }));
    }

    fn nth(&self, which: usize, runs: bool) -> Option<AttemptId> {
        self.processes.iter().filter(|(_, running)| **running == runs).map(|(attempt, _)| *attempt).nth(which)
    }

    fn start(&mut self, which: usize) {
        if let Some(attempt) = self.nth(which, false) {
            self.processes.insert(attempt, true);
            self.give(Input::Started { attempt, at: self.now, process: process() });
        }
    }

    fn fail_to_start(&mut self, which: usize) {
        if let Some(attempt) = self.nth(which, false) {
            self.processes.remove(&attempt);
            self.give(Input::LaunchFailed { attempt, at: self.now, message: "no".into() });
        }
    }

    fn exit(&mut self, which: usize, has_output: bool) {
        if let Some(attempt) = self.nth(which, true) {
            self.end(attempt, has_output);
        }
    }

    fn end(&mut self, attempt: AttemptId, has_output: bool) {
        self.processes.remove(&attempt);
        self.stored.extend(has_output.then_some(attempt));
        let exit = allot_agent_core::Exit {
            at: self.now,
            exit_code: Some(0),
            signal: None,
            cpu_us: 0,
            peak_mem_bytes: 0,
            has_output,
        };
        self.give(Input::Exited { attempt, exit });
    }

    fn commit(&mut self) {
        let Some(batch) = self.sent.take() else { return };
        if batch.sequence > self.committed {
            assert_eq!(batch.sequence, self.committed + 1, "batches are numbered without gaps");
            self.committed = batch.sequence;
            for report in batch.reports {
                if let Report::Ended { run, reason, .. } = report
                    && reason != Reason::UnknownToAgent
                {
                    run.attempts().for_each(|attempt| *self.ends.entry(attempt).or_default() += 1);
                }
            }
        }
        self.deliver(AgentOrder::Acknowledge { sequence: self.committed });
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + Span::from_secs(seconds);
        while let Some((at, _)) = self.core.next_wake().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.core.wake(self.now, &mut out);
            self.carry_out(out);
        }
        self.now = end;
    }

    fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, mut out: Vec<Output>) {
        self.core.sanity_check();
        let crash = self.crash_after.take();
        out.truncate(crash.unwrap_or(usize::MAX));
        for output in out {
            match output {
                Output::Journal(entry) => self.journal.push(entry),
                Output::Spawn { attempt, .. } => {
                    assert!(self.spawned.insert(attempt), "{attempt} was started twice");
                    self.processes.insert(attempt, false);
                }
                Output::Signal { attempt, signal } => {
                    assert!(self.processes.contains_key(&attempt), "{attempt} has no process to signal");
                    assert!(signal == Signal::Kill || self.processes[&attempt]);
                }
                Output::TakeBack { adopt, .. } => {
                    self.processes.retain(|attempt, _| adopt.iter().any(|orphan| orphan.attempt == *attempt));
                    self.orphans = adopt.into_iter().map(|orphan| orphan.attempt).collect();
                }
                Output::Report(batch) => self.sent = Some(batch),
                Output::Hello(_) | Output::Beat(_) | Output::Refused { .. } => {}
            }
        }
        if let Some(after) = crash {
            self.restart(after % 2 == 1);
        }
    }

    /// The agent is started again; where `one_ends`, after a process has ended.
    fn restart(&mut self, one_ends: bool) {
        if one_ends {
            self.processes.pop_first();
        }
        self.core = AgentCore::new(facts(), settings());
        for entry in &self.journal {
            self.core.handle(self.now, Input::Replay(entry.clone()), &mut Vec::new());
        }
        self.give(Input::Resume);
        assert!(self.processes.keys().all(|attempt| self.core.is_live(*attempt)), "all that runs is known");
        for attempt in std::mem::take(&mut self.orphans) {
            let found = self.processes.get_mut(&attempt).map(|running| *running = true);
            let at = self.now;
            match found {
                Some(()) => self.give(Input::Started { attempt, at, process: process() }),
                None => self.give(Input::Exited { attempt, exit: unknown_exit(at) }),
            }
        }
    }

    /// Faults stop: whatever runs ends, whatever is reported is committed.
    fn settle(&mut self) {
        self.crash_after = None;
        for _ in 0..1_000 {
            if self.processes.is_empty() && self.core.is_idle() {
                return;
            }
            while let Some(attempt) = self.processes.keys().next().copied() {
                self.end(attempt, false);
            }
            self.pass(60);
            self.commit();
        }
        unreachable!("the agent does not come to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_attempt_starts_twice_and_each_end_is_committed_once(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        for attempt in &world.spawned {
            prop_assert_eq!(world.ends.get(attempt), Some(&1), "ends of {}", attempt);
        }
        prop_assert!(world.ends.values().all(|count| *count == 1), "each end once: {:?}", world.ends);
    }

    #[test]
    fn a_rewritten_journal_holds_all_that_the_old_one_did(steps in proptest::collection::vec(any_step(), 0..60)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        let snapshot = JournalEntry::Snapshot(Box::new(world.core.memory().clone()));
        let text = serde_json::to_string(&snapshot).unwrap();
        let mut next = AgentCore::new(facts(), settings());
        next.handle(world.now, Input::Replay(serde_json::from_str(&text).unwrap()), &mut Vec::new());
        prop_assert_eq!(next.memory(), world.core.memory());
    }
}

#[test]
fn memory_stays_bounded_over_a_million_jobs_and_a_late_launch_still_does_nothing() {
    let mut core = AgentCore::new(facts(), settings());
    let mut out = Vec::new();
    let mut give = |orders: Vec<AgentOrder>| {
        out.clear();
        core.handle(
            Time::ZERO,
            Input::Orders(OrderBatch { epoch: Epoch(1), incarnation: LIFE, allocations: 0, orders }),
            &mut out,
        );
        out.iter().any(|output| matches!(output, Output::Report(_)))
    };
    for job in 0..1_000_000_u64 {
        // Every second job is elsewhere, so that no two here make a run.
        assert!(give(vec![noop(&format!("{}.0#1", job * 2))]));
        give(vec![AgentOrder::Acknowledge { sequence: job + 1 }]);
    }
    assert!(!give(vec![noop("1900000.0#1")]), "a launch repeated late");
    let bytes = serde_json::to_string(core.memory()).unwrap().len();
    assert!(bytes < 3_000_000, "{bytes} bytes are remembered");
}

#[test]
fn memory_stays_bounded_while_reports_do_not_arrive_for_hours_and_nothing_is_lost() {
    let mut core = AgentCore::new(facts(), settings());
    let (mut now, mut out) = (Time::ZERO, Vec::new());
    core.handle(now, Input::Resume, &mut out);
    let orders =
        |orders| Input::Orders(OrderBatch { epoch: Epoch(1), incarnation: LIFE, allocations: 0, orders });
    // Orders arrive and reports do not: the worst that a network can do.
    let mut begun = 0;
    for job in 1..=20_000_u64 {
        now = now + Span::from_millis(720);
        out.clear();
        let id = AttemptId::new(JobId(job * 2), 0, 1);
        core.handle(now, orders(vec![launch(&id.to_string())]), &mut out);
        if core.is_live(id) {
            begun += 1;
            core.handle(now, Input::Started { attempt: id, at: now, process: process() }, &mut out);
            core.handle(now, Input::Exited { attempt: id, exit: unknown_exit(now) }, &mut out);
        }
    }
    assert!((16_000..17_000).contains(&begun), "{begun} were taken on");
    let bytes = serde_json::to_string(core.memory()).unwrap().len();
    assert!(bytes < 16_000_000, "{bytes} bytes are remembered");
    let mut reported = 0;
    for sequence in 1_u64.. {
        if core.is_idle() {
            break;
        }
        now = now + Span::from_secs(31);
        out.clear();
        core.wake(now, &mut out);
        let batches = out.iter().filter_map(|output| match output {
            Output::Report(batch) if batch.sequence == sequence => Some(batch),
            _ => None,
        });
        let ended = |report: &&Report| matches!(report, Report::Ended { .. });
        reported += batches.map(|batch| batch.reports.iter().filter(ended).count()).sum::<usize>();
        core.handle(now, orders(vec![AgentOrder::Acknowledge { sequence }]), &mut out);
    }
    assert_eq!(reported, begun, "each end is reported");
}
