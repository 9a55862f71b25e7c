//! Logs of real workloads: reading them, choosing the jobs to use, and measuring how a scheduler did with them.
//!
//! Pure: text and numbers in, numbers out.
//!
//! ```
//! use allot_workload::{Filter, Log};
//!
//! let log = Log::parse(b"; MaxProcs: 100\n1 0 5 60 4 -1 -1 4 120 -1 1 7 1 -1 1 -1 -1 -1\n").unwrap();
//! let jobs = Filter::Strong.jobs(&log, log.machine_procs.unwrap());
//! assert_eq!((jobs[0].procs, jobs[0].run_s, jobs[0].user), (4, 60, 7));
//! ```

pub mod filter;
pub mod metrics;
pub mod openb;
pub mod random;
pub mod swf;

pub use filter::{Filter, LogJob, Selection};
pub use metrics::{Distribution, Metrics, Ran, bounded_slowdown};
pub use random::SplitMix64;
pub use swf::{InvalidLog, Log, Row, uncompressed};
