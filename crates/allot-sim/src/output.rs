//! What happened in a simulation, how good it was, and both as a document.

pub(crate) mod document;
mod fairness;
mod gpus;
pub(crate) mod metrics;
pub(crate) mod outcome;
mod seconds;
