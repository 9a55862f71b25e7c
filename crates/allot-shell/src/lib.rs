//! The only crate that knows both the clock and NATS: it drives the pure cores.
//!
//! A service's `main` is [`main_with`]; a service that writes to the ledger implements [`LedgerService`] and is run
//! by [`drive`]: replay, take over, then one loop that commits records in groups and lets an effect leave only once
//! every record before it is durable.

/// Messages are many small allocations that one task makes and another frees: with the system's allocator they took a third
/// of a service's time. Every program links this crate, and so has this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod bus;
pub mod clock;
pub mod config;
pub mod denial;
pub mod drive;
pub mod health;
pub mod identity;
mod lease;
pub mod ledger;
pub mod message;
mod nats_config;
mod program;
pub mod retry;
pub mod service;
pub mod services;
pub mod shutdown;
mod snapshot;
mod standing;
pub mod streams;
pub mod telemetry;
pub mod usage;

pub use bus::{Bus, ConnectFailed};
pub use config::ConfigError;
pub use denial::Denial;
pub use drive::drive;
pub use identity::{host_name, instance_id};
pub use lease::StandbyConfig;
pub use message::{Effect, Incoming, Malformed, StreamInfo, speaks_for};
pub use nats_config::{NatsConfig, Secret};
pub use program::{Program, main_with};
pub use service::{Input, LedgerService, Output};
pub use shutdown::Shutdown;
pub use snapshot::{SnapshotConfig, WriterConfig};
pub use standing::{Role, Standing};
