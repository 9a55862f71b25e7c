//! What a writer of the ledger decides by itself, without I/O: what goes into which append, and what waits for it; when it
//! takes a snapshot, and what is needless then.
//!
//! The shell drives real services with it, and the cluster simulator the same cores on virtual time.

mod outbox;
mod retention;
mod schedule;

pub use outbox::{Outbox, Weigh};
pub use retention::{Covered, KEPT, Needed, needed};
pub use schedule::{Schedule, SnapshotConfig};
