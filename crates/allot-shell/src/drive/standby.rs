//! The life of a standby: it follows the ledger, and tries to take over when it may.

use std::time::Duration;

use allot_model::{InstanceId, Time};
use tracing::{debug, info};

use super::takeover::Replay;
use super::until;
use crate::bus::Bus;
use crate::clock;
use crate::lease::{Candidacy, Found, Holder, Keeper, Lease, StandbyConfig, Written};
use crate::retry::retry;
use crate::service::LedgerService;
use crate::standing::Role;

/// The pause where a try to take the lease came to nothing: without a majority of its servers NATS may say so at once.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(200);

/// What woke a standby.
enum Woken {
    Reconnected,
    Due,
    Followed,
    Heard(Found),
}

impl<S: LedgerService> Replay<'_, S> {
    /// Follows the ledger until this instance has the lease and everything that was written by then.
    pub(crate) async fn stand_by(
        &mut self,
        bus: &Bus,
        config: &StandbyConfig,
        instance: &InstanceId,
    ) -> anyhow::Result<Keeper> {
        let lease = Lease::of(bus, S::WRITER);
        let (holder, revision) = self.follow(bus, &lease, config, instance).await?;
        let keeper = Keeper::start(bus, S::WRITER, holder, revision)?;
        self.read_on(bus).await?;
        Ok(keeper)
    }

    /// Follows the ledger until this instance has the lease.
    async fn follow(
        &mut self,
        bus: &Bus,
        lease: &Lease,
        config: &StandbyConfig,
        instance: &InstanceId,
    ) -> anyhow::Result<(Holder, u64)> {
        let found = retry("look who is active", || lease.look()).await.map_err(anyhow::Error::msg)?;
        if let Some(active) = &found.holder {
            info!(active = %active.instance, "following as a standby");
        }
        bus.standing_cell().set(Role::Standby, None);
        let mut watch = lease.watch().await?;
        let mut candidacy = Candidacy::new(clock::now(), found);
        let mut reconnected = Box::pin(bus.reconnected());
        loop {
            // Signs of life come first, so that what has arrived by now is not taken for silence.
            let woken = tokio::select! {
                biased;
                found = watch.next() => Woken::Heard(found?),
                () = &mut reconnected => Woken::Reconnected,
                () = until(Some((candidacy.due(), "the active instance is silent"))) => Woken::Due,
                followed = self.follow_one() => followed.map(|()| Woken::Followed)?,
            };
            match woken {
                Woken::Heard(found) => candidacy.hear(clock::now(), found),
                Woken::Reconnected => {
                    reconnected = Box::pin(bus.reconnected());
                    candidacy.was_deaf(clock::now());
                }
                Woken::Followed => {}
                Woken::Due => {
                    let now = clock::now();
                    let takeover_after = config.takeover_after;
                    let holder = Holder { instance: instance.clone(), since: now, takeover_after };
                    if let Some(revision) = stand(lease, &mut candidacy, now, &holder).await {
                        return Ok((holder, revision));
                    }
                }
            }
        }
    }

    async fn follow_one(&mut self) -> anyhow::Result<()> {
        let delivered = self.ledger.next().await?;
        self.fold(&delivered)
    }
}

/// Tries to take the lease; returns its revision.
async fn stand(lease: &Lease, candidacy: &mut Candidacy, now: Time, holder: &Holder) -> Option<u64> {
    match lease.take(candidacy.revision(), holder).await {
        Written::At(revision) => return Some(revision),
        Written::Overtaken => debug!("the lease has been renewed or taken meanwhile"),
        Written::Unknown(error) => {
            debug!(error, "the lease could not be taken");
            tokio::time::sleep(UNANSWERED_PAUSE).await;
        }
    }
    match lease.look().await {
        // Our own try may stand there, though no answer came.
        Ok(Found { revision, holder: Some(found) }) if found == *holder => return Some(revision),
        Ok(found) => candidacy.hear(clock::now(), found),
        Err(error) => {
            debug!(error, "the lease could not be looked at");
            candidacy.was_deaf(now);
        }
    }
    None
}
