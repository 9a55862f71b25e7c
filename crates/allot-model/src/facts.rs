//! The limits of what an agent may say of itself. All of it is kept by every service and told to every allocator.

use crate::agent::AgentFacts;
use crate::resources::{Amount, WHOLE};
use crate::text::quote;

impl AgentFacts {
    /// The most attributes.
    pub const MOST_ATTRIBUTES: usize = 256;
    /// The longest name of an attribute, and the longest text otherwise but those of attributes' values, in bytes.
    pub const MOST_NAME_BYTES: usize = 255;
    /// The longest value of an attribute, in bytes.
    pub const MOST_VALUE_BYTES: usize = 4_096;
    /// The most kinds of resources.
    pub const MOST_RESOURCES: usize = 64;
    /// The most items, and the most runs of numbers, of one resource.
    pub const MOST_PARTS: usize = 4_096;
    /// The most bytes that all texts may have together.
    pub const MOST_BYTES: usize = 64 * 1024;

    /// Checks that everything is within its limits.
    ///
    /// # Errors
    /// What is not, what was given and what is allowed; for people.
    pub fn check(&self) -> Result<(), String> {
        name("host", &self.host)?;
        name("program_version", &self.program_version)?;
        most("attributes", self.attributes.len(), Self::MOST_ATTRIBUTES, "attributes")?;
        for (attribute, value) in &self.attributes {
            name("attributes", attribute)?;
            let what = format!("attributes.{attribute}");
            most(&what, value.len(), Self::MOST_VALUE_BYTES, "bytes")?;
        }
        most("resources", self.resources.iter().count(), Self::MOST_RESOURCES, "resources")?;
        for (resource, amount) in self.resources.iter() {
            self::amount(&format!("resources.{resource}"), amount)?;
        }
        most("attributes and resources", self.text_bytes(), Self::MOST_BYTES, "bytes of text in all")
    }

    fn text_bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        let items = self.resources.iter().map(|(_, amount)| match amount {
            Amount::Items(items) => items.keys().map(String::len).sum(),
            Amount::Ranges(ranges) => 16 * ranges.iter().count(),
            Amount::Scalar(_) => 0,
        });
        attributes + items.sum::<usize>()
    }
}

fn most(what: &str, given: usize, limit: usize, unit: &str) -> Result<(), String> {
    if given <= limit { Ok(()) } else { Err(format!("`{what}`: {given} is given: at most {limit} {unit}")) }
}

fn name(what: &str, text: &str) -> Result<(), String> {
    most(what, text.len(), AgentFacts::MOST_NAME_BYTES, "bytes")?;
    match text.chars().any(char::is_control) {
        true => Err(format!("`{what}`: {} holds a control character", quote(text))),
        false => Ok(()),
    }
}

fn amount(what: &str, amount: &Amount) -> Result<(), String> {
    match amount {
        Amount::Items(items) => {
            most(what, items.len(), AgentFacts::MOST_PARTS, "items")?;
            items.keys().try_for_each(|item| name(what, item))?;
        }
        Amount::Ranges(ranges) => most(what, ranges.iter().count(), AgentFacts::MOST_PARTS, "runs")?,
        Amount::Scalar(_) => {}
    }
    if amount.total() > Amount::MOST {
        let most = Amount::MOST / WHOLE;
        return Err(format!("`{what}`: that is more than anything can have: at most {most} thousand units"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AgentId, Incarnation, ResourceName};
    use crate::resources::{Ranges, Resources};

    fn facts(resources: Resources) -> AgentFacts {
        AgentFacts {
            id: AgentId::new("a").unwrap(),
            incarnation: Incarnation(1),
            host: "a".into(),
            resources,
            attributes: [("zone".to_owned(), "b".to_owned())].into(),
            program_version: "0.1.0".into(),
        }
    }

    fn one(name: &str, amount: Amount) -> Resources {
        [(ResourceName::new(name).unwrap(), amount)].into_iter().collect()
    }

    #[test]
    fn what_no_machine_has_is_refused_by_name() {
        let plain = || facts(Resources::new());
        let many = |count: u64| (0..count).map(|n| (2 * n, 2 * n)).collect::<Ranges>();
        let items = |count: usize, length: usize| {
            Amount::Items((0..count).map(|n| (format!("{n:0length$}"), WHOLE)).collect())
        };
        let attributes = |count: usize, value: usize| AgentFacts {
            attributes: (0..count).map(|n| (n.to_string(), "x".repeat(value))).collect(),
            ..plain()
        };
        let cases = [
            (AgentFacts { host: "x".repeat(256), ..plain() }, "`host`: 256 is given: at most 255 bytes"),
            (
                AgentFacts { host: "\u{1b}[2J".into(), ..plain() },
                "`host`: `\\u{1b}[2J` holds a control character",
            ),
            (attributes(257, 1), "`attributes`: 257 is given: at most 256 attributes"),
            (attributes(1, 4_097), "`attributes.0`: 4097 is given: at most 4096 bytes"),
            (attributes(17, 4_000), "at most 65536 bytes of text in all"),
            (
                facts(one("cpus", Amount::Scalar(u64::MAX))),
                "`resources.cpus`: that is more than anything can have",
            ),
            (facts(one("ports", Amount::Ranges([(0, u64::MAX)].into_iter().collect()))), "`resources.ports`"),
            (facts(one("ports", Amount::Ranges(many(4_097)))), "at most 4096 runs"),
            (facts(one("gpus", items(4_097, 1))), "at most 4096 items"),
            (facts(one("gpus", items(1, 256))), "`resources.gpus`: 256 is given: at most 255 bytes"),
            (facts(one("gpus", items(300, 250))), "bytes of text in all"),
        ];
        assert_eq!(plain().check(), Ok(()));
        for (facts, message) in cases {
            let refused = facts.check().unwrap_err();
            assert!(refused.contains(message), "{message}: {refused}");
        }
    }
}
