//! The words of allot as types: identifiers, resources, jobs, tasks, and every message between its services.
//!
//! Pure: no runtime, no clock, no I/O. Wire types become these at the edge (`allot-proto`); cores see only these.

pub mod agent;
pub mod constraint;
pub mod core;
mod decimal;
pub mod document;
mod facts;
pub mod guarantee;
pub mod id;
pub mod job;
pub mod job_file;
pub mod ledger;
pub mod limit;
pub mod pattern;
pub mod pool;
pub mod preempt;
pub mod ranges;
pub mod resources;
pub mod state;
pub mod task;
mod text;
pub mod time;
pub mod view;

pub use agent::*;
pub use constraint::{Candidate, Constraint, InvalidConstraint};
pub use core::{Core, ReplyTo};
pub use guarantee::{HoldBack, QueueGuarantee};
pub use id::*;
pub use job::{Command, Executor, JobSpec, OnUnreachable};
pub use job_file::{Format, InvalidFile, JobFile};
pub use ledger::*;
pub use limit::{Holding, LimitChange, Limited, QueueLimit};
pub use pattern::name_matches;
pub use pool::*;
pub use preempt::{
    InvalidPreempt, PerMinute, Preempt, PreemptCause, PreemptRules, Preemption, Preemptor, Victim,
};
pub use ranges::{RunMap, TaskRange, TaskSet};
pub use resources::{Amount, InvalidAmount, InvalidRanges, Ranges, Request, ResourceError, Resources};
pub use state::*;
pub use task::{JobState, Outcome, Reason, TaskState};
pub use time::{Span, Time};
pub use view::*;
