//! Policies as text: a name, and options that follow it, such as `fair:resource=mem,backfill=none`.

use std::fmt::{self, Display};
use std::str::FromStr;

use allot_model::{PolicyName, Preempt, PreemptCause, PreemptRules, ResourceName, Span};

use super::{Backfill, Placement, Policy};
use crate::order::Order;
use crate::rank::{Alpha, Rank};

/// Why there is no such policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// A name that nothing has.
    #[error("there is no {what} {given:?}: choose one of {allowed}")]
    Unknown {
        /// What it should be the name of.
        what: &'static str,
        /// What was given.
        given: String,
        /// The names there are.
        allowed: String,
    },
    /// An option that the policy does not have.
    #[error("the policy `{policy}` has no option {given:?}: choose from {allowed}")]
    Option {
        /// The policy.
        policy: String,
        /// What was given.
        given: String,
        /// The options it has.
        allowed: String,
    },
    /// A value that the option does not take.
    #[error("{option} = {given:?} is not possible: {reason}")]
    Value {
        /// The option.
        option: String,
        /// What was given.
        given: String,
        /// What is wrong with it, and what is allowed.
        reason: String,
    },
    /// Not of the form `option=value`.
    #[error("{given:?} does not say which option has which value: write `NAME:option=value,option=value`")]
    Form {
        /// What was given.
        given: String,
    },
    /// An option twice.
    #[error("the option `{option}` is given twice: leave one of them out")]
    Twice {
        /// The option.
        option: String,
    },
    /// Ageing where priorities do not count.
    #[error(
        "`ageing` raises priorities, and jobs go by `order={order}` here: leave it out, or take `order=priority`"
    )]
    Ageing {
        /// How jobs rank.
        order: Order,
    },
    /// Preemption where room is kept for when tasks are expected to end.
    #[error(
        "`preempt={given}` makes room by stopping tasks, and `backfill={backfill}` keeps it for when they end: take \
         `backfill=skip` or `backfill=none` with it"
    )]
    PreemptAhead {
        /// What happens behind a job that does not fit.
        backfill: Backfill,
        /// What was given.
        given: Preempt,
    },
    /// Preemption for priorities where they do not count.
    #[error(
        "`preempt={given}` stops tasks of a lower priority, and jobs go by `order={order}` here: take `order=priority`, or \
         `preempt=guarantee`"
    )]
    Preempt {
        /// How jobs rank.
        order: Order,
        /// What was given.
        given: Preempt,
    },
}

impl InvalidPolicy {
    pub(crate) fn unknown(what: &'static str, given: &str, allowed: &str) -> Self {
        Self::Unknown { what, given: given.to_owned(), allowed: allowed.to_owned() }
    }

    fn value(option: &str, given: &str, reason: impl Display) -> Self {
        Self::Value { option: option.to_owned(), given: given.to_owned(), reason: reason.to_string() }
    }
}

/// Choices that are the same for several policies; those that are absent are as each policy has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyChoices {
    /// How jobs rank within a queue.
    pub order: Option<Order>,
    /// Which of the agents that fit a task gets it.
    pub placement: Option<Placement>,
    /// What happens behind a job that does not fit.
    pub backfill: Option<Backfill>,
    /// What tasks are stopped for where nothing fits.
    pub preempt: Option<Preempt>,
}

impl PolicyChoices {
    /// Has the policy choose so.
    pub fn apply(&self, policy: &mut Policy) {
        policy.order = self.order.unwrap_or(policy.order);
        policy.placement = self.placement.unwrap_or(policy.placement);
        policy.backfill = self.backfill.unwrap_or(policy.backfill);
        policy.preempt.preempt = self.preempt.unwrap_or(policy.preempt.preempt);
    }
}

/// The policies by which queues rank; beside them each order by itself is one, in which all queues are one line.
const RANKED: [&str; 7] = ["fair", "drf", "hdrf", "asset", "usage", "lottery", "karma"];

impl Policy {
    /// The names of the policies that [`Policy::named`] knows.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Order::NAMES.iter().chain(&RANKED).copied().collect()
    }

    /// The policy of that name with its defaults: best fit, skipping what does not fit; where queues rank, jobs by
    /// priority within each.
    ///
    /// # Errors
    /// [`InvalidPolicy`], which lists the names there are.
    pub fn named(name: &str) -> Result<Self, InvalidPolicy> {
        let line = name.parse::<Order>().ok().map(|order| (Rank::Line, order));
        let ranked = || Rank::named(name).map(|rank| (rank, Order::Priority));
        let unknown = || InvalidPolicy::unknown("policy", name, &listed(&Self::names()));
        let (rank, order) = line.or_else(ranked).ok_or_else(unknown)?;
        let name = PolicyName::new(name).map_err(|_| unknown())?;
        let (placement, backfill) = (Placement::BestFit, Backfill::Skip);
        let preempt = PreemptRules::default();
        Ok(Self { name, rank, order, ageing: None, placement, backfill, preempt })
    }

    /// Reads a name and the options that follow it, each after a `,` or a `:`, such as `drf`, `fair:resource=mem`,
    /// `priority:ageing=60s`, or `drf:order=shortest,placement=first-fit,backfill=none`. The policy is called by the name
    /// alone.
    ///
    /// # Errors
    /// [`InvalidPolicy`], which says what is wrong and what there is.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        Self::parse_over(text, &PolicyChoices::default())
    }

    /// The same where other choices are made as long as the text makes none.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse_over(text: &str, choices: &PolicyChoices) -> Result<Self, InvalidPolicy> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut policy = Self::named(name.trim())?;
        choices.apply(&mut policy);
        let options = options.split([',', ':']).map(str::trim).filter(|given| !given.is_empty());
        let options = with_their_own(options);
        let mut seen: Vec<&str> = Vec::new();
        for given in &options {
            let form = || InvalidPolicy::Form { given: given.to_owned() };
            let (option, value) = given.split_once('=').ok_or_else(form)?;
            let option = option.trim();
            if seen.contains(&option) {
                return Err(InvalidPolicy::Twice { option: option.to_owned() });
            }
            seen.push(option);
            policy.set(option, value.trim())?;
        }
        policy.checked()
    }

    /// Takes texts of policies apart that are joined by commas: `fair:resource=mem,backfill=none,fifo` is two, as what has
    /// a `=` and no name before it belongs to what it follows.
    #[must_use]
    pub fn split_list(text: &str) -> Vec<String> {
        let is_option = |part: &str| part.split_once('=').is_some_and(|(option, _)| !option.contains(':'));
        let mut texts: Vec<String> = Vec::new();
        for part in text.split(',') {
            match texts.last_mut().filter(|_| is_option(part)) {
                Some(open) => *open = format!("{open}:{part}"),
                None => texts.push(part.trim().to_owned()),
            }
        }
        texts
    }

    /// Reads several, see [`Policy::split_list`].
    ///
    /// # Errors
    /// [`InvalidPolicy`] of the first that is none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, InvalidPolicy> {
        Self::split_list(text).iter().map(|text| Self::parse(text)).collect()
    }

    /// Sets one option, as [`Policy::parse`] does. What is wrong only together with others [`Policy::checked`] finds.
    ///
    /// # Errors
    /// [`InvalidPolicy`] where the policy has no such option or the option does not take the value.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), InvalidPolicy> {
        match (option, &mut self.rank) {
            ("order", _) => self.order = value.parse()?,
            ("ageing", _) => self.ageing = Some(span(option, value)?),
            ("placement", _) => self.placement = value.parse()?,
            ("backfill", _) => self.backfill = value.parse()?,
            ("preempt", _) => self.preempt.preempt = read(option, value)?,
            ("preempt_min_run", _) => self.preempt.min_run = read(option, value)?,
            ("preempt_rate", _) => self.preempt.rate = whole(option, value, u32::MAX)?,
            ("resource", Rank::Fair { resource }) => *resource = read::<ResourceName>(option, value)?,
            ("half_life", Rank::Usage { half_life }) => *half_life = span(option, value)?,
            ("seed", Rank::Lottery { seed }) => *seed = whole(option, value, u64::MAX)?,
            ("alpha", Rank::Karma { alpha, .. }) => *alpha = read::<Alpha>(option, value)?,
            ("quantum", Rank::Karma { quantum, .. }) => *quantum = span(option, value)?,
            (given, _) => {
                let (policy, given) = (self.name.to_string(), given.to_owned());
                return Err(InvalidPolicy::Option { policy, given, allowed: listed(&self.options()) });
            }
        }
        Ok(())
    }

    /// This policy, if its choices go together.
    ///
    /// # Errors
    /// [`InvalidPolicy::Ageing`] where priorities age and do not count, [`InvalidPolicy::Preempt`] where tasks are stopped for
    /// priorities that do not count.
    pub fn checked(self) -> Result<Self, InvalidPolicy> {
        match self.ageing {
            Some(_) if self.order != Order::Priority => Err(InvalidPolicy::Ageing { order: self.order }),
            _ if self.preempt.preempt != Preempt::None && self.backfill.looks_ahead() => {
                Err(InvalidPolicy::PreemptAhead { backfill: self.backfill, given: self.preempt.preempt })
            }
            _ if self.preempt.preempt.is_for(PreemptCause::Priority) && self.order != Order::Priority => {
                Err(InvalidPolicy::Preempt { order: self.order, given: self.preempt.preempt })
            }
            _ => Ok(self),
        }
    }

    /// The options that there are for it.
    fn options(&self) -> Vec<&'static str> {
        self.choices().into_iter().map(|(option, _)| option).collect()
    }

    /// What it has chosen for each option there is for it, where it has.
    fn choices(&self) -> Vec<(&'static str, Option<String>)> {
        let mut choices = match &self.rank {
            Rank::Line | Rank::Drf | Rank::Hdrf | Rank::Asset => Vec::new(),
            Rank::Fair { resource } => vec![("resource", Some(resource.to_string()))],
            Rank::Usage { half_life } => vec![("half_life", Some(half_life.to_string()))],
            Rank::Lottery { seed } => vec![("seed", Some(seed.to_string()))],
            Rank::Karma { alpha, quantum } => {
                vec![("alpha", Some(alpha.to_string())), ("quantum", Some(quantum.to_string()))]
            }
        };
        choices.extend([
            ("order", Some(self.order.to_string())),
            ("ageing", self.ageing.map(|ageing| ageing.to_string())),
            ("placement", Some(self.placement.to_string())),
            ("backfill", Some(self.backfill.to_string())),
            ("preempt", Some(self.preempt.preempt.to_string())),
            ("preempt_min_run", Some(self.preempt.min_run.to_string())),
            ("preempt_rate", Some(self.preempt.rate.to_string())),
        ]);
        choices
    }
}

/// The options, those of a placement together with it: `seed=7` right after `placement=random` is that one's, whatever the
/// policy, as in `lottery:seed=1:placement=random:seed=7`.
fn with_their_own<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    for part in parts {
        let is_drawn = |option: &&mut String| {
            option
                .split_once('=')
                .is_some_and(|(name, value)| name.trim() == "placement" && value.trim() == "random")
        };
        match options.last_mut().filter(|option| part.starts_with("seed") && is_drawn(option)) {
            Some(placement) => placement.extend([":", part]),
            None => options.push(part.to_owned()),
        }
    }
    options
}

impl fmt::Display for Policy {
    /// A form that [`Policy::parse`] reads: the name, and the options that are not as that name has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name.to_string();
        let plain = Self::named(self.name.as_str()).map(|plain| plain.choices()).unwrap_or_default();
        for choice in self.choices().into_iter().filter(|choice| !plain.contains(choice)) {
            if let (option, Some(value)) = choice {
                text.push_str(&format!(":{option}={value}"));
            }
        }
        f.pad(&text)
    }
}

impl FromStr for Policy {
    type Err = InvalidPolicy;
    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        Self::parse(text)
    }
}

/// Names as they stand in messages.
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn read<T: FromStr<Err: Display>>(option: &str, value: &str) -> Result<T, InvalidPolicy> {
    value.parse().map_err(|error| InvalidPolicy::value(option, value, error))
}

/// A number that may be as large as `most`.
fn whole<T: FromStr + Display>(option: &str, value: &str, most: T) -> Result<T, InvalidPolicy> {
    value.parse().map_err(|_| {
        InvalidPolicy::value(option, value, format!("it has to be a whole number from 0 to {most}"))
    })
}

fn span(option: &str, value: &str) -> Result<Span, InvalidPolicy> {
    match read(option, value)? {
        Span::ZERO => Err(InvalidPolicy::value(option, value, "it has to be longer than no time at all")),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_policy_that_goes_by_it() {
        for name in Policy::names() {
            assert_eq!(Policy::parse(name).unwrap().name.as_str(), name);
        }
    }

    #[test]
    fn options_follow_the_name() {
        let drf = Policy::parse("drf:order=shortest, placement=first-fit ,backfill=none").unwrap();
        assert_eq!((drf.name.as_str(), &drf.rank, drf.order), ("drf", &Rank::Drf, Order::Shortest));
        assert_eq!((drf.placement, drf.backfill), (Placement::FirstFit, Backfill::None));
        let rank = |text: &str| Policy::parse(text).unwrap().rank;
        assert_eq!(rank("fair:resource=mem"), Rank::Fair { resource: "mem".parse().unwrap() });
        assert_eq!(rank("lottery:seed=7"), Rank::Lottery { seed: 7 });
        assert_eq!(rank("usage:half_life=7d"), rank("usage"));
        let (alpha, quantum) = ("0.25".parse().unwrap(), Span::from_secs(1));
        assert_eq!(rank("karma:alpha=0.25,quantum=1s"), Rank::Karma { alpha, quantum });
        let aged = Policy::parse("priority:ageing=60s").unwrap();
        assert_eq!((aged.order, aged.ageing), (Order::Priority, Some(Span::from_secs(60))));
        assert_eq!(Policy::parse("drf:"), Policy::named("drf"));
    }

    #[test]
    fn policies_are_written_as_they_are_read() {
        for text in [
            "fifo",
            "drf:backfill=none",
            "fair:resource=mem",
            "priority:order=fifo:placement=first-fit",
            "priority:preempt=both:preempt_min_run=1m:preempt_rate=9",
            "karma:alpha=0.250:ageing=1m",
            "usage:half_life=1h",
            "lottery:seed=7",
            "lottery:seed=7:placement=random:seed=9",
        ] {
            assert_eq!(Policy::parse(text).unwrap().to_string(), text);
        }
        let placements = Placement::ALL.into_iter().chain([Placement::Random { seed: 7 }]);
        for placement in placements {
            let policy = Policy { placement, backfill: Backfill::None, ..Policy::named("fair").unwrap() };
            assert_eq!(Policy::parse(&policy.to_string()), Ok(policy));
        }
        assert_eq!(Policy::parse("fair:resource=cpus").unwrap(), Policy::named("fair").unwrap());
        assert_eq!(Policy::parse(" fifo : backfill = none ").unwrap().backfill, Backfill::None);
    }

    #[test]
    fn other_choices_count_as_long_as_the_text_makes_none() {
        let choices = PolicyChoices { order: Some(Order::Largest), ..PolicyChoices::default() };
        let order = |text: &str| Policy::parse_over(text, &choices).unwrap().order;
        assert_eq!((order("drf"), order("drf:order=fifo")), (Order::Largest, Order::Fifo));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_there_is() {
        let cases = [
            ("dfr", r#"there is no policy "dfr": choose one of `fifo`, `priority`, "#),
            ("", r#"there is no policy "": choose"#),
            (
                "fair:colour=red",
                "the policy `fair` has no option \"colour\": choose from `resource`, `order`, ",
            ),
            (
                "drf:resource=mem",
                "the policy `drf` has no option \"resource\": choose from `order`, `ageing`, ",
            ),
            ("drf:order=sideways", r#"there is no job order "sideways": choose one of `fifo`, `priority`, "#),
            ("drf:placement", "\"placement\" does not say which option has which value"),
            ("drf:backfill=none,backfill=skip", "the option `backfill` is given twice"),
            ("fifo:ageing=60s", "`ageing` raises priorities, and jobs go by `order=fifo` here"),
            ("priority:ageing=0s", "ageing = \"0s\" is not possible: it has to be longer"),
            ("usage:half_life=soon", "half_life = \"soon\" is not possible"),
            ("drf:placement=fgd:seed=7", "the policy `drf` has no option \"seed\""),
            ("drf:placement=random:seed=x", "there is no placement \"random:seed=x\""),
            ("lottery:seed=many", "seed = \"many\" is not possible: it has to be a whole number from 0 to"),
            (
                "fifo:preempt=priority",
                "`preempt=priority` stops tasks of a lower priority, and jobs go by `order=fifo`",
            ),
            ("drf:preempt=all", "preempt = \"all\" is not possible: \"all\" is nothing that tasks"),
            ("karma:alpha=1.5", "alpha = \"1.5\" is not possible: it is a part"),
        ];
        for (text, expected) in cases {
            let message = Policy::parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_list_is_read_with_the_options_of_each() {
        let names = |text: &str| -> Vec<String> {
            Policy::parse_list(text).unwrap().iter().map(|policy| policy.name.to_string()).collect()
        };
        assert_eq!(names("drf,fifo"), ["drf", "fifo"]);
        assert_eq!(names("fair:resource=mem,backfill=none,lottery:seed=7,fifo"), ["fair", "lottery", "fifo"]);
        assert!(Policy::parse_list("drf,,fifo").is_err());
    }
}
