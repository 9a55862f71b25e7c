//! What the parts of the shell tell its loop.

use std::sync::Arc;

use allot_agent_core::ProcessId;
use allot_model::{AttemptId, Time, Welcome};

/// Something happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A process was started.
    Started { attempt: AttemptId, at: Time, process: ProcessId },
    /// A process could not be started.
    LaunchFailed { attempt: AttemptId, at: Time, message: Arc<str> },
    /// A process has ended and waits to be reaped.
    Ended { attempt: AttemptId, at: Time },
    /// The output of an attempt is stored.
    OutputStored(AttemptId),
    /// The registry answered a hello.
    Welcomed(Welcome),
}
