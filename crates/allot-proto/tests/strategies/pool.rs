//! The open protocol.

use std::sync::Arc;

use allot_model::{
    AllocatorMessage, AllocatorMode, Epoch, Feed, FeedItem, FromAllocator, Grant, GrantId, JobId,
    OfferVersion, PoolAgent, PoolJob, Presence, ProposedPlacement, RefusalCode, SyncPart,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::job::constraints;
use super::ledger::{placement, preemption};
use super::{guarantee, id, limit, number, queue, request, resources, span, tasks, text, texts, time};

fn epoch() -> impl Strategy<Value = Epoch> {
    number().prop_map(Epoch)
}

fn job() -> impl Strategy<Value = JobId> {
    number().prop_map(JobId)
}

fn version() -> impl Strategy<Value = OfferVersion> {
    number().prop_map(OfferVersion)
}

fn pool_job() -> impl Strategy<Value = Arc<PoolJob>> {
    let plan = (option::of(span()), option::of(time()), any::<u32>(), option::of(text()), any::<bool>());
    (job(), queue(), time(), any::<i32>(), any::<u32>(), request(), constraints(), plan).prop_map(
        |(job, queue, submitted_at, priority, tasks, resources, constraints, plan)| {
            let (estimate, deadline, min_tasks, same, preemptible) = plan;
            Arc::new(PoolJob {
                job,
                queue,
                submitted_at,
                priority,
                tasks,
                resources,
                constraints,
                estimate,
                deadline,
                min_tasks,
                same,
                preemptible,
            })
        },
    )
}

fn pool_agent() -> impl Strategy<Value = Arc<PoolAgent>> {
    (id(), text(), resources(), texts(), any::<bool>()).prop_map(
        |(agent, host, total, attributes, draining)| {
            Arc::new(PoolAgent { agent, host, total, attributes, draining })
        },
    )
}

fn wanted() -> BoxedStrategy<FeedItem> {
    prop_oneof![
        (epoch(), id()).prop_map(|(epoch, instance)| FeedItem::Active { epoch, instance }),
        (queue(), any::<u32>(), limit(), guarantee()).prop_map(|(queue, weight, limit, guarantee)| {
            FeedItem::Queue { queue, weight, limit, guarantee }
        }),
        pool_job().prop_map(FeedItem::Job),
        (job(), tasks()).prop_map(|(job, tasks)| FeedItem::Pending { job, tasks }),
        (job(), tasks()).prop_map(|(job, tasks)| FeedItem::Withdrawn { job, tasks }),
        job().prop_map(|job| FeedItem::JobEnded { job }),
    ]
    .boxed()
}

fn free() -> BoxedStrategy<FeedItem> {
    prop_oneof![
        pool_agent().prop_map(FeedItem::Agent),
        id().prop_map(|agent| FeedItem::AgentLeft { agent }),
        (id(), version(), resources(), span()).prop_map(|(agent, version, free, ttl)| FeedItem::Offer {
            agent,
            version,
            free,
            ttl
        }),
        id().prop_map(|agent| FeedItem::Rescinded { agent }),
        (id(), job(), tasks(), queue(), resources(), number(), option::of(span())).prop_map(
            |(agent, job, tasks, queue, slice, slots, ran)| {
                FeedItem::Released { agent, job, tasks, queue, slice, slots, ran }
            }
        ),
    ]
    .boxed()
}

fn answered() -> BoxedStrategy<FeedItem> {
    use RefusalCode::{
        AgentUnavailable, DoesNotFit, GangTooSmall, Malformed, NotActive, NotFree, NotPending,
        NotPreemptible, OverLimit, PreemptionOff, TooManyPreempted,
    };
    let code = select(vec![
        NotActive,
        AgentUnavailable,
        NotFree,
        NotPending,
        DoesNotFit,
        Malformed,
        OverLimit,
        GangTooSmall,
        PreemptionOff,
        TooManyPreempted,
        NotPreemptible,
    ]);
    let grant = || number().prop_map(GrantId);
    prop_oneof![
        (epoch(), grant(), vec(placement(), 0..3), time())
            .prop_map(|(epoch, grant, placements, at)| FeedItem::Allocated { epoch, grant, placements, at }),
        preemption().prop_map(FeedItem::Preempted),
        (epoch(), grant(), code, text()).prop_map(|(epoch, grant, code, message)| FeedItem::Refused {
            epoch,
            grant,
            code,
            message
        }),
    ]
    .boxed()
}

pub fn feed() -> impl Strategy<Value = Feed> {
    let sync = option::of(select(vec![SyncPart::First, SyncPart::Middle, SyncPart::Last, SyncPart::Only]));
    (epoch(), number(), sync, any::<u32>(), vec(prop_oneof![wanted(), free(), answered()], 0..6))
        .prop_map(|(session, sequence, sync, part, items)| Feed { session, sequence, sync, part, items })
}

fn proposed() -> impl Strategy<Value = ProposedPlacement> {
    (id(), version(), job(), tasks(), resources(), number()).prop_map(
        |(agent, version, job, tasks, slice, slots)| ProposedPlacement {
            agent,
            version,
            job,
            tasks,
            slice,
            slots,
        },
    )
}

fn presence() -> impl Strategy<Value = Presence> {
    let mode = select(vec![AllocatorMode::Standby, AllocatorMode::Shadow]);
    (id(), mode, option::of(text())).prop_map(|(policy, mode, described)| Presence {
        policy,
        mode,
        described,
    })
}

fn message() -> BoxedStrategy<AllocatorMessage> {
    use AllocatorMessage as M;
    prop_oneof![
        presence().prop_map(M::Hello),
        presence().prop_map(M::Beat),
        Just(M::Goodbye),
        (epoch(), number().prop_map(GrantId), vec(proposed(), 0..4))
            .prop_map(|(epoch, grant, placements)| M::Grant(Grant { epoch, grant, placements })),
        (epoch(), id(), version(), span(), text()).prop_map(|(epoch, agent, version, filter, reason)| {
            M::Decline { epoch, agent, version, filter, reason }
        }),
        preemption().prop_map(M::Preempt),
        epoch().prop_map(|epoch| M::Revive { epoch }),
    ]
    .boxed()
}

pub fn said() -> impl Strategy<Value = FromAllocator> {
    (id(), vec(message(), 0..6))
        .prop_map(|(instance, messages)| FromAllocator { instance, messages })
        .boxed()
        .boxed()
        .boxed()
        .boxed()
}
