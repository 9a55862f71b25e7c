//! What tests against the real thing need: a nats-server of their own, and waiting that ends.

mod ledger;
mod nats;
mod programs;
mod proxy;
mod raw;
mod routes;
mod tasks;
mod user;
mod wait;

pub use ledger::{batches, entries};
pub use nats::{NatsServer, copy_folder};
pub use programs::{Launch, Programs, built};
pub use proxy::{Proxy, Side};
pub use raw::RawClient;
pub use routes::{Partition, Routes};
pub use tasks::{kill_tasks, tasks};
pub use user::{User, verify_ledger};
pub use wait::{PATIENCE, eventually, within};
