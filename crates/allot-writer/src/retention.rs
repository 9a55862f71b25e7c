//! What of the streams is still needed once there are snapshots.

use allot_model::ledger::Writer;

/// How many snapshots of each service are kept: the newest, and one to fall back on.
pub const KEPT: usize = 2;

/// What is in a snapshot, so that whoever begins with it need not read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// Whose state it is.
    pub writer: Writer,
    /// The last message of the ledger that is in it.
    pub ledger_sequence: u64,
    /// The last message of the inbox that was decided on.
    pub inbox_sequence: u64,
}

/// The first messages that are still needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// Of the ledger.
    pub ledger_from: u64,
    /// Of the inbox.
    pub inbox_from: u64,
}

/// What is needed where these snapshots are kept, the newest of each writer first, and `last_of_each` are the last messages
/// of the writers' subjects. These stay, as the next one is written as the one that follows it.
///
/// Nothing where a writer has no snapshot to fall back on yet: all is needed then. The message that a snapshot ends with is
/// kept, to tell that the snapshot is of this ledger.
#[must_use]
pub fn needed(saved: &[Covered], last_of_each: &[u64]) -> Option<Needed> {
    let oldest = |writer| saved.iter().filter(move |saved| saved.writer == writer).nth(KEPT - 1);
    let covered = Writer::ALL.map(|writer| oldest(writer).map_or(0, |saved| saved.ledger_sequence));
    let ledger_from = covered.iter().chain(last_of_each).copied().min()?;
    let inbox_from = oldest(Writer::Dispatcher)?.inbox_sequence + 1;
    (ledger_from > 0).then_some(Needed { ledger_from, inbox_from })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(writer: Writer, ledger_sequence: u64, inbox_sequence: u64) -> Covered {
        Covered { writer, ledger_sequence, inbox_sequence }
    }

    #[test]
    fn what_every_writer_could_fall_back_on_stays() {
        let all = [
            saved(Writer::Registry, 90, 0),
            saved(Writer::Registry, 80, 0),
            saved(Writer::Offers, 95, 0),
            saved(Writer::Offers, 40, 0),
            saved(Writer::Dispatcher, 99, 30),
            saved(Writer::Dispatcher, 70, 20),
        ];
        let lasts = [100, 97, 99];
        assert_eq!(needed(&all, &lasts), Some(Needed { ledger_from: 40, inbox_from: 21 }));
        assert_eq!(needed(&all[..5], &lasts), None, "the dispatcher has one only");
        assert_eq!(needed(&[], &lasts), None);
    }

    #[test]
    fn the_last_message_of_each_writer_stays() {
        let all = Writer::ALL.map(|writer| [saved(writer, 90, 5), saved(writer, 80, 5)]);
        assert_eq!(needed(all.as_flattened(), &[7, 91, 92]), Some(Needed { ledger_from: 7, inbox_from: 6 }));
    }
}
