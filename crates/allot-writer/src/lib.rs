//! What a writer of the ledger decides by itself, without I/O: what goes into which append, and what waits for it.
//!
//! The shell drives real services with it, and the cluster simulator the same cores on virtual time.

mod outbox;

pub use outbox::{Outbox, Weigh};
