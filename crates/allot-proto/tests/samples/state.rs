//! Snapshots: all that each service can save.

use std::sync::Arc;

use allot_model::{
    AttemptId, DependenciesState, DispatcherAgentState, DispatcherJobState, DrainState, EarlierTry,
    EndedState, Epoch, HeldRun, HoldBack, Incarnation, JobId, JobState, OffersAgentState, OffersJobState,
    Outcome, PhaseState, PlacedState, PoolJob, QueueGuarantee, Reason, RegistryAgentState, RejectedState,
    Rejection, SnapshotHead, StateItem, TaskRange, TaskRunState, TaskState, TurnsLeft, Writer,
};

use super::{Sample, at, facts, full_spec, id, limit, request, run, sample, slice};

pub fn samples() -> Vec<Sample> {
    let items = registry().into_iter().chain(offers()).chain(dispatcher());
    let named = |(name, item): (&'static str, StateItem)| sample(name, item);
    std::iter::once(sample("snapshot_head", head())).chain(items.map(named)).collect()
}

fn head() -> SnapshotHead {
    SnapshotHead {
        writer: Writer::Dispatcher,
        epoch: Epoch(3),
        ledger_sequence: 1_000,
        ledger_at: at(1),
        own_sequence: 1_002,
        inbox_sequence: 77,
        taken_at: at(2),
        items: 5,
    }
}

fn registry() -> Vec<(&'static str, StateItem)> {
    let agent = RegistryAgentState {
        facts: facts(),
        joined_at: at(1),
        changed_at: at(2),
        away: true,
        gone: true,
        drain: Some(DrainState::Over),
        kill: true,
        attempts: 7,
        past: Vec::new(),
    };
    vec![("state.registry_agent", StateItem::RegistryAgent(agent))]
}

fn offers() -> Vec<(&'static str, StateItem)> {
    let first = AttemptId::new(JobId(12), 3, 2);
    let held = |turns| HeldRun {
        run: run(3, 9),
        queue: id("research.vision"),
        slice: slice().into(),
        turns,
        at: at(3),
    };
    let agent = OffersAgentState {
        facts: facts(),
        away: true,
        drain: Some(DrainState::Under),
        held: vec![held(Some(first)), held(None)],
        turns: vec![TurnsLeft { first, left: 7, slots: 2 }],
    };
    let job = PoolJob {
        job: JobId(12),
        queue: id("research.vision"),
        submitted_at: at(1),
        priority: -5,
        tasks: 100,
        resources: request(),
        constraints: Vec::new(),
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        preemptible: false,
    };
    let tasks = TaskRange { first: 10, last: 99 };
    let guarantee = QueueGuarantee { least: limit(), hold_back: HoldBack::Always };
    vec![
        ("state.offers_agent", StateItem::OffersAgent(agent)),
        (
            "state.offers_job",
            StateItem::OffersJob(OffersJobState { job: job.into(), pending: vec![(tasks, 2)] }),
        ),
        ("state.active", StateItem::Active { epoch: Epoch(5), instance: id("drf-1"), policy: id("drf") }),
        ("state.chosen", StateItem::Chosen { policy: id("fair") }),
        ("state.queue", StateItem::Queue { queue: id("research"), weight: 3, limit: limit(), guarantee }),
    ]
}

fn ended() -> EndedState {
    EndedState {
        state: TaskState::Failed,
        reason: Reason::ExitedNonzero,
        agent: Some(id("node-1")),
        slice: Some(slice().into()),
        allocated_at: Some(at(3)),
        started_at: Some(at(4)),
        ended_at: at(5),
        outcome: Some(Outcome { exit_code: Some(1), wall_us: 1_000_000, ..Outcome::default() }),
        by: None,
    }
}

fn tasks() -> Vec<TaskRunState> {
    let placed = PlacedState {
        agent: id("node-1"),
        incarnation: Incarnation(9),
        slice: slice().into(),
        slots: 2,
        apart_from: None,
        allocated_at: at(3),
        started_at: Some(at(4)),
        killing: Some(Reason::CancelledByUser),
        by: None,
    };
    let never = EndedState {
        agent: None,
        slice: None,
        allocated_at: None,
        started_at: None,
        outcome: None,
        ..ended()
    };
    let phases = [
        PhaseState::Waiting,
        PhaseState::Queued,
        PhaseState::Backoff(at(9)),
        PhaseState::Placed(placed.clone()),
        PhaseState::Placed(PlacedState { started_at: None, killing: None, ..placed }),
        PhaseState::Ended(ended()),
        PhaseState::Ended(never),
    ];
    let run = |(phase, first)| {
        let tasks = TaskRange { first, last: first + 4 };
        TaskRunState { tasks, attempt: 2, spent: 1, queued_at: at(2), phase }
    };
    phases.into_iter().zip((0..).step_by(5)).map(run).collect()
}

fn dispatcher() -> Vec<(&'static str, StateItem)> {
    let agent = DispatcherAgentState {
        agent: id("node-1"),
        incarnation: Incarnation(9),
        away: true,
        gone: true,
        kills: true,
        missed_at: Some(at(6)),
        unseen: Vec::new(),
    };
    let reborn = DispatcherAgentState { unseen: vec![Incarnation(4), Incarnation(5)], ..agent.clone() };
    let earlier = EarlierTry { attempt: 1, queued_at: at(1), ended: ended() };
    let job = DispatcherJobState {
        job: JobId(12),
        queue: id("research.vision"),
        spec: Some(Arc::new(full_spec())),
        message_id: Some("nightly".into()),
        submitted_at: at(1),
        dependencies: Some(DependenciesState { open: vec![JobId(3), JobId(4)], failed: true }),
        cancelled: Some(at(7)),
        ended: Some((JobState::Killed, Some(Reason::CancelledByUser), at(8))),
        started_at: Some(at(4)),
        tasks: tasks(),
        earlier: vec![(TaskRange { first: 0, last: 4 }, vec![earlier])],
    };
    let alike = DispatcherJobState {
        job: JobId(13),
        spec: None,
        message_id: None,
        dependencies: None,
        cancelled: None,
        ended: None,
        started_at: None,
        tasks: Vec::new(),
        earlier: Vec::new(),
        ..job.clone()
    };
    let rejected = RejectedState {
        job: JobId(14),
        queue: "a b".into(),
        submitted_at: at(1),
        rejected_at: at(2),
        rejection: Rejection { field: "queue".into(), message: "no".into() },
    };
    vec![
        ("state.dispatcher_agent", StateItem::DispatcherAgent(agent)),
        ("state.dispatcher_agent_reborn", StateItem::DispatcherAgent(reborn)),
        ("state.dispatcher_job", StateItem::DispatcherJob(Box::new(job))),
        ("state.dispatcher_job.alike", StateItem::DispatcherJob(Box::new(alike))),
        ("state.rejected", StateItem::Rejected(rejected)),
        ("state.ended", StateItem::Ended { job: JobId(12), tasks: 100 }),
        ("state.inbox", StateItem::Inbox { last: JobId(14), allocations: 0 }),
        ("state.preempted", StateItem::Preempted(super::ledger::preemption())),
        ("state.unwanted", StateItem::Unwanted { agent: id("node-1"), run: run(3, 9) }),
    ]
}
