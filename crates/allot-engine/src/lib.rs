//! The allocator engine: it follows the feed of the offers service and answers offers with grants, as its policy
//! says. `README.md` beside this crate names the properties it keeps, by letter.
//!
//! Pure: an [`Engine`] is an [`allot_model::Core`]. Its parts, from the inside out:
//!
//! - [`Share`], [`Policy`]: what is preferred to what, in exact integers.
//! - `ranked`: one ordered tree with summaries, used for queues by share and for agents by fit.
//! - `shape`, `fleet`, `backlog`: what is asked for, what is free, and who waits.
//! - `queues`, `branch`, `search`: what each queue has and may have, and which is next.
//! - `pass`: the decisions. `engine`, `session`, `flight`: the protocol around them.
//! - `explain`, `survey`: why a job waits, worked out when someone asks.

mod backlog;
mod branch;
mod check;
mod dims;
mod engine;
mod explain;
mod fleet;
mod flight;
mod lane;
mod name;
mod pass;
mod policy;
mod pool;
mod queues;
mod ranked;
mod room;
mod search;
mod session;
mod shape;
mod share;
mod sieve;
mod slab;
mod survey;
mod tasks;
mod turns;

pub use engine::{Engine, Input, Limits, Output};
pub use policy::{Backfill, InvalidPolicy, InvalidPolicyText, Order, Placement, Policy, PolicyChoices, Rank};
pub use share::Share;
