//! `allot simulate`: what policies would do with a workload, on virtual time.

mod foreign;
mod input;
mod report;
mod table;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use allot_engine::{Backfill, Order, Placement, Policy, PolicyChoices};
use allot_model::{Preempt, Span, Time};
use allot_sim::{
    AgentGroup, Document, Estimates, Measures, Outcome, QueueBy, SimulationError, Workload, simulate,
};
use allot_workload::Filter;
use clap::Args;

use crate::failure::Failure;
use crate::output::{Output, note};

/// Show what policies would do with a workload, on virtual time.
///
/// Runs the very allocator engine of the live cluster against a modelled offers service that checks each of its grants.
/// Needs no cluster. FILE is a scenario (YAML, JSON or TOML; docs/simulate.md), or a log of a batch machine in the Standard
/// Workload Format (`.swf`, `.swf.gz`), whose jobs of n processors become one task of n cpus where an agent is as large as
/// that, and n tasks of 1 cpu that start together where none is. `--nodes` and `--pods` take the lists of the openb GPU
/// cluster instead. Several policies are compared in one run. The same input gives the same output, byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "\
Policies are written with their options after the name, such as `fair:resource=mem` or `fifo:backfill=none`.

Examples:
  allot simulate scenario.yaml
  allot simulate scenario.yaml --policy fifo,drf,fair:resource=mem --json
  allot simulate KTH-SP2-1996-2.swf.gz --policy fifo --backfill none --starts starts.csv
  allot simulate log.swf --policy fifo:backfill=none,fifo:backfill=easy,fifo:backfill=conservative
  allot simulate log.swf --agents '100x{cpus: 1}' --queue-by user --policy drf,fifo --json --no-grants
  allot simulate log.swf.gz --policy fifo,drf --report report
  allot simulate --nodes nodes.csv --pods pods.csv --demand 1.3 --seed 42 --policy fifo")]
pub struct SimulateArgs {
    /// The scenario or log; `-` for stdin.
    #[arg(value_name = "FILE", required_unless_present = "nodes", conflicts_with_all = ["nodes", "pods"])]
    file: Option<PathBuf>,
    /// The policies to compare, joined by commas; what the scenario says unless given, or else drf.
    #[arg(long, value_name = "POLICIES")]
    policy: Option<String>,
    /// For all policies: how jobs rank within a queue.
    #[arg(long, value_name = "ORDER")]
    order: Option<Order>,
    /// For all policies: which of the agents that fit a task gets it.
    #[arg(long, value_name = "PLACEMENT")]
    placement: Option<Placement>,
    /// For all policies: what happens behind a job that does not fit, such as easy.
    #[arg(long, value_name = "BACKFILL")]
    backfill: Option<Backfill>,
    /// What running tasks are stopped for where nothing is free: none, priority, guarantee or both.
    #[arg(long)]
    preempt: Option<Preempt>,
    /// When to stop, if not when nothing is left to happen.
    #[arg(long, value_name = "TIME", value_parser = allot_sim::length)]
    until: Option<Span>,
    /// Agents of a log, such as `100x{cpus: 1}`, any number of times; one with all processors of its machine unless given.
    #[arg(long, value_name = "N x {RESOURCES}")]
    agents: Vec<AgentGroup>,
    /// Which rows of a log are used: strong leaves out rows that make no sense, raw keeps what can be run; strong unless given.
    #[arg(long, value_name = "FILTER")]
    filter: Option<Filter>,
    /// How long jobs of a log are said to run: requested or actual; requested unless given.
    #[arg(long, value_name = "WHICH")]
    estimates: Option<Estimates>,
    /// Which queue a job of a log goes to: that of its user, group or queue, or none; none unless given.
    #[arg(long, value_name = "BY")]
    queue_by: Option<QueueBy>,
    /// A list of nodes of a GPU cluster, as CSV.
    #[arg(long, value_name = "FILE", requires = "pods")]
    nodes: Option<PathBuf>,
    /// A list of pods that arrive there one by one, as CSV.
    #[arg(long, value_name = "FILE", requires = "nodes")]
    pods: Option<PathBuf>,
    /// How many times the GPUs there are the pods ask for together; 1.3 unless given.
    #[arg(long, value_name = "FACTOR", value_parser = input::demand)]
    demand: Option<f64>,
    /// Says in which order the pods arrive, and which arrive again; 1 unless given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print one JSON document a policy, each on a line of its own.
    #[arg(long)]
    json: bool,
    /// Leave the list of grants out of the JSON.
    #[arg(long)]
    no_grants: bool,
    /// Write when each job started, as CSV; with several policies, one file each with its name before the ending.
    #[arg(long, value_name = "FILE")]
    starts: Option<PathBuf>,
    /// Write a page with tables and charts that compare the policies to `index.html` in this folder, which is made.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

/// A policy as it was called, and what came of it.
struct Run {
    policy: String,
    outcome: Outcome,
    measures: Measures,
}

/// Simulates.
///
/// # Errors
/// Where the input cannot be read, or the engine does what it must not.
pub fn run(args: &SimulateArgs, output: &Output) -> Result<(), Failure> {
    let mut input = input::read(args)?;
    if let Some(until) = args.until {
        input.workload.until = Some(Time::ZERO + until);
    }
    input.remark.iter().for_each(|remark| note(&format!("allot: {remark}")));
    let policies = policies(args, &input)?;
    let json = args.json || output.is_json();
    let mut runs = Vec::new();
    for (name, policy) in &policies {
        let outcome = simulate(&input.workload, policy).map_err(|bug| failure(&bug))?;
        let measures = Measures::of(&input.workload, &outcome);
        let run = Run { policy: name.clone(), measures, outcome };
        if let Some(path) = &args.starts {
            write_starts(&starts_path(path, name, policies.len()), &document(&input.workload, &run, args))?;
        }
        if json {
            print_json(&document(&input.workload, &run, args))?;
        }
        if !json || args.report.is_some() {
            runs.push(run);
        }
    }
    if let Some(folder) = &args.report {
        report::write(folder, &input::title(args), &input.workload, &runs)?;
    }
    if json { Ok(()) } else { table::print(&input.workload, &runs, output) }
}

fn failure(bug: &SimulationError) -> Failure {
    Failure::Failed(bug.to_string())
}

/// The policies to run, with the choices of the scenario where they make none, and those of the flags above all; the choices
/// of each have to go together in the end. Each is called as it was written, unless such choices make it another.
fn policies(args: &SimulateArgs, input: &input::Input) -> Result<Vec<(String, Policy)>, Failure> {
    let flags = PolicyChoices {
        order: args.order,
        placement: args.placement,
        backfill: args.backfill,
        preempt: args.preempt,
    };
    let texts = match (&args.policy, &input.policy) {
        (Some(list), _) => Policy::split_list(list),
        (None, Some(own)) => vec![own.clone()],
        (None, None) => vec![allot_sim::Scenario::DEFAULT_POLICY.to_owned()],
    };
    let own = &input.choices;
    let choices = PolicyChoices {
        order: flags.order.or(own.order),
        placement: flags.placement.or(own.placement),
        backfill: flags.backfill.or(own.backfill),
        preempt: flags.preempt.or(own.preempt),
    };
    let policy = |text: &String| {
        let chosen = Policy::parse_over(text, &choices).and_then(|mut policy| {
            flags.apply(&mut policy);
            policy.checked()
        });
        let policy = chosen.map_err(|error| Failure::Usage(error.to_string()))?;
        input.workload.check(&policy).map_err(|error| Failure::Usage(error.to_string()))?;
        let is_as_written = Policy::parse(text).as_ref() == Ok(&policy);
        Ok((if is_as_written { text.clone() } else { policy.to_string() }, policy))
    };
    texts.iter().map(policy).collect()
}

fn document<'a>(workload: &'a Workload, run: &'a Run, args: &SimulateArgs) -> Document<'a> {
    let Run { policy, outcome, measures } = run;
    Document { policy, workload, outcome, measures, grants: !args.no_grants }
}

fn print_json(document: &Document<'_>) -> Result<(), Failure> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut stdout, document).map_err(|error| match error.io_error_kind() {
        Some(kind) => Failure::from(io::Error::from(kind)),
        None => Failure::internal(error),
    })?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}

/// Where the start times of a policy go.
fn starts_path(path: &Path, policy: &str, policies: usize) -> PathBuf {
    if policies < 2 {
        return path.to_owned();
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}.{}{ending}", policy.replace([':', '='], "-")))
}

fn write_starts(path: &Path, document: &Document<'_>) -> Result<(), Failure> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        document.write_starts(&mut file)?;
        file.flush()
    });
    written.map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))
}
