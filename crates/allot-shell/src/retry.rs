//! Trying again: what NATS cannot do while it restarts it can do a little later.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use allot_model::{Span, Time};
use tracing::{debug, warn};

use crate::clock;

/// How long an operation of the bus is tried before it counts as failed: well over a restart of nats-server.
pub const PATIENCE: Span = Span::from_secs(120);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Shorter trouble than this is nobody's business.
const QUIET: Span = Span::from_secs(3);

/// Pauses that double from 20 ms to 2 s, and an end after which it is no use.
#[derive(Debug)]
pub struct Backoff {
    started: Time,
    patience: Option<Span>,
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

impl Backoff {
    /// Pauses for at most this long in all.
    #[must_use]
    pub fn new(patience: Span) -> Self {
        Self { patience: Some(patience), ..Self::endless() }
    }

    /// Pauses for as long as it takes.
    #[must_use]
    pub fn endless() -> Self {
        Self { started: clock::now(), patience: None, pause: FIRST_PAUSE }
    }

    /// Waits for the next try at `what`, which just failed with `error`; false where patience has run out.
    pub async fn wait(&mut self, what: &str, error: &impl Display) -> bool {
        let elapsed = clock::now().since(self.started);
        if self.patience.is_some_and(|patience| elapsed >= patience) {
            return false;
        }
        if elapsed < QUIET {
            debug!(what, %error, "trying again");
        } else {
            warn!(what, %error, %elapsed, "trying again");
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// Does `operation` until it succeeds or [`PATIENCE`] runs out.
///
/// # Errors
/// The last error, once patience has run out.
pub async fn retry<T, E, F, Fut>(what: &str, mut operation: F) -> Result<T, E>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::default();
    loop {
        match operation().await {
            Ok(done) => return Ok(done),
            Err(error) if !backoff.wait(what, &error).await => return Err(error),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operation_is_repeated_until_it_succeeds() {
        let mut tries = 0;
        let done = retry("count to three", || {
            tries += 1;
            let result = if tries == 3 { Ok(tries) } else { Err("not yet") };
            std::future::ready(result)
        });
        assert_eq!(done.await, Ok(3));
    }

    #[tokio::test]
    async fn patience_runs_out() {
        assert!(!Backoff::new(Span::ZERO).wait("wait", &"no").await);
    }
}
