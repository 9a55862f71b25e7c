//! Batches of the ledger: all that each writer can write.

use std::sync::Arc;

use allot_model::{
    Batch, DispatcherRecord, Entry, Epoch, GrantId, HoldBack, JobId, JobState, OffersRecord, Outcome,
    Placement, PreemptCause, Preemption, Preemptor, QueueGuarantee, QueueLimit, Reason, Record,
    RegistryRecord, Rejection, TaskState, Victim, Writer, WriterStarted,
};

use super::{Sample, at, facts, failed, full_spec, id, limit, run, sample, slice};

pub fn samples() -> Vec<Sample> {
    vec![
        sample("batch.registry", batch(Writer::Registry, registry().into_iter().map(Record::Registry))),
        sample("batch.offers", batch(Writer::Offers, offers().into_iter().map(Record::Offers))),
        sample("batch.jobs", batch(Writer::Dispatcher, jobs().into_iter().map(Record::Dispatcher))),
        sample("batch.limits", batch(Writer::Dispatcher, limits().into_iter().map(Record::Dispatcher))),
        sample("batch.pending_jobs", batch(Writer::Dispatcher, pending_jobs().map(Record::Dispatcher))),
        sample(
            "batch.guarantees",
            batch(Writer::Dispatcher, guarantees().into_iter().map(Record::Dispatcher)),
        ),
        sample(
            "batch.preempted",
            batch(Writer::Offers, [OffersRecord::Preempted(preemption())].into_iter().map(Record::Offers)),
        ),
        sample(
            "batch.preempting",
            batch(Writer::Dispatcher, preempting().into_iter().map(Record::Dispatcher)),
        ),
        sample("batch.tasks", batch(Writer::Dispatcher, tasks().into_iter().map(Record::Dispatcher))),
    ]
}

/// The records after a first one of a new epoch, a second apart.
fn batch(writer: Writer, records: impl Iterator<Item = Record>) -> Batch {
    let started = Record::Writer(WriterStarted { writer, epoch: Epoch(3), instance: id("instance-a") });
    let entries =
        std::iter::once(started).chain(records).zip(0..).map(|(record, i)| Entry { at: at(i), record });
    Batch { writer, epoch: Epoch(3), entries: entries.collect() }
}

fn registry() -> Vec<RegistryRecord> {
    let agent = || id("node-1");
    vec![
        RegistryRecord::AgentJoined { facts: facts() },
        RegistryRecord::AgentUnreachable { agent: agent() },
        RegistryRecord::AgentReturned { agent: agent() },
        RegistryRecord::AgentDraining { agent: agent(), kill: true },
        RegistryRecord::AgentDrained { agent: agent() },
        RegistryRecord::AgentUndrained { agent: agent() },
        RegistryRecord::AgentGone { agent: agent() },
    ]
}

fn offers() -> Vec<OffersRecord> {
    let placement = Placement {
        agent: id("node-1"),
        run: run(0, 9),
        queue: id("research.vision"),
        slice: slice(),
        slots: 10,
    };
    vec![
        OffersRecord::Allocated { epoch: Epoch(5), grant: GrantId(77), placements: vec![placement] },
        OffersRecord::AllocatorActivated { epoch: Epoch(5), instance: id("drf-1"), policy: id("drf") },
        OffersRecord::PolicyChosen { policy: id("drf") },
    ]
}

fn jobs() -> Vec<DispatcherRecord> {
    let (job, queue) = (JobId(12), "research.vision");
    let rejection = Rejection { field: "tasks".to_owned(), message: "the number `0` is given".to_owned() };
    let admitted = |message_id: Option<&str>, waits| DispatcherRecord::JobAdmitted {
        job,
        queue: id(queue),
        message_id: message_id.map(Arc::from),
        submitted_at: at(0),
        spec: Arc::new(full_spec()),
        waits,
    };
    vec![
        admitted(Some("once"), true),
        admitted(None, false),
        DispatcherRecord::JobRejected { job, queue: "é".into(), submitted_at: at(0), rejection },
        DispatcherRecord::JobReady { job },
        DispatcherRecord::JobCancelled { job },
        DispatcherRecord::JobEnded { job, state: JobState::Dropped, reason: Some(Reason::DependencyFailed) },
        DispatcherRecord::JobEnded { job, state: JobState::Finished, reason: None },
        DispatcherRecord::QueueSet {
            queue: id(queue),
            weight: 3,
            limit: QueueLimit::default(),
            guarantee: QueueGuarantee::default(),
        },
    ]
}

fn limited(limit: QueueLimit) -> DispatcherRecord {
    let (queue, guarantee) = (id("research"), QueueGuarantee::default());
    DispatcherRecord::QueueSet { queue, weight: 1, limit, guarantee }
}

fn limits() -> Vec<DispatcherRecord> {
    vec![limited(limit()), limited(QueueLimit { tasks: Some(0), ..QueueLimit::default() })]
}

fn pending_jobs() -> impl Iterator<Item = DispatcherRecord> {
    [Some(100), Some(0)]
        .into_iter()
        .map(|pending_jobs| limited(QueueLimit { pending_jobs, ..QueueLimit::default() }))
}

fn guarantees() -> Vec<DispatcherRecord> {
    let set =
        |limit, guarantee| DispatcherRecord::QueueSet { queue: id("research"), weight: 1, limit, guarantee };
    let held_back = |hold_back| QueueGuarantee { least: limit(), hold_back };
    let nothing = QueueGuarantee { least: QueueLimit::default(), hold_back: HoldBack::Always };
    vec![
        set(limit(), held_back(HoldBack::Fixed)),
        set(QueueLimit::default(), held_back(HoldBack::Never)),
        set(QueueLimit::default(), nothing),
    ]
}

pub fn preemption() -> Preemption {
    let victim = |agent, run| Victim { agent: id(agent), run };
    Preemption {
        epoch: Epoch(5),
        grant: GrantId(79),
        job: JobId(14),
        agent: id("node-1"),
        cause: PreemptCause::Priority,
        victims: vec![victim("node-1", run(0, 9)), victim("node-2", run(11, 11))],
    }
}

fn preempting() -> Vec<DispatcherRecord> {
    let killing = |reason| DispatcherRecord::TasksKilling {
        agent: id("node-1"),
        run: run(3, 4),
        reason,
        by: Some(Preemptor { job: JobId(14), queue: id("research.vision") }),
    };
    vec![killing(Reason::PreemptedForPriority), killing(Reason::PreemptedForGuarantee)]
}

fn tasks() -> Vec<DispatcherRecord> {
    let agent = || id("node-1");
    vec![
        DispatcherRecord::TasksQueued { run: run(0, 9) },
        DispatcherRecord::TasksStarted { agent: agent(), run: run(0, 9), started_at: at(1) },
        DispatcherRecord::TasksKilling {
            agent: agent(),
            run: run(3, 4),
            reason: Reason::CancelledByUser,
            by: None,
        },
        DispatcherRecord::TasksEnded {
            agent: agent(),
            run: run(0, 0),
            state: TaskState::Failed,
            reason: Reason::Signalled,
            started_at: Some(at(1)),
            ended_at: at(2),
            outcome: failed(),
            retry_at: Some(at(4)),
        },
        DispatcherRecord::TasksEnded {
            agent: agent(),
            run: run(1, 9),
            state: TaskState::Finished,
            reason: Reason::ExitedZero,
            started_at: None,
            ended_at: at(2),
            outcome: Outcome { exit_code: Some(0), ..Outcome::default() },
            retry_at: None,
        },
        DispatcherRecord::AllocationReturned { agent: agent(), run: run(5, 5) },
    ]
}
