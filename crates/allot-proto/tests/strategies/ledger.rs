//! Records of the ledger.

use std::sync::Arc;

use allot_model::{
    Batch, DispatcherRecord, Entry, Epoch, GrantId, JobId, OffersRecord, Placement, PreemptCause, Preemption,
    Preemptor, Record, RegistryRecord, Victim, Writer, WriterStarted,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::agent::facts;
use super::job::{job_state, outcome, reason, rejection, spec, task_state};
use super::{guarantee, id, limit, number, queue, resources, run, text, time};

fn writer() -> impl Strategy<Value = Writer> {
    select(Writer::ALL.to_vec())
}

fn started() -> impl Strategy<Value = Record> {
    (writer(), number(), id()).prop_map(|(writer, epoch, instance)| {
        Record::Writer(WriterStarted { writer, epoch: Epoch(epoch), instance })
    })
}

fn registry() -> BoxedStrategy<RegistryRecord> {
    use RegistryRecord as R;
    prop_oneof![
        facts().prop_map(|facts| R::AgentJoined { facts }),
        id().prop_map(|agent| R::AgentUnreachable { agent }),
        id().prop_map(|agent| R::AgentReturned { agent }),
        (id(), any::<bool>()).prop_map(|(agent, kill)| R::AgentDraining { agent, kill }),
        id().prop_map(|agent| R::AgentDrained { agent }),
        id().prop_map(|agent| R::AgentUndrained { agent }),
        id().prop_map(|agent| R::AgentGone { agent }),
    ]
    .boxed()
}

pub fn placement() -> BoxedStrategy<Placement> {
    (id(), run(), queue(), resources(), number())
        .prop_map(|(agent, run, queue, slice, slots)| Placement { agent, run, queue, slice, slots })
        .boxed()
}

pub fn preemption() -> BoxedStrategy<Preemption> {
    let cause = select(vec![PreemptCause::Priority, PreemptCause::Guarantee]);
    let victim = (id(), run()).prop_map(|(agent, run)| Victim { agent, run });
    (number(), number(), job(), id(), cause, vec(victim, 0..4))
        .prop_map(|(epoch, grant, job, agent, cause, victims)| Preemption {
            epoch: Epoch(epoch),
            grant: GrantId(grant),
            job,
            agent,
            cause,
            victims,
        })
        .boxed()
}

fn offers() -> BoxedStrategy<OffersRecord> {
    use OffersRecord as R;
    prop_oneof![
        (number(), number(), vec(placement(), 0..4)).prop_map(|(epoch, grant, placements)| R::Allocated {
            epoch: Epoch(epoch),
            grant: GrantId(grant),
            placements,
        }),
        (number(), id(), id()).prop_map(|(epoch, instance, policy)| R::AllocatorActivated {
            epoch: Epoch(epoch),
            instance,
            policy,
        }),
        id().prop_map(|policy| R::PolicyChosen { policy }),
        preemption().prop_map(R::Preempted),
    ]
    .boxed()
}

fn job() -> impl Strategy<Value = JobId> {
    number().prop_map(JobId)
}

fn jobs() -> BoxedStrategy<DispatcherRecord> {
    use DispatcherRecord as R;
    let message_id = option::of(text().prop_map(Arc::from));
    prop_oneof![
        (job(), queue(), message_id, time(), spec().prop_map(Arc::new), any::<bool>()).prop_map(
            |(job, queue, message_id, submitted_at, spec, waits)| R::JobAdmitted {
                job,
                queue,
                message_id,
                submitted_at,
                spec,
                waits,
            },
        ),
        (job(), text().prop_map(Arc::from), time(), rejection()).prop_map(
            |(job, queue, submitted_at, rejection)| {
                R::JobRejected { job, queue, submitted_at, rejection }
            }
        ),
        job().prop_map(|job| R::JobReady { job }),
        job().prop_map(|job| R::JobCancelled { job }),
        (job(), job_state(), option::of(reason())).prop_map(|(job, state, reason)| R::JobEnded {
            job,
            state,
            reason
        }),
        (queue(), any::<u32>(), limit(), guarantee())
            .prop_map(|(queue, weight, limit, guarantee)| R::QueueSet { queue, weight, limit, guarantee }),
    ]
    .boxed()
}

fn preemptor() -> impl Strategy<Value = Preemptor> {
    (job(), queue()).prop_map(|(job, queue)| Preemptor { job, queue })
}

fn tasks() -> BoxedStrategy<DispatcherRecord> {
    use DispatcherRecord as R;
    prop_oneof![
        run().prop_map(|run| R::TasksQueued { run }),
        (id(), run(), time()).prop_map(|(agent, run, started_at)| R::TasksStarted { agent, run, started_at }),
        (id(), run(), reason(), option::of(preemptor()))
            .prop_map(|(agent, run, reason, by)| R::TasksKilling { agent, run, reason, by }),
        (id(), run()).prop_map(|(agent, run)| R::AllocationReturned { agent, run }),
        (id(), run(), task_state(), reason(), option::of(time()), time(), outcome(), option::of(time()))
            .prop_map(|(agent, run, state, reason, started_at, ended_at, outcome, retry_at)| R::TasksEnded {
                agent,
                run,
                state,
                reason,
                started_at,
                ended_at,
                outcome,
                retry_at,
            },),
    ]
    .boxed()
}

pub fn batch() -> impl Strategy<Value = Batch> {
    let record = prop_oneof![
        started(),
        registry().prop_map(Record::Registry),
        offers().prop_map(Record::Offers),
        jobs().prop_map(Record::Dispatcher),
        tasks().prop_map(Record::Dispatcher),
    ];
    let entry = (time(), record).prop_map(|(at, record)| Entry { at, record });
    (writer(), number(), vec(entry, 0..6))
        .prop_map(|(writer, epoch, entries)| Batch { writer, epoch: Epoch(epoch), entries })
        .boxed()
        .boxed()
        .boxed()
        .boxed()
        .boxed()
}
