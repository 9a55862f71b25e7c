//! `pool.proto`: the feed. What allocators say is in [`super::allocator`].

use std::sync::Arc;

use allot_model::{
    AgentId, Epoch, Feed, FeedItem, GrantId, JobId, OfferVersion, PoolAgent, PoolJob, Span, TaskRange, Time,
};

use super::job::{constraint_texts, read_constraints, read_tasks};
use super::queue::{queue_set, read_queue_set};
use super::read::{self, Word, words};
use super::resources::{read_request, request_units};
use crate::WireError;
use crate::v1::{self, feed_item};

words!(SyncPart: First, Middle, Last, Only);
words!(
    RefusalCode: NotActive, AgentUnavailable, NotFree, NotPending, DoesNotFit, Malformed, OverLimit, GangTooSmall,
    PreemptionOff, TooManyPreempted, NotPreemptible
);

impl From<&Feed> for v1::Feed {
    fn from(feed: &Feed) -> Self {
        Self {
            session: feed.session.0,
            sequence: feed.sequence,
            sync: read::number_or_unspecified(feed.sync),
            part: feed.part,
            items: feed.items.iter().map(|item| v1::FeedItem { change: Some(item.into()) }).collect(),
        }
    }
}

impl TryFrom<v1::Feed> for Feed {
    type Error = WireError;

    fn try_from(message: v1::Feed) -> Result<Self, WireError> {
        // An allocator that is older than the offers service skips what it does not know.
        let changes = message.items.into_iter().filter_map(|item| item.change).collect();
        Ok(Self {
            session: Epoch(message.session),
            sequence: message.sequence,
            sync: read::optional_word(message.sync, "sync")?,
            part: message.part,
            items: read::parts(changes, "items")?,
        })
    }
}

impl From<&FeedItem> for feed_item::Change {
    fn from(item: &FeedItem) -> Self {
        let named = |agent: &AgentId| v1::AgentNamed { agent: agent.to_string() };
        match item {
            FeedItem::Active { epoch, instance } => {
                Self::Active(feed_item::Active { epoch: epoch.0, instance: instance.to_string() })
            }
            FeedItem::Queue { queue, weight, limit, guarantee } => {
                Self::Queue(queue_set(queue, *weight, limit, guarantee))
            }
            FeedItem::Job(job) => Self::Job((&**job).into()),
            FeedItem::Pending { job, tasks } => Self::Pending(job_tasks(*job, *tasks)),
            FeedItem::Withdrawn { job, tasks } => Self::Withdrawn(job_tasks(*job, *tasks)),
            FeedItem::JobEnded { job } => Self::JobEnded(v1::JobNamed { job: job.0 }),
            FeedItem::Agent(agent) => Self::Agent((&**agent).into()),
            FeedItem::AgentLeft { agent } => Self::AgentLeft(named(agent)),
            FeedItem::Offer { agent, version, free, ttl } => Self::Offer(feed_item::Offer {
                agent: agent.to_string(),
                version: version.0,
                free: Some(free.into()),
                ttl_us: ttl.as_micros(),
            }),
            FeedItem::Rescinded { agent } => Self::Rescinded(named(agent)),
            FeedItem::Allocated { epoch, grant, placements, at } => Self::Allocated(feed_item::Committed {
                epoch: epoch.0,
                grant: grant.0,
                placements: placements.iter().map(Into::into).collect(),
                at_us: at.as_micros(),
            }),
            FeedItem::Released { agent, job, tasks, queue, slice, slots, ran } => {
                Self::Released(feed_item::Released {
                    agent: agent.to_string(),
                    tasks: Some(job_tasks(*job, *tasks)),
                    queue: queue.to_string(),
                    slice: Some(slice.into()),
                    slots: read::fewer_slots(*slots, *tasks),
                    ran_us: ran.map(Span::as_micros),
                })
            }
            FeedItem::Preempted(preemption) => Self::Preempted(preemption.into()),
            FeedItem::Refused { epoch, grant, code, message } => Self::Refused(feed_item::Refused {
                epoch: epoch.0,
                grant: grant.0,
                code: code.number(),
                message: message.clone(),
            }),
        }
    }
}

impl TryFrom<feed_item::Change> for FeedItem {
    type Error = WireError;

    fn try_from(message: feed_item::Change) -> Result<Self, WireError> {
        use feed_item::Change as Wire;
        let agent = |named: v1::AgentNamed| read::id(&named.agent, "agent");
        Ok(match message {
            Wire::Active(m) => {
                Self::Active { epoch: Epoch(m.epoch), instance: read::id(&m.instance, "active.instance")? }
            }
            Wire::Queue(m) => {
                let read = read_queue_set(m).map_err(|error| error.within("queue"));
                read.map(|(queue, weight, limit, guarantee)| Self::Queue { queue, weight, limit, guarantee })?
            }
            Wire::Job(m) => Self::Job(Arc::new(m.try_into()?)),
            Wire::Pending(m) => read_job_tasks(&m).map(|(job, tasks)| Self::Pending { job, tasks })?,
            Wire::Withdrawn(m) => read_job_tasks(&m).map(|(job, tasks)| Self::Withdrawn { job, tasks })?,
            Wire::JobEnded(m) => Self::JobEnded { job: JobId(m.job) },
            Wire::Agent(m) => Self::Agent(Arc::new(m.try_into()?)),
            Wire::AgentLeft(m) => Self::AgentLeft { agent: agent(m)? },
            Wire::Offer(m) => m.try_into()?,
            Wire::Rescinded(m) => Self::Rescinded { agent: agent(m)? },
            Wire::Allocated(m) => m.try_into()?,
            Wire::Released(m) => m.try_into()?,
            Wire::Preempted(m) => Self::Preempted(read::part(Some(m), "preempted")?),
            Wire::Refused(m) => m.try_into()?,
        })
    }
}

impl TryFrom<feed_item::Offer> for FeedItem {
    type Error = WireError;

    fn try_from(message: feed_item::Offer) -> Result<Self, WireError> {
        Ok(Self::Offer {
            agent: read::id(&message.agent, "agent")?,
            version: OfferVersion(message.version),
            free: read::part(message.free, "free")?,
            ttl: Span::from_micros(message.ttl_us),
        })
    }
}

impl TryFrom<feed_item::Committed> for FeedItem {
    type Error = WireError;

    fn try_from(message: feed_item::Committed) -> Result<Self, WireError> {
        Ok(Self::Allocated {
            epoch: Epoch(message.epoch),
            grant: GrantId(message.grant),
            placements: read::parts(message.placements, "placements")?,
            at: Time::from_micros(message.at_us),
        })
    }
}

impl TryFrom<feed_item::Released> for FeedItem {
    type Error = WireError;

    fn try_from(message: feed_item::Released) -> Result<Self, WireError> {
        let (job, tasks) = read_job_tasks(&read::required(message.tasks, "tasks")?)?;
        Ok(Self::Released {
            agent: read::id(&message.agent, "agent")?,
            job,
            tasks,
            queue: read::id(&message.queue, "queue")?,
            slice: read::part(message.slice, "slice")?,
            slots: read::slots(message.slots, tasks),
            ran: message.ran_us.map(Span::from_micros),
        })
    }
}

impl TryFrom<feed_item::Refused> for FeedItem {
    type Error = WireError;

    fn try_from(message: feed_item::Refused) -> Result<Self, WireError> {
        Ok(Self::Refused {
            epoch: Epoch(message.epoch),
            grant: GrantId(message.grant),
            code: read::word(message.code, "code")?,
            message: message.message,
        })
    }
}

pub(super) fn job_tasks(job: JobId, tasks: TaskRange) -> v1::JobTasks {
    v1::JobTasks { job: job.0, first_task: tasks.first, last_task: tasks.last }
}

pub(super) fn read_job_tasks(message: &v1::JobTasks) -> Result<(JobId, TaskRange), WireError> {
    Ok((JobId(message.job), read_tasks(message.first_task, message.last_task)?))
}

impl From<&PoolJob> for v1::PoolJob {
    fn from(job: &PoolJob) -> Self {
        Self {
            job: job.job.0,
            queue: job.queue.to_string(),
            submitted_at_us: job.submitted_at.as_micros(),
            priority: job.priority,
            tasks: job.tasks,
            resources_units: request_units(&job.resources),
            constraints: constraint_texts(&job.constraints),
            estimate_us: job.estimate.map(Span::as_micros),
            deadline_at_us: job.deadline.map(Time::as_micros),
            min_tasks: (job.min_tasks != 1).then_some(job.min_tasks),
            same: job.same.clone(),
            preemptible: job.preemptible,
        }
    }
}

impl TryFrom<v1::PoolJob> for PoolJob {
    type Error = WireError;

    fn try_from(message: v1::PoolJob) -> Result<Self, WireError> {
        Ok(Self {
            job: JobId(message.job),
            queue: read::id(&message.queue, "queue")?,
            submitted_at: Time::from_micros(message.submitted_at_us),
            priority: message.priority,
            tasks: message.tasks,
            resources: read_request(&message.resources_units)?,
            constraints: read_constraints(&message.constraints)?,
            estimate: message.estimate_us.map(Span::from_micros),
            deadline: message.deadline_at_us.map(Time::from_micros),
            min_tasks: message.min_tasks.unwrap_or(1),
            same: message.same,
            preemptible: message.preemptible,
        })
    }
}

impl From<&PoolAgent> for v1::PoolAgent {
    fn from(agent: &PoolAgent) -> Self {
        Self {
            agent: agent.agent.to_string(),
            host: agent.host.clone(),
            total: Some((&agent.total).into()),
            attributes: agent.attributes.clone(),
            draining: agent.draining,
        }
    }
}

impl TryFrom<v1::PoolAgent> for PoolAgent {
    type Error = WireError;

    fn try_from(message: v1::PoolAgent) -> Result<Self, WireError> {
        Ok(Self {
            agent: read::id(&message.agent, "agent")?,
            host: message.host,
            total: read::part(message.total, "total")?,
            attributes: message.attributes,
            draining: message.draining,
        })
    }
}
