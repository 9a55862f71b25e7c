//! What each agent of `allot up` has.

use allot_agent::Config;
use allot_model::{AgentId, Resources};
use serde_json::{Map, Value};

use super::data_dir::DataDir;
use crate::failure::Failure;

/// Reads `cpus=4,mem=8GiB`, or a JSON object.
pub(super) fn resources(text: &str) -> Result<Resources, String> {
    let amounts = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        Value::Object(parts.map(amount).collect::<Result<Map<_, _>, _>>()?)
    };
    Resources::from_json(&amounts).map_err(|error| error.to_string())
}

fn amount(text: &str) -> Result<(String, Value), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("{text:?}: write NAME=AMOUNT, such as cpus=4"))?;
    Ok((name.trim().to_owned(), Value::from(value.trim())))
}

/// The configurations of `count` agents.
pub(super) fn agents(
    count: u32,
    resources: Option<&Resources>,
    data_dir: &DataDir,
    noop: bool,
) -> Result<Vec<Config>, Failure> {
    (1..=count).map(|number| agent(number, count, resources, data_dir, noop)).collect()
}

fn agent(
    number: u32,
    count: u32,
    resources: Option<&Resources>,
    data_dir: &DataDir,
    noop: bool,
) -> Result<Config, Failure> {
    let name = format!("agent-{number}");
    let data_dir = data_dir.within("agents")?.join(&name);
    let mut config = Config {
        id: Some(AgentId::new(&name).map_err(Failure::internal)?),
        data_dir,
        resources: resources.cloned().unwrap_or_default(),
        noop,
        ..Config::default()
    };
    if count > 1 {
        share(&mut config, count);
    }
    Ok(config)
}

/// Gives the agent one part in `count` of what the machine has, of all that was not given.
fn share(config: &mut Config, count: u32) {
    let found = allot_agent::machine::found(config.data_dir.parent().unwrap_or(&config.data_dir));
    let given = config.resources.to_json();
    let part = |name: &str, whole: u64, step: u64| {
        let part = whole / u64::from(count) / step * step;
        (given.get(name).is_none() && part > 0).then(|| Value::from(part))
    };
    // Agents that share fewer processors than there are agents still have one each: tasks mostly wait for something.
    config.cpus = part("cpus", found.cpus.max(u64::from(count)), 1);
    config.mem = part("mem", found.mem_bytes, 1 << 20);
    config.disk = part("disk", found.disk_bytes, 1 << 20);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_given_as_names_and_amounts_or_as_json() {
        assert_eq!(
            resources("cpus=0.5,mem=512MiB,licenses=2").unwrap().to_string(),
            "cpus 0.5, licenses 2, mem 512MiB"
        );
        assert_eq!(resources("{\"gpus\": [\"0\", \"1\"]}").unwrap().to_string(), "gpus {0,1}");
        for (text, part) in
            [("cpus", "NAME=AMOUNT"), ("cpus=x", "cpus"), ("{", "EOF"), ("mem=-1", "negative")]
        {
            assert!(resources(text).unwrap_err().contains(part), "{text}: {:?}", resources(text));
        }
    }

    #[test]
    fn several_agents_share_the_machine_and_one_agent_has_it_all() {
        let dir = tempfile::tempdir().unwrap();
        let dir = DataDir::take(dir.path().to_owned()).unwrap();
        let one = agents(1, None, &dir, false).unwrap();
        assert_eq!((one.len(), one[0].cpus.clone()), (1, None));
        let given = resources("cpus=100").unwrap();
        let three = agents(3, Some(&given), &dir, true).unwrap();
        let ids: Vec<_> = three.iter().filter_map(|agent| agent.id.as_ref()).map(AgentId::as_str).collect();
        assert_eq!(ids, ["agent-1", "agent-2", "agent-3"]);
        assert!(three.iter().all(|agent| agent.noop && agent.cpus.is_none() && agent.mem.is_some()));
    }
}
