//! Publishing many jobs at a time. The inbox takes up to a thousand as one atomic batch and makes them durable together; one
//! by one each would wait for the disk.

use allot_bus::headers::{NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE};
use allot_model::JobId;
use allot_shell::Bus;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;

use crate::client::not_published;
use crate::failure::Failure;

/// The most messages that nats-server takes as one batch.
pub(crate) const MOST: u32 = 1_000;

/// Sends these messages, at least one and at most [`MOST`]. None is stored unless all are; their ids follow from the
/// acknowledgement, see [`jobs`].
///
/// # Errors
/// Where the connection takes nothing.
pub(crate) async fn publish(
    bus: &Bus,
    messages: impl ExactSizeIterator<Item = (String, PublishMessage)>,
) -> Result<PublishAckFuture, Failure> {
    let count = messages.len();
    let batch = bus.client().new_inbox();
    for (place, (subject, message)) in (1..).zip(messages) {
        let is_last = place == count;
        let message = match (count, is_last) {
            (1, _) => message,
            (_, false) => in_batch(message, &batch, place),
            (_, true) => in_batch(message, &batch, place).header(NATS_BATCH_COMMIT, "1"),
        };
        if is_last {
            return bus.jetstream().send_publish(subject, message).await.map_err(not_published);
        }
        // Only the last one is answered.
        let message = message.outbound_message(subject);
        let headers = message.headers.unwrap_or_default();
        let sent = bus.client().publish_with_headers(message.subject, headers, message.payload).await;
        sent.map_err(Failure::internal)?;
    }
    Err(Failure::internal("nothing to publish"))
}

fn in_batch(message: PublishMessage, batch: &str, place: usize) -> PublishMessage {
    message.header(NATS_BATCH_ID, batch).header(NATS_BATCH_SEQUENCE, place.to_string().as_str())
}

/// The jobs of a batch of so many whose last message has this place in the inbox.
pub(crate) fn jobs(last: u64, count: u32) -> impl Iterator<Item = JobId> {
    let first = (last + 1).saturating_sub(u64::from(count));
    (first..=last).map(JobId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_of_a_batch_follow_each_other_up_to_its_last() {
        assert_eq!(jobs(12, 1).collect::<Vec<_>>(), [JobId(12)]);
        assert_eq!(jobs(12, 3).collect::<Vec<_>>(), [JobId(10), JobId(11), JobId(12)]);
    }
}
