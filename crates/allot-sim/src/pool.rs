//! One pool on virtual time: the engine, and before it a modelled offers service.
//!
//! `truth` is that service; `timeline` says what happens next; `simulator` has both and the engine take turns.

pub(crate) mod simulator;
mod timeline;
pub(crate) mod truth;
