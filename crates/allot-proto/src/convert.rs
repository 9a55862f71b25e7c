//! Conversions between the model and the wire, one module for each schema.

mod agent;
mod allocator;
mod job;
mod ledger;
mod pool;
mod preempt;
mod queue;
mod read;
mod resources;
mod state;
