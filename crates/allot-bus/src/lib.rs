//! Every subject, stream and header of allot, built and parsed here and nowhere else.
//!
//! [`Subject`] is one place on the bus, [`Kind`] is the row of the table it belongs to: who publishes, who
//! subscribes, and what is said. [`page::subjects`] renders that table as `docs/subjects.md`.

pub mod headers;
pub mod kind;
pub mod page;
pub mod stream;
pub mod subject;

pub use kind::{Exchange, Kind, Party, Row};
pub use stream::{Discard, Stream, StreamSettings};
pub use subject::{InvalidSubject, Subject};
