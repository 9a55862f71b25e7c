//! What tests against the real thing need: a nats-server of their own, and waiting that ends.

mod nats;
mod wait;

pub use nats::NatsServer;
pub use wait::{PATIENCE, eventually, within};
