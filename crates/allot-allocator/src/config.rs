//! What may be set of an allocator. Its policy is not among it: that is which binary runs.

use allot_engine::{Backfill, Limits, Order, Placement, Policy, Rank};
use allot_model::{PoolName, ResourceName, Span};
use serde::{Deserialize, Serialize};

/// What may be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The pool whose offers it answers.
    pub pool: PoolName,
    /// For `fair`: the resource that is shared fairly; `cpus` unless set.
    pub resource: Option<ResourceName>,
    /// How jobs rank within a queue: `fifo` or `priority`; `fifo` for the policy of that name, `priority` for others.
    pub order: Option<Order>,
    /// Which of the agents that fit a task gets it: `best-fit` or `first-fit`.
    pub placement: Placement,
    /// What happens behind a job that does not fit: `skip` lets others go ahead, `none` has them wait.
    pub backfill: Backfill,
    /// Tasks that are shorter than this take turns in the slot of one, so that the next one starts without asking; a
    /// slot is granted for about this long, or for up to eight times as long to three tasks at most. `0s` has every task
    /// placed by itself.
    pub ahead: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pool: PoolName::default_pool(),
            resource: None,
            order: None,
            placement: Placement::BestFit,
            backfill: Backfill::Skip,
            ahead: Limits::default().ahead,
        }
    }
}

impl Config {
    /// The policy of this name with these settings.
    pub(crate) fn policy(&self, name: &str) -> anyhow::Result<Policy> {
        let mut policy = Policy::named(name)?;
        policy.placement = self.placement;
        policy.backfill = self.backfill;
        policy.order = self.order.unwrap_or(policy.order);
        match (&self.resource, &mut policy.rank) {
            (Some(wanted), Rank::Fair { resource }) => *resource = wanted.clone(),
            (Some(wanted), _) => anyhow::bail!(
                "resource = {:?} is a setting of the policy `fair`; {name} has no such choice: leave it out",
                wanted.as_str()
            ),
            (None, _) => {}
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_change_what_the_policy_is_by_default() {
        let resource: ResourceName = "mem".parse().unwrap();
        let config =
            Config { resource: Some(resource.clone()), order: Some(Order::Fifo), ..Config::default() };
        let policy = config.policy("fair").unwrap();
        assert_eq!((policy.rank, policy.order), (Rank::Fair { resource }, Order::Fifo));
        assert_eq!(Config::default().policy("drf").unwrap(), Policy::named("drf").unwrap());
    }

    #[test]
    fn a_resource_for_a_policy_that_looks_at_none_is_refused() {
        let config = Config { resource: Some("mem".parse().unwrap()), ..Config::default() };
        let message = config.policy("drf").unwrap_err().to_string();
        assert!(message.contains("`fair`") && message.contains("drf"), "{message}");
        assert!(config.policy("wfq").unwrap_err().to_string().contains("`fifo`, `priority`, `fair`, `drf`"));
    }
}
