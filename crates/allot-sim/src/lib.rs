//! The simulator: the allocator engine of the live services, driven on virtual time through the messages that it is
//! driven with on the bus. Pure: a [`Workload`] and a policy in, an [`Outcome`] out; equal input, equal output.
//!
//! - `input`: where workloads come from: scenarios that people write, logs of batch machines, lists of a GPU cluster.
//! - `pool`: the engine of one pool and, before it, a modelled offers service that checks every grant against the truth.
//! - `present`, `plan`: a pool as it stands, and when a job would start there.
//! - `shadow`: how a policy that only follows a pool compares with the one that decides.
//! - `output`: what happened, how good it was, and both as a document.
//!
//! ```
//! use allot_sim::{Scenario, simulate};
//! use allot_model::Format;
//!
//! let text = b"
//! events:
//!   - {at: 0, agent: m1, resources: {cpus: 1}}
//!   - {at: 0, submit: first, queue: a, resources: {cpus: 1}, run: 5s}
//!   - {at: 1, submit: second, queue: a, resources: {cpus: 1}, run: 5s}
//! ";
//! let scenario = Scenario::parse(text, Format::Yaml).unwrap();
//! let outcome = simulate(&scenario.workload, &scenario.policy().unwrap()).unwrap();
//! assert_eq!(outcome.jobs[1].start.unwrap().as_micros(), 5_000_000);
//! ```

mod input;
mod length;
mod output;
mod plan;
mod pool;
mod present;
mod seed;
mod shadow;
mod unfit;
mod workload;

pub use input::fleet::{AgentGroup, InvalidGroup};
pub use input::log::{Estimates, LogSettings, QueueBy, UnusableLog};
pub use input::openb::{InvalidList, OpenbSettings, openb};
pub use input::scenario::Scenario;
pub use length::{LONGEST, length};
pub use output::document::{Document, RULES};
pub use output::metrics::{Gpus, Measures, QueueState, queue_states};
pub use output::outcome::{EarlyEnd, Fate, Outcome, Requeued, Stay};
pub use plan::{Course, MOST_PLACEMENTS, Plan, PlannedStart, plan};
pub use pool::simulator::{SimulationError, simulate};
pub use pool::truth::WrongGrant;
pub use present::{Begun, Present, Unknown};
pub use seed::Seed;
pub use shadow::Shadow;
pub use unfit::UnfitPolicy;
pub use workload::{Agent, Asks, Begin, Change, Happening, Job, JobName, Queue, Running, Workload};
