//! `allot scenario`: plays a scenario in a live cluster, and tells whether the allocator there grants what the simulation
//! does.

mod conductor;
mod known;
mod play;
mod stage;

use std::path::PathBuf;

use allot_engine::Policy;
use allot_model::{Format, PolicyName, Time};
use allot_sim::{Document, Measures, Outcome, Scenario, Stay, Workload, simulate};
use clap::Args;
use serde_json::{Value, json};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Output;
use crate::submit::file;
use play::{Played, Start};

/// Play a scenario in a live cluster, and compare its grants with the simulation's.
///
/// The agents of the scenario are modelled here and join the cluster over NATS; its jobs are submitted, and their tasks end
/// when the scenario says. Time is that of the scenario: all that happens at one instant is made known, then the cluster's
/// allocator decides until it has nothing more to grant, and the next instant follows. So any allocator can be held to what
/// a policy is to do, whatever it is written in. The cluster has to be empty of agents and jobs.
///
/// Policies that look at the clock (ageing, decayed usage, planning by estimates) cannot be compared this way: the allocator's
/// own clock stands nearly still. Exits with 1 where the grants are not the same, in the same order.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot up --agents 0                                  in another terminal: a cluster without agents
  allot scenario scenario.yaml --live
  allot scenario scenario.yaml --live --policy drf:placement=first-fit --allocator python-drf --json")]
pub struct ScenarioArgs {
    /// The scenario; `-` for stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Play it in the cluster; `allot simulate` is the command for everything else.
    #[arg(long, required = true)]
    live: bool,
    /// What is to be simulated; what the scenario says unless given, or else drf.
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// The allocator that is to decide, by the name that `allot policy` shows; that of the policy unless given.
    #[arg(long, value_name = "NAME")]
    allocator: Option<PolicyName>,
    /// Print one JSON document: that of `allot simulate`, and under `live` what came of it here.
    #[arg(long)]
    json: bool,
}

/// Plays a scenario.
///
/// # Errors
/// Where it cannot be read or played; exit code 1 where the grants differ.
pub async fn run(args: ScenarioArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let scenario = read(&args)?;
    let text = args.policy.as_deref().or(scenario.policy.as_deref()).unwrap_or(Scenario::DEFAULT_POLICY);
    let policy =
        Policy::parse_over(text, &scenario.choices).map_err(|error| Failure::Usage(error.to_string()))?;
    let workload = &scenario.workload;
    workload.check(&policy).map_err(|error| Failure::Usage(error.to_string()))?;
    let outcome = simulate(workload, &policy).map_err(|error| Failure::failed(error.to_string()))?;
    let allocator = args.allocator.clone().unwrap_or_else(|| policy.name.clone());
    let played = play::play(client, workload, &allocator).await?;
    let told = Told {
        workload,
        outcome: &outcome,
        allocator: &allocator,
        expected: expected(workload, &outcome),
        played,
    };
    if args.json || output.is_json() {
        output.print_line(&told.document()?, Value::to_string)?;
    } else {
        output.print_line(&(), |()| told.text())?;
    }
    if told.is_equal() { Ok(()) } else { Err(Failure::Exit(1)) }
}

fn read(args: &ScenarioArgs) -> Result<Scenario, Failure> {
    let (name, bytes) = file::bytes(&args.file)?;
    let format = Format::of_path(&name).unwrap_or_else(|| file::guess(&bytes));
    Scenario::parse(&bytes, format).map_err(|invalid| {
        file::told(&name, 0, (&bytes, format), &invalid, |rejection| {
            format!("{rejection}; docs/simulate.md describes scenarios")
        })
    })
}

/// What the simulation placed.
fn expected(workload: &Workload, outcome: &Outcome) -> Vec<Start> {
    let of_stay = |stay: &Stay| {
        let (at, job) = (stay.start, stay.job);
        let agent = workload.agents.get(stay.agent as usize).map(|agent| agent.id.clone());
        let tasks = agent
            .into_iter()
            .flat_map(move |agent| stay.tasks.indexes().map(move |task| (task, agent.clone())));
        tasks.map(|(task, agent)| Start { at, job, task, agent }).collect::<Vec<_>>()
    };
    outcome.stays.iter().flat_map(of_stay).collect()
}

/// What there is to tell.
struct Told<'a> {
    workload: &'a Workload,
    outcome: &'a Outcome,
    allocator: &'a PolicyName,
    expected: Vec<Start>,
    played: Played,
}

impl Told<'_> {
    fn is_equal(&self) -> bool {
        self.expected == self.played.starts
    }

    /// The place of the first grant that is another, counted from 0.
    fn differs_at(&self) -> Option<usize> {
        let (expected, really) = (&self.expected, &self.played.starts);
        let longest = expected.len().max(really.len());
        (0..longest).find(|at| expected.get(*at) != really.get(*at))
    }

    fn document(&self) -> Result<Value, Failure> {
        let measures = Measures::of(self.workload, self.outcome);
        let (policy, workload, outcome) = (&self.outcome.policy.to_string(), self.workload, self.outcome);
        let document = Document { policy, workload, outcome, measures: &measures, grants: true };
        let mut document = serde_json::to_value(document).map_err(Failure::internal)?;
        let grants: Vec<Value> = self.played.starts.iter().map(|start| self.grant(start)).collect();
        document["live"] = json!({
            "allocator": self.allocator,
            "equal": self.is_equal(),
            "differs_at": self.differs_at(),
            "grants": grants,
            "refused": self.played.refused,
        });
        Ok(document)
    }

    fn grant(&self, start: &Start) -> Value {
        json!({
            "t": seconds(start.at),
            "job": self.workload.name(start.job as usize),
            "task": start.task,
            "queue": self.queue(start.job),
            "agent": start.agent,
        })
    }

    fn queue(&self, job: u32) -> &str {
        let queue = self.workload.jobs.get(job as usize).map(|job| job.queue as usize);
        queue.and_then(|queue| self.workload.queues.get(queue)).map_or("", |queue| queue.name.as_str())
    }

    fn text(&self) -> String {
        let count = self.played.starts.len();
        let mut text = match self.differs_at() {
            None => format!(
                "{count} tasks were placed by {} as in the simulation, in the same order",
                self.allocator
            ),
            Some(at) => {
                let show = |start: Option<&Start>| {
                    start.map_or_else(|| "nothing".to_owned(), |start| self.line(start))
                };
                format!(
                    "{} does not place tasks as the simulation does; the first difference is grant {}\n  simulated: {}\n  \
                     live:      {}",
                    self.allocator,
                    at + 1,
                    show(self.expected.get(at)),
                    show(self.played.starts.get(at))
                )
            }
        };
        for refused in &self.played.refused {
            text += &format!("\nrefused: {refused}");
        }
        text
    }

    fn line(&self, start: &Start) -> String {
        let Start { at, job, task, agent } = start;
        let name = self.workload.name(*job as usize);
        format!("task {task} of {name} ({}) on {agent} at {}s", self.queue(*job), seconds(*at))
    }
}

/// A time in seconds, whole ones as whole numbers.
#[allow(clippy::cast_precision_loss, reason = "microseconds of 285 years are exact")]
fn seconds(at: Time) -> Value {
    let micros = at.as_micros();
    if micros.is_multiple_of(1_000_000) { json!(micros / 1_000_000) } else { json!(micros as f64 / 1e6) }
}
