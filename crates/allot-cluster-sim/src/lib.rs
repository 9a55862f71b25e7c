//! The whole control plane on virtual time, under faults.
//!
//! All cores run as they do in the real services, driven in the same order ([`allot_writer`] is what the shell drives
//! them with, too), over a modelled bus that delays, loses, repeats and reorders, on machines whose processes are killed
//! at any moment and whose disks are slow or full. One seed decides everything that happens: equal seed, equal run.
//!
//! A run has two phases. While faults go on, checkers look after every step at what the ledger says, at what leaves the
//! services and at what really runs on the machines. Then faults stop, and everything that was wanted has to come to its
//! end within bounded time, with nothing left over.

mod adversary;
mod agent;
mod allocator;
mod build;
mod candidacy;
mod checks;
mod clock;
mod cluster;
mod dice;
mod digest;
mod event;
mod faults;
mod machine;
mod machines;
mod marks;
mod message;
mod options;
mod process;
mod run;
mod services;
mod snapshots;
mod streams;
mod transit;
mod user;
mod writer;

pub use checks::{Broken, Promise};
pub use marks::{Mark, Marks};
pub use options::{Options, Style};
pub use run::{Outcome, run, run_told};
