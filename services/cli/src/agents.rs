//! `allot agents` and `allot agent …`: the machines that run tasks.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use allot_bus::Subject;
use allot_model::AgentId;
use allot_model::view::{AgentState, AgentUse, AgentView, Done, DrainCommand};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tokio::time::interval;

use crate::client::Client;
use crate::completions;
use crate::failure::Failure;
use crate::output::{Output, Table, amount, note, resources};
use crate::states::{self, word};

/// How often it is looked whether an agent is drained.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// List agents with their states and what is allocated on them.
///
/// Each line is a machine or container that runs tasks. `2/8` under a resource means that 2 of 8 are allocated.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot agents
  allot agents --state unreachable,gone
  allot agents -o json | jq '.[] | select(.state == \"unreachable\") | .agent'")]
pub struct AgentsArgs {
    /// Only agents in these states: ready, draining, drained, unreachable, gone.
    #[arg(long, short, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<AgentState>,
}

fn state(text: &str) -> Result<AgentState, String> {
    serde_json::from_value(serde_json::Value::String(text.to_lowercase()))
        .map_err(|_| "the states of agents are ready, draining, drained, unreachable and gone".to_owned())
}

/// Look at one agent, or change what it may do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot agent show node7
  allot agent drain node7")]
pub struct AgentArgs {
    #[command(subcommand)]
    verb: AgentVerb,
}

#[derive(Debug, Subcommand)]
enum AgentVerb {
    /// Show one agent: its state, resources, attributes, and what is allocated and free.
    #[command(after_help = "Examples:\n  allot agent show node7\n  allot agent show node7 -o json")]
    Show(Which),
    /// Give an agent nothing new, and let its tasks finish.
    ///
    /// Once nothing is allocated on it the agent is `drained`. With --kill its tasks are killed now; those with tries
    /// left are tried on other agents.
    #[command(after_help = "\
Examples:
  allot agent drain node7
  allot agent drain node7 --wait && ssh node7 reboot
  allot agent drain node7 --kill")]
    Drain {
        #[command(flatten)]
        which: Which,
        /// Kill its tasks rather than wait for them.
        #[arg(long)]
        kill: bool,
        /// Return once it is drained, or gone.
        #[arg(long)]
        wait: bool,
    },
    /// Let a draining or drained agent work again.
    ///
    /// One whose tasks are being killed (`drain --kill`) has to be drained first.
    #[command(after_help = "Examples:\n  allot agent undrain node7")]
    Undrain(Which),
    /// Declare an agent gone for good, with everything that ran on it.
    ///
    /// Its tasks end as `gone`, or are tried elsewhere where they have tries left. An agent that comes back all the
    /// same is not let in until its data directory has been removed.
    #[command(after_help = "Examples:\n  allot agent gone node7")]
    Gone(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// The agent.
    #[arg(value_name = "AGENT", add = completions::agents())]
    agent: AgentId,
}

/// An agent as the registry and the offers service know it.
#[derive(Debug, Serialize)]
struct Agent {
    #[serde(flatten)]
    view: AgentView,
    #[serde(rename = "use")]
    usage: Option<AgentUse>,
}

/// Lists agents.
///
/// # Errors
/// Where the registry does not answer.
pub async fn list(args: AgentsArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let mut agents = agents(client).await?;
    agents.retain(|agent| args.state.is_empty() || args.state.contains(&agent.view.state));
    output.print(&agents, |agents| table(agents, output))?;
    if agents.is_empty() && !output.is_json() {
        note("no agents");
    }
    Ok(())
}

/// Looks at an agent, or changes what it may do.
///
/// # Errors
/// Where there is no such agent, the registry refuses, or it does not answer.
pub async fn run(args: AgentArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let done: Done = match args.verb {
        AgentVerb::Show(which) => return show(&which.agent, client, output).await,
        AgentVerb::Drain { which: Which { agent }, kill, wait } => {
            let done = client.ask(&Subject::AgentDrain(agent.clone()), &DrainCommand { kill }).await?;
            if wait { drained(&agent, done, client, output).await? } else { done }
        }
        AgentVerb::Undrain(which) => client.ask(&Subject::AgentUndrain(which.agent), &json!({})).await?,
        AgentVerb::Gone(which) => client.ask(&Subject::AgentGone(which.agent), &json!({})).await?,
    };
    output.print(&done, |done| done.message.clone())
}

/// Waits until nothing is allocated on the agent any more.
async fn drained(id: &AgentId, begun: Done, client: &Client, output: &Output) -> Result<Done, Failure> {
    let bar = output.bar(0);
    bar.set_message(format!("tasks of {id} ended"));
    let mut look = interval(LOOK_EVERY);
    let mut most = 0;
    loop {
        look.tick().await;
        let views = client.agents().await?;
        let view = views.into_iter().find(|view| view.agent == *id);
        let Some(AgentView { state, attempts, .. }) = view else { return Ok(begun) };
        most = attempts.max(most);
        bar.set_length(most);
        bar.set_position(most - attempts);
        match state {
            AgentState::Drained | AgentState::Gone => {
                bar.finish_and_clear();
                return Ok(Done { message: format!("agent {id} is {}", word(state)) });
            }
            AgentState::Ready => {
                return Err(Failure::failed(format!("agent {id} takes tasks again: somebody undrained it")));
            }
            AgentState::Draining | AgentState::Unreachable => {}
        }
    }
}

async fn show(id: &AgentId, client: &Client, output: &Output) -> Result<(), Failure> {
    let agents = agents(client).await?;
    let known = || agents.iter().map(|agent| agent.view.agent.as_str()).collect::<Vec<_>>().join(", ");
    let found = agents.iter().find(|agent| agent.view.agent == *id);
    let agent =
        found.ok_or_else(|| Failure::failed(format!("there is no agent {id}; there are: {}", known())))?;
    output.print(agent, |agent| facts(agent, output))
}

async fn agents(client: &Client) -> Result<Vec<Agent>, Failure> {
    let views = client.agents().await?;
    let mut uses: BTreeMap<AgentId, AgentUse> = match client.usage().await {
        Ok(uses) => Vec::into_iter(uses).map(|usage: AgentUse| (usage.agent.clone(), usage)).collect(),
        Err(failure) => {
            note(&format!("allot: what is allocated is not known: {failure}"));
            BTreeMap::new()
        }
    };
    Ok(views.into_iter().map(|view| Agent { usage: uses.remove(&view.agent), view }).collect())
}

fn table(agents: &[Agent], output: &Output) -> String {
    const COLUMNS: [&str; 11] = [
        "AGENT", "HOST~", "STATE", "TASKS#", "CPUS#", "MEM#", "GPUS#", "JOINED", "HEARD", "VERSION",
        "TROUBLE~",
    ];
    let is_any_in_trouble = agents.iter().any(|agent| agent.view.trouble.is_some());
    let columns = COLUMNS.len() - usize::from(!is_any_in_trouble);
    let mut table = Table::new(&COLUMNS[..columns]);
    for agent in agents {
        let view = &agent.view;
        let cells = [
            (&view.agent).into(),
            (&view.host).into(),
            states::agent(view.state),
            view.attempts.into(),
            share(agent, "cpus").into(),
            share(agent, "mem").into(),
            share(agent, "gpus").into(),
            output.clock.show(view.joined_at).into(),
            output.clock.show(view.heard_at).into(),
            (&view.program_version).into(),
            view.trouble.as_deref().unwrap_or("-").into(),
        ];
        table.row(cells.into_iter().take(columns));
    }
    if table.is_empty() { String::new() } else { output.draw(&table) }
}

/// `2/8`: how much of how much is allocated; `-` where there is none of it.
fn share(agent: &Agent, name: &str) -> String {
    if agent.view.total.get(name).is_none() {
        return "-".to_owned();
    }
    let allocated =
        agent.usage.as_ref().map_or_else(|| "?".to_owned(), |usage| amount(&usage.allocated, name));
    format!("{allocated}/{}", amount(&agent.view.total, name))
}

fn facts(agent: &Agent, output: &Output) -> String {
    let view = &agent.view;
    let mut text = String::new();
    let attributes = view.attributes.iter().map(|(name, value)| format!("{name}={value}"));
    let attributes: Vec<String> = attributes.collect();
    let facts = [
        ("agent", view.agent.to_string()),
        ("host", view.host.clone()),
        ("state", word(view.state)),
        ("tasks", view.attempts.to_string()),
        ("total", resources(&view.total)),
        (
            "allocated",
            agent.usage.as_ref().map_or_else(|| "?".to_owned(), |usage| resources(&usage.allocated)),
        ),
        ("free", agent.usage.as_ref().map_or_else(|| "?".to_owned(), |usage| resources(&usage.free))),
        ("attributes", if attributes.is_empty() { "-".to_owned() } else { attributes.join(" ") }),
        ("joined", output.clock.show(view.joined_at)),
        ("heard", output.clock.show(view.heard_at)),
        ("version", view.program_version.clone()),
    ];
    let trouble = view.trouble.clone().map(|trouble| ("trouble", trouble));
    for (name, value) in facts.into_iter().chain(trouble) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<15} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::NOW;
    use crate::output::Format;
    use allot_model::Span;

    fn agent(id: &str, state: AgentState, usage: bool) -> Agent {
        let agent = AgentId::new(id).unwrap();
        let total = json!({"cpus": 8, "mem": "16GiB"});
        let usage = AgentUse {
            agent: agent.clone(),
            total: total.clone(),
            allocated: json!({"cpus": 2.5}),
            free: json!({"cpus": 5.5, "mem": "16GiB"}),
            available: usage,
        };
        Agent {
            usage: usage.available.then_some(usage),
            view: AgentView {
                agent,
                host: "node7".into(),
                state,
                total,
                attributes: [("zone".to_owned(), "b".to_owned())].into(),
                attempts: 3,
                joined_at: NOW - Span::from_secs(7200),
                heard_at: NOW - Span::from_secs(1),
                program_version: "0.1.0".into(),
                trouble: None,
            },
        }
    }

    #[test]
    fn agents_are_listed_with_what_is_allocated_of_what_they_have() {
        let agents = [agent("a1", AgentState::Ready, true), agent("a2", AgentState::Unreachable, false)];
        assert_eq!(
            table(&agents, &Output::plain(Format::Text, false, NOW)),
            "\
AGENT  HOST   STATE        TASKS   CPUS      MEM  GPUS  JOINED  HEARD   VERSION
a1     node7  ready            3  2.5/8  0/16GiB     -  2h ago  1s ago  0.1.0
a2     node7  unreachable      3    ?/8  ?/16GiB     -  2h ago  1s ago  0.1.0"
        );
    }

    #[test]
    fn what_keeps_an_agent_from_working_is_told() {
        let mut agents = [agent("a1", AgentState::Ready, true), agent("a2", AgentState::Ready, true)];
        agents[1].view.trouble = Some("its disk is full".into());
        let output = Output::plain(Format::Text, false, NOW);
        let listed = table(&agents, &output);
        let lines: Vec<&str> = listed.lines().collect();
        assert!(lines[0].ends_with("VERSION  TROUBLE"), "{listed}");
        assert!(
            lines[1].ends_with("0.1.0    -") && lines[2].ends_with("0.1.0    its disk is full"),
            "{listed}"
        );
        assert!(facts(&agents[1], &output).contains("trouble         its disk is full\n"));
    }

    #[test]
    fn one_agent_is_shown_line_by_line() {
        let text = facts(&agent("a1", AgentState::Draining, true), &Output::plain(Format::Text, false, NOW));
        assert!(text.contains("state           draining\n"), "{text}");
        assert!(text.contains("free            cpus 5.5, mem 16GiB\n"), "{text}");
        assert!(text.contains("attributes      zone=b\n"), "{text}");
    }
}
