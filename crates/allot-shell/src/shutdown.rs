//! The wish to stop, shared by everything that runs in a process.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

/// The exit code of a process that was told twice to stop.
const EXIT_INTERRUPTED: i32 = 130;

/// A switch that is thrown once; every clone sees it.
#[derive(Debug, Clone)]
pub struct Shutdown {
    switch: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A switch that has not been thrown.
    #[must_use]
    pub fn new() -> Self {
        Self { switch: Arc::new(watch::Sender::new(false)) }
    }

    /// A switch that SIGTERM and SIGINT throw. A second signal ends the process at once.
    #[must_use]
    pub fn on_signals() -> Self {
        let shutdown = Self::new();
        let switch = shutdown.clone();
        tokio::spawn(async move {
            if next_signal().await {
                info!("stopping");
                switch.trigger();
            }
            if next_signal().await {
                warn!("told to stop a second time, leaving at once");
                std::process::exit(EXIT_INTERRUPTED);
            }
        });
        shutdown
    }

    /// Throws the switch.
    pub fn trigger(&self) {
        self.switch.send_replace(true);
    }

    /// True once it has been thrown.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.switch.borrow()
    }

    /// Waits until it is thrown.
    pub async fn wait(&self) {
        let mut receiver = self.switch.subscribe();
        // The sender lives as long as `self`, so this ends only with the switch thrown.
        let _ = receiver.wait_for(|thrown| *thrown).await;
    }
}

/// Waits for SIGTERM or SIGINT; false where the process cannot listen to them.
async fn next_signal() -> bool {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warn!("cannot listen to signals");
        return false;
    };
    tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_switch_thrown_before_or_after_it_waits() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let clone = shutdown.clone();
            async move { clone.wait().await }
        });
        assert!(!shutdown.is_triggered());
        shutdown.trigger();
        waiting.await.unwrap();
        shutdown.clone().wait().await;
        assert!(shutdown.is_triggered());
    }
}
