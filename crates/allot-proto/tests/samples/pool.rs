//! The open protocol: all that the two sides can say.

use std::sync::Arc;

use allot_model::{
    AllocatorMessage, AllocatorMode, Constraint, Epoch, Feed, FeedItem, FromAllocator, Grant, GrantId,
    HoldBack, JobId, OfferVersion, Placement, PoolAgent, PoolJob, Presence, ProposedPlacement,
    QueueGuarantee, QueueLimit, RefusalCode, Span, SyncPart, TaskRange,
};

use super::ledger::preemption;
use super::{Sample, at, id, limit, request, run, sample, slice, total};

pub fn samples() -> Vec<Sample> {
    let feed = |sync, items| Feed { session: Epoch(3), sequence: 1_000, sync, part: 0, items };
    vec![
        sample("feed.wanted", feed(Some(SyncPart::Only), wanted())),
        sample("feed.free", feed(None, free())),
        sample("feed.turns", feed(None, turns())),
        sample("feed.limits", feed(None, limits())),
        sample("feed.guarantees", feed(None, guarantees())),
        sample("feed.gangs", feed(None, gangs())),
        sample("feed.preemption", feed(None, preemption_told())),
        sample("feed.draining", feed(None, vec![FeedItem::Agent(Arc::new(described(true)))])),
        sample("from_allocator", FromAllocator { instance: id("drf-1"), messages: messages() }),
        sample(
            "from_allocator.turns",
            FromAllocator { instance: id("drf-1"), messages: vec![grant_in_turns()] },
        ),
        sample(
            "from_allocator.shadow",
            FromAllocator { instance: id("drf-2"), messages: vec![AllocatorMessage::Beat(shadow())] },
        ),
        sample(
            "from_allocator.preempt",
            FromAllocator { instance: id("drf-1"), messages: vec![AllocatorMessage::Preempt(preemption())] },
        ),
    ]
}

fn preemption_told() -> Vec<FeedItem> {
    let job = PoolJob { preemptible: true, ..pool_job() };
    let refused =
        |code| FeedItem::Refused { epoch: Epoch(5), grant: GrantId(80), code, message: "no".to_owned() };
    vec![
        FeedItem::Job(Arc::new(job)),
        FeedItem::Preempted(preemption()),
        refused(RefusalCode::PreemptionOff),
        refused(RefusalCode::TooManyPreempted),
        refused(RefusalCode::NotPreemptible),
    ]
}

fn shadow() -> Presence {
    let described = Some("drf:placement=worst-fit".to_owned());
    Presence { mode: AllocatorMode::Shadow, described, ..Presence::of(id("drf")) }
}

fn turns() -> Vec<FeedItem> {
    let (agent, queue, tasks) = (id("node-1"), id("research.vision"), TaskRange { first: 8, last: 9 });
    let placement = Placement {
        agent: id("node-1"),
        run: run(0, 9),
        queue: id("research.vision"),
        slice: slice(),
        slots: 2,
    };
    let (epoch, grant, placements) = (Epoch(5), GrantId(78), vec![placement]);
    let (slots, ran) = (1, Some(Span::from_millis(3)));
    vec![
        FeedItem::Allocated { epoch, grant, placements, at: at(1) },
        FeedItem::Released { agent, job: JobId(12), tasks, queue, slice: slice(), slots, ran },
    ]
}

fn grant_in_turns() -> AllocatorMessage {
    let (agent, version, tasks) = (id("node-1"), OfferVersion(8), TaskRange { first: 0, last: 9 });
    let part = ProposedPlacement { agent, version, job: JobId(12), tasks, slice: slice(), slots: 2 };
    AllocatorMessage::Grant(Grant { epoch: Epoch(5), grant: GrantId(78), placements: vec![part] })
}

fn wanted() -> Vec<FeedItem> {
    let (job, tasks) = (JobId(12), TaskRange { first: 0, last: 99 });
    vec![
        FeedItem::Active { epoch: Epoch(5), instance: id("drf-1") },
        FeedItem::Queue {
            queue: id("research"),
            weight: 3,
            limit: QueueLimit::default(),
            guarantee: QueueGuarantee::default(),
        },
        FeedItem::Job(Arc::new(pool_job())),
        FeedItem::Pending { job, tasks },
        FeedItem::Withdrawn { job, tasks },
        FeedItem::JobEnded { job },
    ]
}

fn pool_job() -> PoolJob {
    PoolJob {
        job: JobId(12),
        queue: id("research.vision"),
        submitted_at: at(0),
        priority: -5,
        tasks: 100,
        resources: request(),
        constraints: vec![Constraint::parse("zone == b").unwrap()],
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        preemptible: false,
    }
}

fn described(draining: bool) -> PoolAgent {
    let attributes = [("zone".to_owned(), "b".to_owned())].into();
    PoolAgent { agent: id("node-1"), host: "node-1.example".to_owned(), total: total(), attributes, draining }
}

fn limits() -> Vec<FeedItem> {
    let (epoch, grant) = (Epoch(5), GrantId(77));
    vec![
        FeedItem::Queue {
            queue: id("research"),
            weight: 1,
            limit: limit(),
            guarantee: QueueGuarantee::default(),
        },
        FeedItem::Refused { epoch, grant, code: RefusalCode::OverLimit, message: "no more".to_owned() },
    ]
}

fn guarantees() -> Vec<FeedItem> {
    let guarantee = QueueGuarantee { least: limit(), hold_back: HoldBack::Always };
    vec![FeedItem::Queue { queue: id("research"), weight: 1, limit: limit(), guarantee }]
}

fn gangs() -> Vec<FeedItem> {
    let (epoch, grant) = (Epoch(5), GrantId(78));
    vec![FeedItem::Refused {
        epoch,
        grant,
        code: RefusalCode::GangTooSmall,
        message: "4 together, not 3".to_owned(),
    }]
}

fn free() -> Vec<FeedItem> {
    let agent = || id("node-1");
    let (epoch, grant, queue) = (Epoch(5), GrantId(77), "research.vision");
    let placements =
        vec![Placement { agent: agent(), run: run(0, 9), queue: id(queue), slice: slice(), slots: 10 }];
    vec![
        FeedItem::Agent(Arc::new(described(false))),
        FeedItem::AgentLeft { agent: agent() },
        FeedItem::Offer { agent: agent(), version: OfferVersion(8), free: total(), ttl: Span::from_secs(5) },
        FeedItem::Rescinded { agent: agent() },
        FeedItem::Allocated { epoch, grant, placements, at: at(1) },
        FeedItem::Released {
            agent: agent(),
            job: JobId(12),
            tasks: TaskRange { first: 0, last: 9 },
            queue: id(queue),
            slice: slice(),
            slots: 10,
            ran: None,
        },
        FeedItem::Refused { epoch, grant, code: RefusalCode::NotFree, message: "taken".to_owned() },
    ]
}

fn messages() -> Vec<AllocatorMessage> {
    let (epoch, version) = (Epoch(5), OfferVersion(8));
    let placement = ProposedPlacement {
        agent: id("node-1"),
        version,
        job: JobId(12),
        tasks: TaskRange { first: 0, last: 9 },
        slice: slice(),
        slots: 10,
    };
    vec![
        AllocatorMessage::Hello(Presence::of(id("drf"))),
        AllocatorMessage::Beat(Presence::of(id("drf"))),
        AllocatorMessage::Goodbye,
        AllocatorMessage::Grant(Grant { epoch, grant: GrantId(77), placements: vec![placement] }),
        AllocatorMessage::Decline {
            epoch,
            agent: id("node-1"),
            version,
            filter: Span::from_secs(5),
            reason: "nothing fits".to_owned(),
        },
        AllocatorMessage::Revive { epoch },
    ]
}
