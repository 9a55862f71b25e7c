//! What the parts of the shell tell its loop.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use allot_agent_core::ProcessId;
use allot_model::{AttemptId, Time, Welcome};
use tokio::io::unix::AsyncFd;

use crate::guardian::word::EndOf;

/// Something happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A process was started, or found again; `end` becomes readable when it has ended. Where it is absent, the guardian
    /// tells.
    Started { attempt: AttemptId, at: Time, process: ProcessId, end: Option<AsyncFd<OwnedFd>> },
    /// A process could not be started.
    LaunchFailed { attempt: AttemptId, at: Time, message: Arc<str> },
    /// A process has ended and waits to be reaped.
    Ended { attempt: AttemptId, at: Time },
    /// The guardian says how a process ended that an earlier process of the agent had started.
    Inherited(EndOf),
    /// The output of an attempt is stored.
    OutputStored(AttemptId),
    /// The registry answered a hello.
    Welcomed(Welcome),
}
