//! What the parts of the shell tell its loop.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use allot_agent_core::ProcessId;
use allot_model::{AttemptId, Time, Welcome};
use tokio::io::unix::AsyncFd;

/// Something happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A process was started; `end` becomes readable when it has ended.
    Started { attempt: AttemptId, at: Time, process: ProcessId, end: AsyncFd<OwnedFd> },
    /// A process could not be started.
    LaunchFailed { attempt: AttemptId, at: Time, message: Arc<str> },
    /// A process has ended and waits to be reaped.
    Ended { attempt: AttemptId, at: Time },
    /// The output of an attempt is stored.
    OutputStored(AttemptId),
    /// The registry answered a hello.
    Welcomed(Welcome),
}
