//! What can be set, and what holds where it is not.

use std::path::PathBuf;

use allot_model::{AgentId, Attributes, Resources, Span};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::machine;

/// The configuration of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Its id, unique in the cluster; the machine's name where absent.
    pub id: Option<AgentId>,
    /// The name of its machine, for constraints and for people; as the machine says where absent.
    pub host: Option<String>,
    /// Where its journal and the directories of tasks are. One agent at a time may use it.
    pub data_dir: PathBuf,
    /// Processors for tasks; what the process may use, in whole ones, where absent.
    pub cpus: Option<Value>,
    /// Memory for tasks; all that the machine or the container has, less a tenth or 1 GiB, where absent.
    pub mem: Option<Value>,
    /// Space for tasks; nine tenths of what is free in `data_dir` at first start where absent.
    pub disk: Option<Value>,
    /// Anything else it has for tasks, such as `gpus = ["0", "1"]` or `ports = "31000-32000"`. Also `cpus`, `mem` and
    /// `disk`, where they are not set by themselves.
    pub resources: Resources,
    /// Attributes for constraints to look at.
    pub attributes: Attributes,
    /// Whether tasks with the `noop` executor, which run nothing, are taken. For measuring the control plane.
    pub noop: bool,
    /// So many agents in place of this one, which finish `noop` tasks at once and run nothing: for measuring the control
    /// plane. They are called as it would be, with `-1`, `-2`, … behind, and each has all that it would have.
    pub modelled: u32,
    /// The most that is kept of each output of an attempt while it runs; of what is beyond, the oldest is dropped.
    #[serde(with = "byte_count")]
    pub output_cap: u64,
    /// The longest that the end of an attempt goes unreported because its output is not stored in the stream yet.
    pub output_wait: Span,
    /// How many directories of ended attempts are kept.
    pub keep_tasks: usize,
    /// How long the directory of an ended attempt is kept.
    pub keep_for: Span,
    /// While less than this is free where directories of attempts are, those of ended ones go, the oldest first.
    #[serde(with = "byte_count")]
    pub keep_free: u64,
    /// When the agent is told to stop: the longest that its tasks have between SIGTERM and SIGKILL.
    pub stop_grace: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            id: None,
            host: None,
            data_dir: "agent-data".into(),
            cpus: None,
            mem: None,
            disk: None,
            resources: Resources::new(),
            attributes: Attributes::new(),
            noop: false,
            modelled: 0,
            output_cap: 64 << 20,
            output_wait: Span::from_secs(2),
            keep_tasks: 1_000,
            keep_for: Span::from_secs(24 * 3_600),
            keep_free: 256 << 20,
            stop_grace: Span::from_secs(10),
        }
    }
}

impl Config {
    /// The agent's id: as set, or the name of the machine with what cannot stand in an id made `-`.
    ///
    /// # Errors
    /// Where the machine has no name that an id can be made of.
    pub fn agent_id(&self) -> anyhow::Result<AgentId> {
        match &self.id {
            Some(id) => Ok(id.clone()),
            None => agent_id_of(&allot_shell::host_name()),
        }
    }

    /// The name of the machine.
    #[must_use]
    pub fn host(&self) -> String {
        self.host.clone().unwrap_or_else(allot_shell::host_name)
    }

    /// All that the agent has for tasks: what is set, and what is found of the machine for the rest.
    ///
    /// # Errors
    /// Where an amount cannot be read; names it and what is allowed.
    pub(crate) fn total(&self, found: &machine::Found) -> anyhow::Result<Resources> {
        let given = self.resources.to_json();
        let mut amounts = given.as_object().cloned().unwrap_or_default();
        let plain = [
            ("cpus", &self.cpus, Value::from(found.cpus)),
            ("mem", &self.mem, Value::from(found.mem_bytes)),
            ("disk", &self.disk, Value::from(found.disk_bytes)),
        ];
        for (name, set, found) in plain {
            fill(&mut amounts, name, set.as_ref(), found);
        }
        Ok(Resources::from_json(&Value::Object(amounts))?)
    }
}

/// What is set by itself goes first, then what stands among the resources, then what was found.
fn fill(amounts: &mut Map<String, Value>, name: &str, set: Option<&Value>, found: Value) {
    match set {
        Some(set) => drop(amounts.insert(name.to_owned(), set.clone())),
        None => drop(amounts.entry(name).or_insert(found)),
    }
}

fn agent_id_of(host: &str) -> anyhow::Result<AgentId> {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let text: String = host.chars().take(64).map(allowed).collect();
    AgentId::new(&text)
        .map_err(|error| anyhow::anyhow!("no id can be made of the machine's name: {error}; set `id`"))
}

/// Bytes as people write them: `64MiB`.
mod byte_count {
    use allot_model::{Amount, ResourceName};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use serde_json::Value;

    fn name() -> Result<ResourceName, String> {
        ResourceName::new("mem").map_err(|error| error.to_string())
    }

    pub(super) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let name = name().map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&Amount::scalar_text(&name, *bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Amount::parse_scalar(&name().map_err(D::Error::custom)?, &text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_shell::config::{Layers, load};

    const FOUND: machine::Found = machine::Found { cpus: 8, mem_bytes: 1 << 30, disk_bytes: 1 << 40 };

    fn total(set: &[&str]) -> String {
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        let loaded = load::<Config>("agent", &Layers { file: None, environment: Vec::new(), set }).unwrap();
        loaded.service.total(&FOUND).map_or_else(|error| error.to_string(), |total| total.to_string())
    }

    #[test]
    fn what_is_not_set_is_found() {
        assert_eq!(total(&[]), "cpus 8, disk 1TiB, mem 1GiB");
        assert_eq!(total(&["cpus=0.5", "mem=512MiB", "disk=0"]), "cpus 0.5, mem 512MiB");
        let gpus = "resources={gpus = [\"0\", \"1\"], cpus = 2}";
        assert_eq!(total(&[gpus]), "cpus 2, disk 1TiB, gpus {0,1}, mem 1GiB");
        assert_eq!(total(&[gpus, "cpus=3"]), "cpus 3, disk 1TiB, gpus {0,1}, mem 1GiB");
    }

    #[test]
    fn an_amount_that_cannot_be_is_refused_by_name() {
        assert!(total(&["cpus=-1"]).contains("`cpus`: `-1` is negative"));
        assert!(total(&["mem=lots"]).contains("`mem`: `lots`"));
    }

    #[test]
    fn any_machine_name_can_be_an_id() {
        assert_eq!(agent_id_of("node-1.example.org").unwrap().as_str(), "node-1-example-org");
        assert!(agent_id_of("").unwrap_err().to_string().contains("set `id`"));
    }

    #[test]
    fn the_cap_is_written_as_people_do() {
        let set = vec!["output_cap=1.5MiB".to_owned()];
        let loaded = load::<Config>("agent", &Layers { file: None, environment: Vec::new(), set }).unwrap();
        assert_eq!(loaded.service.output_cap, 3 << 19);
    }
}
