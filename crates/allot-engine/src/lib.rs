//! The allocator engine: it follows the feed of the offers service and answers offers with grants, as its policy
//! says. `README.md` beside this crate names the properties it keeps, by letter.
//!
//! Pure: an [`Engine`] is an [`allot_model::Core`]. Its parts, from the inside out:
//!
//! - [`Share`], [`Policy`]: what is preferred to what, in exact integers. `order`: how jobs rank, a file an order.
//!   `rank`: how queues rank, a file a rank that keeps something of its own.
//! - `ranked`: one ordered tree with summaries, used for queues by share and for agents by fit.
//! - `shape`, `fleet`, `backlog`: what is asked for, what is free, and who waits. `rekey`: scores that move with time.
//! - `placement`, `choice`: which agent gets a task. `cost`, `contest`, `mix`, `tenants`: the placements whose answer depends
//!   on the task.
//! - `queues`, `branch`, `bound`, `kept`: what each queue has, may have and is to have.
//!   `standing`: what some ranks keep of queues beside what these hold.
//! - `search`, `assured`: which is next, and what goes first because it is guaranteed.
//! - `timeline`, `outlook`, `profile`: what will be free from when on. `easy`, `candidates`: who goes ahead of the first in line.
//!   `firsts`: whom a limit holds back.
//!   `conservative`, `arrivals`, `plans`, `vacancy`: a time for each job. `gang`: tasks that are placed together.
//! - `pass`: the decisions. `preempt`: what is stopped where nothing fits. `engine`, `session`, `flight`: the protocol around them.
//! - `explain`, `survey`: why a job waits, worked out when someone asks.

mod arrivals;
mod assured;
mod backlog;
mod bits;
mod blend;
mod bound;
mod branch;
mod candidates;
mod check;
mod choice;
mod conservative;
mod contest;
mod cost;
mod dims;
mod draw;
mod easy;
mod engine;
mod explain;
mod firsts;
mod fleet;
mod flight;
mod gang;
mod kept;
mod lane;
mod mix;
mod name;
mod order;
mod outlook;
mod pass;
mod placement;
mod plans;
mod policy;
mod pool;
mod preempt;
mod profile;
mod queues;
mod rank;
mod ranked;
mod rekey;
mod room;
mod search;
mod session;
mod shape;
mod share;
mod sieve;
mod slab;
mod standing;
mod survey;
mod tasks;
mod tenants;
mod timeline;
mod turns;
mod vacancy;

pub use engine::{Engine, Heard, Input, Limits, Output};
pub use order::Order;
pub use policy::{Backfill, InvalidPolicy, Placement, Policy, PolicyChoices};
pub use rank::{Alpha, InvalidAlpha, Rank};
pub use share::Share;
