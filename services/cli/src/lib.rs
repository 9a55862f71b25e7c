//! The `allot` command: a client of the cluster's subjects, and `allot up`, a whole cluster in one process.
//!
//! Each command has a file of its name; [`client::Client`] is all that they know of the cluster, [`output::Output`]
//! all that they know of the terminal.

mod absent;
pub mod agents;
mod batch;
pub mod bench;
pub mod cancel;
pub mod cli;
pub mod client;
mod compare;
pub mod completions;
pub mod doctor;
pub mod events;
pub mod failure;
pub mod filter;
pub mod follow;
pub mod job;
pub mod jobs;
pub mod ledger;
pub mod logs;
pub mod output;
pub mod plan;
pub mod policy;
pub mod queues;
pub mod reference;
pub mod replay;
pub mod run;
pub mod scenario;
pub mod services;
pub mod simulate;
pub mod states;
pub mod submit;
pub mod up;
pub mod wait;
pub mod watch;
pub mod when;
pub mod why;

pub use cli::Cli;
pub use client::Client;
pub use failure::Failure;
