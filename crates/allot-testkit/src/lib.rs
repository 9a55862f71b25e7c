//! What tests against the real thing need: a nats-server of their own, and waiting that ends.

mod ledger;
mod nats;
mod programs;
mod proxy;
mod raw;
mod wait;

pub use ledger::{batches, entries};
pub use nats::NatsServer;
pub use programs::{Launch, Programs, built};
pub use proxy::Proxy;
pub use raw::RawClient;
pub use wait::{PATIENCE, eventually, within};
