//! `QueueSet`, which stands in the ledger and in the feed alike.

use allot_model::{QueueLimit, QueueName};

use super::read;
use crate::WireError;
use crate::v1;

/// What a queue is set to.
pub(super) type Settings = (QueueName, u32, QueueLimit);

pub(super) fn queue_set(queue: &QueueName, weight: u32, limit: &QueueLimit) -> v1::QueueSet {
    let limit = (!limit.is_none()).then(|| v1::QueueLimit {
        tasks: limit.tasks,
        resources_units: limit.resources.iter().map(|(name, units)| (name.to_string(), *units)).collect(),
    });
    v1::QueueSet { queue: queue.to_string(), weight, limit }
}

pub(super) fn read_queue_set(message: v1::QueueSet) -> Result<Settings, WireError> {
    let limit = message.limit.map(read_limit).transpose().map_err(|error| error.within("limit"))?;
    Ok((read::id(&message.queue, "queue")?, message.weight, limit.unwrap_or_default()))
}

fn read_limit(message: v1::QueueLimit) -> Result<QueueLimit, WireError> {
    let read = |(name, units): (String, u64)| Ok((read::id(&name, "resources_units")?, units));
    let resources = message.resources_units.into_iter().map(read).collect::<Result<_, WireError>>()?;
    Ok(QueueLimit { tasks: message.tasks, resources })
}
