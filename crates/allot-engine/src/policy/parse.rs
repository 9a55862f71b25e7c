//! Policies as people write them: `drf`, `fair:resource=mem`, `fifo:placement=first-fit:backfill=none`.

use std::fmt;

use super::{Backfill, InvalidPolicy, Order, Placement, Policy, Rank};

/// Why a text is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy `{given}`: {message}")]
pub struct InvalidPolicyText {
    /// The text as given.
    pub given: String,
    /// What is wrong with it, and what is allowed.
    pub message: String,
}

/// The options of every policy, in the order in which they are described.
const OPTIONS: [&str; 4] = ["resource", "order", "placement", "backfill"];

/// Choices that are the same for several policies; those that are absent are as each policy has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyChoices {
    /// How jobs rank within a queue.
    pub order: Option<Order>,
    /// Which of the agents that fit a task gets it.
    pub placement: Option<Placement>,
    /// What happens behind a job that does not fit.
    pub backfill: Option<Backfill>,
}

impl PolicyChoices {
    /// Has the policy choose so.
    pub fn apply(&self, policy: &mut Policy) {
        policy.order = self.order.unwrap_or(policy.order);
        policy.placement = self.placement.unwrap_or(policy.placement);
        policy.backfill = self.backfill.unwrap_or(policy.backfill);
    }
}

impl Policy {
    /// Reads a policy: its name, then options such as `resource=mem`, each after a `:` (or a `,`).
    ///
    /// # Errors
    /// [`InvalidPolicyText`], which says what is allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicyText> {
        Self::parse_over(text, &PolicyChoices::default())
    }

    /// The same where other choices are made as long as the text makes none.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse_over(text: &str, choices: &PolicyChoices) -> Result<Self, InvalidPolicyText> {
        let wrong = |message: String| InvalidPolicyText { given: text.to_owned(), message };
        let mut parts = text.split([':', ',']).map(str::trim);
        let mut policy =
            Self::named(parts.next().unwrap_or_default()).map_err(|error| wrong(error.to_string()))?;
        choices.apply(&mut policy);
        for part in parts {
            let (option, value) = part.split_once('=').ok_or_else(|| {
                wrong(format!("{part:?} is not an option: write NAME=VALUE such as `backfill=none`"))
            })?;
            policy.set(option.trim(), value.trim()).map_err(wrong)?;
        }
        Ok(policy)
    }

    /// Takes texts of policies apart that are joined by commas. An option may follow a comma too:
    /// `fair:resource=mem,order=fifo,drf` is two policies.
    #[must_use]
    pub fn split_list(text: &str) -> Vec<String> {
        let is_option = |part: &str| part.find('=').is_some_and(|at| !part[..at].contains(':'));
        let mut texts: Vec<String> = Vec::new();
        for part in text.split(',') {
            match texts.last_mut().filter(|_| is_option(part)) {
                Some(open) => *open = format!("{open}:{part}"),
                None => texts.push(part.trim().to_owned()),
            }
        }
        texts
    }

    /// Sets one option by its name.
    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let told = |error: InvalidPolicy| error.to_string();
        match option {
            "resource" => self.share_by(value)?,
            "order" => self.order = value.parse::<Order>().map_err(told)?,
            "placement" => self.placement = value.parse::<Placement>().map_err(told)?,
            "backfill" => self.backfill = value.parse::<Backfill>().map_err(told)?,
            _ => {
                return Err(format!("there is no option {option:?}: the options are {}", OPTIONS.join(", ")));
            }
        }
        Ok(())
    }

    fn share_by(&mut self, name: &str) -> Result<(), String> {
        let Rank::Fair { resource } = &mut self.rank else {
            return Err(format!("`resource` is an option of `fair`, not of `{}`: leave it out", self.name));
        };
        *resource = name.parse().map_err(|error: allot_model::InvalidId| error.to_string())?;
        Ok(())
    }
}

impl fmt::Display for Policy {
    /// The form that [`Policy::parse`] reads: the name, and the options that are not as that name has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name.to_string();
        let plain = Self::named(self.name.as_str()).ok();
        let mut option = |name: &str, value: String, plain: Option<String>| {
            if plain.is_none_or(|plain| plain != value) {
                text.push_str(&format!(":{name}={value}"));
            }
        };
        let resource = |policy: &Self| match &policy.rank {
            Rank::Fair { resource } => Some(resource.to_string()),
            _ => None,
        };
        if let Some(by) = resource(self) {
            option("resource", by, plain.as_ref().and_then(resource));
        }
        option("order", self.order.to_string(), plain.as_ref().map(|plain| plain.order.to_string()));
        option(
            "placement",
            self.placement.to_string(),
            plain.as_ref().map(|plain| plain.placement.to_string()),
        );
        option("backfill", self.backfill.to_string(), plain.as_ref().map(|plain| plain.backfill.to_string()));
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for text in
            ["fifo", "drf:backfill=none", "fair:resource=mem", "priority:order=fifo:placement=first-fit"]
        {
            assert_eq!(Policy::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Policy::parse("fair:resource=cpus").unwrap(), Policy::named("fair").unwrap());
        assert_eq!(Policy::parse(" fifo : backfill = none ").unwrap().backfill, Backfill::None);
    }

    #[test]
    fn a_list_has_options_after_commas_too() {
        let texts = |text: &str| {
            let policies = Policy::split_list(text);
            policies.iter().map(|text| Policy::parse(text).unwrap().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(texts("fifo,drf"), ["fifo", "drf"]);
        assert_eq!(
            texts("fair:resource=mem,order=fifo, drf:backfill=none"),
            ["fair:resource=mem:order=fifo", "drf:backfill=none"]
        );
    }

    #[test]
    fn mistakes_say_what_is_allowed() {
        let cases = [
            ("fofi", "there is no policy \"fofi\": choose one of `fifo`"),
            ("drf:resource=mem", "`resource` is an option of `fair`, not of `drf`"),
            ("drf:backfil=none", "there is no option \"backfil\": the options are resource, order"),
            ("drf:easy", "\"easy\" is not an option: write NAME=VALUE"),
            ("drf:order=random", "there is no job order \"random\""),
            ("fair:resource=a b", "\"a b\" is not a resource name"),
            ("", "there is no policy \"\""),
        ];
        for (text, message) in cases {
            let error = Policy::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
