//! Users of a cluster of real programs, and what their tasks write down.

mod journal;
mod python;

pub use allot_testkit::{User, verify_ledger};
pub use journal::Journal;
pub use python::{old_agent, python, python_allocator, root};
