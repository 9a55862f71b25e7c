//! Renews the lease of the active instance, from a thread of its own: a service that computes for a second is busy and
//! not gone.

use std::time::Duration;

use allot_model::ledger::Writer;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use super::{Found, Holder, Lease, Written};
use crate::bus::Bus;
use crate::retry::Backoff;

/// How long giving the lease up may take; after that it expires by itself.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(2);
/// How often it is tried to give it up.
const TRIES: usize = 3;

/// Keeps a lease for as long as it lives. Dropped, it leaves the lease to expire, as a process that is killed does.
#[derive(Debug)]
pub(crate) struct Keeper {
    end: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Keeper {
    /// Renews the lease, which was taken with this revision.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub(crate) fn start(bus: &Bus, writer: Writer, holder: Holder, revision: u64) -> anyhow::Result<Self> {
        let (end, told) = oneshot::channel();
        let (tell, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let bus = bus.clone();
        std::thread::Builder::new().name(format!("lease-{}", writer.as_str())).spawn(move || {
            runtime.block_on(keep(&bus, writer, holder, revision, told));
            // Nobody waits where the service was aborted.
            let _ = tell.send(());
        })?;
        Ok(Self { end, ended })
    }

    /// Gives the lease up, so that a standby need not wait.
    pub(crate) async fn give_up(self) {
        let Self { end, ended } = self;
        if end.send(()).is_ok() && timeout(GIVE_UP_WITHIN, ended).await.is_err() {
            warn!("the lease could not be given up, and expires");
        }
    }
}

async fn keep(bus: &Bus, writer: Writer, holder: Holder, revision: u64, mut end: oneshot::Receiver<()>) {
    let kept = |bus: &Bus| Kept { lease: Lease::of(bus, writer), holder, revision };
    let mut kept = tokio::select! {
        connected = connect(bus) => kept(&connected),
        told = &mut end => {
            // Over the service's own connection it can be given up as well.
            if told.is_ok() {
                kept(bus).give_up().await;
            }
            return;
        }
    };
    let mut ticks = interval(kept.holder.renews_every());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            told = &mut end => {
                if told.is_ok() {
                    kept.give_up().await;
                }
                return;
            }
            _ = ticks.tick() => kept.renew().await,
        }
    }
}

/// A connection of its own, that what the service sends does not hold up; however long it takes.
async fn connect(bus: &Bus) -> Bus {
    let mut backoff = Backoff::endless();
    loop {
        match bus.another("lease").await {
            Ok(connected) => return connected,
            Err(error) => backoff.wait("connect to renew the lease", &error).await,
        };
    }
}

struct Kept {
    lease: Lease,
    holder: Holder,
    revision: u64,
}

impl Kept {
    async fn renew(&mut self) {
        match self.lease.take(self.revision, &self.holder).await {
            Written::At(revision) => self.revision = revision,
            Written::Overtaken => self.look().await,
            Written::Unknown(error) => debug!(error, "the lease could not be renewed"),
        }
    }

    /// An earlier renewal that was not acknowledged may stand there, or nothing, or what another instance has written:
    /// that one is left alone, for it is about to become the writer.
    async fn look(&mut self) {
        match self.lease.look().await {
            Ok(Found { revision, holder }) => {
                if holder.is_none_or(|holder| holder.instance == self.holder.instance) {
                    self.revision = revision;
                }
            }
            Err(error) => debug!(error, "the lease could not be looked at"),
        }
    }

    async fn give_up(&mut self) {
        for _ in 0..TRIES {
            match self.lease.give_up(self.revision).await {
                Written::At(_) => return,
                Written::Overtaken | Written::Unknown(_) => self.look().await,
            }
        }
    }
}
