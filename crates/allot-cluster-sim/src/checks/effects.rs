//! What leaves a service: only what is so by the ledger. Effects follow their records.

use std::collections::BTreeMap;

use allot_model::{AgentId, AgentOrder, FeedItem, Incarnation, Report, ReportBatch, Welcome, Writer};

use super::Promise::NoHarm;
use super::chronicle::Chronicle;
use super::{Check, hold};
use crate::message::{Message, To};

/// What agents said, as far as answers to it are checked.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// The batches that each agent has sent in its present life.
    reports: BTreeMap<(AgentId, Incarnation), BTreeMap<u64, Vec<Report>>>,
}

impl Effects {
    /// An agent reports. True where it said the same before.
    pub(crate) fn reported(&mut self, batch: &ReportBatch) -> bool {
        let life = (batch.agent.clone(), batch.incarnation);
        let before = self.reports.entry(life).or_default().insert(batch.sequence, batch.reports.clone());
        before.is_some()
    }

    /// A service sends a message.
    pub(crate) fn sent(&self, to: &To, message: &Message, chronicle: &Chronicle) -> Check {
        match (to, message) {
            // A dispatcher that was replaced knows less; agents that know better do not heed it.
            (To::Agent(_), Message::Orders(batch))
                if batch.epoch != chronicle.epoch_of(Writer::Dispatcher) =>
            {
                Ok(())
            }
            (To::Agent(agent), Message::Orders(batch)) => batch
                .orders
                .iter()
                .try_for_each(|order| self.ordered(agent, batch.incarnation, order, chronicle)),
            (_, Message::Feed(feed)) => feed.items.iter().try_for_each(|item| told(item, chronicle)),
            _ => Ok(()),
        }
    }

    fn ordered(
        &self,
        agent: &AgentId,
        incarnation: Incarnation,
        order: &AgentOrder,
        chronicle: &Chronicle,
    ) -> Check {
        match order {
            AgentOrder::Launch(launch) => {
                let unknown = launch.run.attempts().find(|attempt| !chronicle.was_placed(*attempt));
                hold(NoHarm, unknown.is_none(), || {
                    format!("{unknown:?} is launched on {agent} and was never placed")
                })
            }
            AgentOrder::Acknowledge { sequence } => {
                let life = (agent.clone(), incarnation);
                let reports =
                    self.reports.get(&life).and_then(|sent| sent.get(sequence)).into_iter().flatten();
                let ended = reports.flat_map(|report| match report {
                    Report::Ended { run, .. } => run.attempts().collect(),
                    Report::Started { .. } => Vec::new(),
                });
                let held = ended.into_iter().find(|attempt| chronicle.holds(agent, *attempt));
                hold(NoHarm, held.is_none(), || {
                    format!(
                        "report {sequence} of {agent} is acknowledged, and by the ledger {held:?} goes on there"
                    )
                })
            }
            AgentOrder::Kill { .. } | AgentOrder::Reconcile { .. } => Ok(()),
        }
    }

    /// An agent is admitted.
    pub(crate) fn welcomed(
        &self,
        agent: &AgentId,
        incarnation: Incarnation,
        welcome: &Welcome,
        chronicle: &Chronicle,
    ) -> Check {
        let joined = chronicle.agents.get(agent).is_some_and(|line| line.incarnations.contains(&incarnation));
        hold(NoHarm, joined || !matches!(welcome, Welcome::Admitted { .. }), || {
            format!("{agent} is told that it is admitted, and has not joined by the ledger")
        })
    }
}

/// Allocators are told.
fn told(item: &FeedItem, chronicle: &Chronicle) -> Check {
    match item {
        FeedItem::Allocated { epoch, grant, placements, .. } => {
            let known = epoch.0 == 0 || chronicle.grants.contains(&(*epoch, *grant));
            let unknown = placements
                .iter()
                .find(|placement| !placement.run.attempts().all(|attempt| chronicle.was_placed(attempt)));
            hold(NoHarm, known && unknown.is_none(), || {
                format!("allocators are told of grant {grant}, and it is not in the ledger: {unknown:?}")
            })
        }
        _ => Ok(()),
    }
}
