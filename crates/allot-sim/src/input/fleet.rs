//! Agents by the number: `100x{cpus: 1}`.

use std::str::FromStr;

use allot_model::document::Tree;
use allot_model::{AgentId, Format, InvalidId, PoolAgent, ResourceName, Resources, Time};

use super::build::Builder;

/// The most agents of a group.
const MOST: u32 = 1_000_000;

/// So many agents that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentGroup {
    /// How many.
    pub count: u32,
    /// What each of them has.
    pub resources: Resources,
}

/// Why a text is not a group of agents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a group of agents: {message}")]
pub struct InvalidGroup {
    /// The text as given.
    pub given: String,
    /// What is wrong with it, and what is allowed.
    pub message: String,
}

const EXAMPLE: &str =
    "write how many, `x`, and what each has, such as `100x{cpus: 1}` or `4x{cpus: 64, mem: 256GB}`";

impl FromStr for AgentGroup {
    type Err = InvalidGroup;

    fn from_str(text: &str) -> Result<Self, InvalidGroup> {
        let wrong = |message: String| InvalidGroup { given: text.to_owned(), message };
        let (count, rest) = match text.find('{') {
            Some(0) => (1, text),
            Some(at) => {
                let (count, rest) = text.split_at(at);
                let count = count.trim().strip_suffix('x').and_then(|count| count.trim().parse().ok());
                (count.ok_or_else(|| wrong(EXAMPLE.to_owned()))?, rest)
            }
            None => return Err(wrong(EXAMPLE.to_owned())),
        };
        if !(1..=MOST).contains(&count) {
            return Err(wrong(format!("{count} agents are given: write 1 to {MOST}")));
        }
        let tree = Tree::parse(rest, Format::Yaml).map_err(|error| wrong(error.to_string()))?;
        if let Tree::Map(entries) = &tree
            && let Some((name, _)) = entries.iter().find(|(_, value)| *value == Tree::Null)
        {
            return Err(wrong(format!(
                "{name:?} has no amount: write a space after the colon, as in `cpus: 1`"
            )));
        }
        let resources = Resources::from_json(&tree.to_json()).map_err(|error| wrong(error.to_string()))?;
        if resources.is_empty() {
            return Err(wrong(format!("it has nothing: {EXAMPLE}")));
        }
        Ok(Self { count, resources: resources.with_devices() })
    }
}

/// The agents of a simulation that has none of its own, as far as processors go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processors {
    /// Whole processors of all agents together.
    pub(crate) total: u64,
    /// Those of the largest agent.
    pub(crate) largest: u64,
}

/// Has all agents of the groups join at the beginning. Their names are in the order of the groups.
pub(crate) fn join(builder: &mut Builder, groups: &[AgentGroup]) -> Result<Processors, InvalidId> {
    let count: u64 = groups.iter().map(|group| u64::from(group.count)).sum();
    let digits = count.to_string().len();
    let cpus = ResourceName::cpus();
    let mut processors = Processors { total: 0, largest: 0 };
    let each = groups.iter().flat_map(|group| (0..group.count).map(|_| &group.resources));
    for (number, resources) in (1_u64..).zip(each) {
        let agent = AgentId::new(&format!("m{number:0digits$}"))?;
        let here = resources.total(&cpus) / 1_000;
        processors.total = processors.total.saturating_add(here);
        processors.largest = processors.largest.max(here);
        builder.agent_is(Time::ZERO, described(agent, resources.clone()));
    }
    Ok(processors)
}

/// An agent that is like its name and has these resources.
pub(crate) fn described(agent: AgentId, total: Resources) -> PoolAgent {
    let host = agent.to_string();
    PoolAgent { agent, host, total, attributes: std::collections::BTreeMap::new(), draining: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_and_mistakes_are_told() {
        let group: AgentGroup = "100x{cpus: 1, mem: 4GB}".parse().unwrap();
        assert_eq!(group.count, 100);
        assert_eq!(group.resources.to_json(), serde_json::json!({"cpus": 1, "mem": "4GB"}));
        assert_eq!("{\"cpus\": 2}".parse::<AgentGroup>().unwrap().count, 1);
        let cases = [
            ("100", "write how many, `x`"),
            ("x{cpus: 1}", "write how many"),
            ("0x{cpus: 1}", "0 agents are given"),
            ("3x{cpus:1}", "write a space after the colon"),
            ("3x{cpu: 1}", "did you mean `cpus`?"),
            ("3x{}", "it has nothing"),
            ("3x{cpus: 1", "did not find expected"),
        ];
        for (text, message) in cases {
            let error = text.parse::<AgentGroup>().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
