//! What may be set of an allocator.

use allot_engine::{Backfill, InvalidPolicy, Limits, Order, Placement, Policy};
use allot_model::{AllocatorMode, PoolName, Preempt, ResourceName, Span};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// What may be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The pool whose offers it answers.
    pub pool: PoolName,
    /// What it is there for: `standby` decides when it is its turn, `shadow` never does, and is compared with whoever decides.
    pub mode: AllocatorMode,
    /// The policy with its options, such as `fair:resource=mem`; a program that is named for a policy takes only options for
    /// that one. By the program unless set, `drf` for the one that is named for none.
    pub policy: Option<String>,
    /// For `fair`: the resource that is shared fairly; `cpus` unless set.
    pub resource: Option<ResourceName>,
    /// How jobs rank within a queue. By the policy unless set.
    pub order: Option<Order>,
    /// Which of the agents that have room for a task gets it, such as `worst-fit` or `random:seed=7`; `best-fit` unless set.
    pub placement: Option<Placement>,
    /// What happens behind a job that does not fit: `skip` lets others go ahead, `none` has them wait, `easy`,
    /// `easy-shortest` and `conservative` let go ahead what delays nobody for whom room is kept; `skip` unless set.
    #[serde(deserialize_with = "backfill")]
    pub backfill: Option<Backfill>,
    /// What running tasks are stopped for where nothing is free: `none`, `priority`, `guarantee` or `both`; `none` unless set. The
    /// offers service has to allow it as well.
    pub preempt: Option<Preempt>,
    /// How long a task is left alone from when it got its place; `0s` unless set.
    pub preempt_min_run: Option<Span>,
    /// How many tasks are stopped within a minute at most; 600 unless set.
    pub preempt_rate: Option<u32>,
    /// Tasks that are shorter than this take turns in the slot of one, so that the next one starts without asking; a
    /// slot is granted for about this long, or for up to eight times as long to three tasks at most. `0s` has every task
    /// placed by itself.
    pub ahead: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pool: PoolName::default_pool(),
            mode: AllocatorMode::default(),
            policy: None,
            resource: None,
            order: None,
            placement: None,
            backfill: None,
            preempt: None,
            preempt_min_run: None,
            preempt_rate: None,
            ahead: Limits::default().ahead,
        }
    }
}

/// Read by its word, so that what is none is answered with those that there are.
fn backfill<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Backfill>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    word.map(|word| word.parse().map_err(D::Error::custom)).transpose()
}

/// Why there is no policy that suits the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsuitable {
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
    #[error(
        "this program is the policy `{own}`, and policy = {given:?} is another: run `allot-allocator-{other}`, or \
         `allot-allocator`, which is the policy that is set"
    )]
    Other { own: String, given: String, other: String },
}

impl Config {
    /// The policy of a program with these settings; of one that is named for none, where `own` is nothing, the one that is
    /// set.
    pub(crate) fn policy(&self, own: Option<&str>) -> Result<Policy, Unsuitable> {
        let mut policy = match (&self.policy, own) {
            (None, own) => Policy::parse(own.unwrap_or("drf"))?,
            (Some(given), own) => check_own(Policy::parse(given)?, given, own)?,
        };
        let settings = [
            ("resource", self.resource.as_ref().map(ToString::to_string)),
            ("order", self.order.map(|order| order.to_string())),
            ("placement", self.placement.map(|placement| placement.to_string())),
            ("backfill", self.backfill.map(|backfill| backfill.to_string())),
            ("preempt", self.preempt.map(|preempt| preempt.to_string())),
            ("preempt_min_run", self.preempt_min_run.map(|min_run| min_run.to_string())),
            ("preempt_rate", self.preempt_rate.map(|rate| rate.to_string())),
        ];
        for (option, value) in settings {
            value.map_or(Ok(()), |value| policy.set(option, &value))?;
        }
        Ok(policy.checked()?)
    }
}

fn check_own(policy: Policy, given: &str, own: Option<&str>) -> Result<Policy, Unsuitable> {
    match own.and_then(|own| Policy::parse(own).ok()).filter(|own| own.name != policy.name) {
        None => Ok(policy),
        Some(own) => Err(Unsuitable::Other {
            own: own.name.to_string(),
            given: given.to_owned(),
            other: policy.name.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_engine::Rank;

    fn with(policy: &str) -> Config {
        Config { policy: Some(policy.to_owned()), ..Config::default() }
    }

    #[test]
    fn settings_change_what_the_policy_is_by_default() {
        let resource: ResourceName = "mem".parse().unwrap();
        let config =
            Config { resource: Some(resource.clone()), order: Some(Order::Fifo), ..Config::default() };
        let policy = config.policy(Some("fair")).unwrap();
        assert_eq!((policy.rank, policy.order), (Rank::Fair { resource }, Order::Fifo));
        assert_eq!(Config::default().policy(Some("drf")).unwrap(), Policy::named("drf").unwrap());
        assert_eq!(Config::default().policy(None).unwrap(), Policy::named("drf").unwrap());
    }

    #[test]
    fn the_policy_is_set_with_its_options_and_other_settings_come_after_these() {
        let policy = with("drf:order=shortest,placement=first-fit").policy(None).unwrap();
        assert_eq!((policy.order, policy.placement), (Order::Shortest, Placement::FirstFit));
        assert_eq!(with("drf:order=shortest").policy(Some("drf")).unwrap().order, Order::Shortest);
        let config = Config { order: Some(Order::Fifo), ..with("drf:order=shortest") };
        assert_eq!(config.policy(None).unwrap().order, Order::Fifo);
    }

    #[test]
    fn a_word_that_is_no_backfill_is_answered_with_those_that_are() {
        let read = |json| serde_json::from_value::<Config>(json);
        assert_eq!(read(serde_json::json!({"backfill": "easy"})).unwrap().backfill, Some(Backfill::Easy));
        assert_eq!(read(serde_json::json!({"backfill": null})).unwrap().backfill, None);
        let error = read(serde_json::json!({"backfill": "foo"})).unwrap_err().to_string();
        assert!(error.contains("\"foo\"") && error.contains("`easy-shortest`, `conservative`"), "{error}");
    }

    #[test]
    fn what_does_not_suit_is_refused_with_what_would() {
        let message = |config: &Config, own| config.policy(own).unwrap_err().to_string();
        let mem = Config { resource: Some("mem".parse().unwrap()), ..Config::default() };
        assert!(message(&mem, Some("drf")).starts_with("the policy `drf` has no option \"resource\""));
        assert!(message(&Config::default(), Some("wfq")).contains("`fifo`, `priority`"));
        assert_eq!(
            message(&with("fifo"), Some("drf")),
            "this program is the policy `drf`, and policy = \"fifo\" is another: run `allot-allocator-fifo`, or \
             `allot-allocator`, which is the policy that is set"
        );
        let fifo = Config { order: Some(Order::Fifo), ..with("priority:ageing=60s") };
        assert!(message(&fifo, None).starts_with("`ageing` raises priorities"));
    }
}
