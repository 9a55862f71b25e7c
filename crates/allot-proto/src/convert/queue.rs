//! `QueueSet`, which stands in the ledger and in the feed alike.

use allot_model::{QueueGuarantee, QueueLimit, QueueName};

use super::read::{self, Word, words};
use crate::WireError;
use crate::v1;

/// What a queue is set to.
pub(super) type Settings = (QueueName, u32, QueueLimit, QueueGuarantee);

pub(super) fn queue_set(
    queue: &QueueName,
    weight: u32,
    limit: &QueueLimit,
    guarantee: &QueueGuarantee,
) -> v1::QueueSet {
    let limit = (!limit.is_none()).then(|| limit.into());
    let guarantee = (*guarantee != QueueGuarantee::default()).then(|| guarantee.into());
    v1::QueueSet { queue: queue.to_string(), weight, limit, guarantee }
}

pub(super) fn read_queue_set(message: v1::QueueSet) -> Result<Settings, WireError> {
    let limit = message.limit.map(read_limit).transpose().map_err(|error| error.within("limit"))?;
    let guarantee =
        message.guarantee.map(read_guarantee).transpose().map_err(|error| error.within("guarantee"))?;
    let queue = read::id(&message.queue, "queue")?;
    Ok((queue, message.weight, limit.unwrap_or_default(), guarantee.unwrap_or_default()))
}

impl From<&QueueLimit> for v1::QueueLimit {
    fn from(limit: &QueueLimit) -> Self {
        let units = limit.resources.iter().map(|(name, units)| (name.to_string(), *units));
        Self { tasks: limit.tasks, resources_units: units.collect(), pending_jobs: limit.pending_jobs }
    }
}

fn read_limit(message: v1::QueueLimit) -> Result<QueueLimit, WireError> {
    let read = |(name, units): (String, u64)| Ok((read::id(&name, "resources_units")?, units));
    let resources = message.resources_units.into_iter().map(read).collect::<Result<_, WireError>>()?;
    Ok(QueueLimit { tasks: message.tasks, resources, pending_jobs: message.pending_jobs })
}

words!(HoldBack: Fixed, Always, Never);

impl From<&QueueGuarantee> for v1::QueueGuarantee {
    fn from(guarantee: &QueueGuarantee) -> Self {
        let least = (!guarantee.least.is_none()).then(|| (&guarantee.least).into());
        Self { least, hold_back: guarantee.hold_back.number() }
    }
}

fn read_guarantee(message: v1::QueueGuarantee) -> Result<QueueGuarantee, WireError> {
    let hold_back = read::optional_word(message.hold_back, "hold_back")?.unwrap_or_default();
    let least = message.least.map(read_limit).transpose().map_err(|error| error.within("least"))?;
    Ok(QueueGuarantee { least: least.unwrap_or_default(), hold_back })
}
