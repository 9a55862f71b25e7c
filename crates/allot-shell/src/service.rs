//! What a service that writes to the ledger tells the driver about its core.

use allot_model::ledger::{Entry, Writer};
use allot_model::{Core, Epoch, StateItem, Time};

use crate::message::{Effect, Incoming, Malformed};

/// The inputs of a service's core.
pub type Input<S> = <<S as LedgerService>::Core as Core>::Input;
/// The outputs of a service's core.
pub type Output<S> = <<S as LedgerService>::Core as Core>::Output;

/// The edge between one core and the bus: turns messages into inputs, and outputs into effects.
pub trait LedgerService: Clone + Send {
    /// The state machine.
    type Core: Core<Input: Send, Output: Send> + Send;

    /// Whose subject of the ledger it writes.
    const WRITER: Writer;

    /// A core that knows nothing yet.
    fn core(&self) -> Self::Core;

    /// A piece of a snapshot; they come before anything else.
    fn restore(item: StateItem) -> Input<Self>;

    /// The core's state, in pieces.
    fn snapshot(core: &Self::Core) -> impl Iterator<Item = StateItem>;

    /// A record of any writer from before this instance took over.
    fn replay(entry: Entry) -> Input<Self>;

    /// A record of another writer, live.
    fn ledger(entry: Entry) -> Input<Self>;

    /// The replay is over, this instance is the writer now.
    fn resume(epoch: Epoch) -> Input<Self>;

    /// The subjects it listens to, beside the ledger and the inbox.
    fn subscriptions(&self) -> Vec<String>;

    /// The first message of the inbox that it has not seen, once the replay is over; nothing where it does not read
    /// the inbox.
    fn inbox_from(_core: &Self::Core) -> Option<u64> {
        None
    }

    /// Reads a message of a subscription or of the inbox.
    ///
    /// # Errors
    /// [`Malformed`] where it cannot be read; the sender is told, where it wants an answer.
    fn decode(&mut self, now: Time, message: Incoming) -> Result<Input<Self>, Malformed>;

    /// What an output means on the bus.
    fn effect(&mut self, output: Output<Self>) -> Effect;
}
