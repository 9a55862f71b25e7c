//! Where workloads come from.

pub(crate) mod build;
pub(crate) mod fleet;
pub(crate) mod log;
pub(crate) mod openb;
pub(crate) mod scenario;
