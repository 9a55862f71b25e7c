//! The house's own commands: everything that CI runs, and what people need to work here.

mod bench;
mod chaos;
mod ci;
mod compose_test;
mod demo;
mod deny;
mod fuzz;
mod generated;
mod graph;
mod image;
mod licence;
mod mutate;
mod purity;
mod python;
mod run;
mod simulate;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::chaos::ChaosArgs;
use crate::generated::Mode;
use crate::image::Profile;
use crate::mutate::MutateArgs;
use crate::simulate::SimulateArgs;

/// The house's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Starts a cluster on this machine, runs jobs of several queues in it, shows them and stops
    Demo,
    /// Runs all that CI runs, in order, up to the first step that fails
    Ci {
        /// Begins with this step
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// Names the steps and runs none
        #[arg(long)]
        list: bool,
    },
    /// Generates the wire types in allot-proto from schemas/
    Codegen {
        /// Changes nothing, and fails where what is there is not what would be generated
        #[arg(long)]
        check: bool,
    },
    /// Generates the pages of docs/ that come from code
    Docs {
        /// Changes nothing, and fails where what is there is not what would be generated
        #[arg(long)]
        check: bool,
    },
    /// Checks that the pure crates are pure, and that dependencies point one way
    Purity,
    /// Checks licences, duplicate versions and sources of dependencies against deny.toml
    Deny,
    /// Fuzzes what comes from outside: every target, or one
    Fuzz {
        /// The target; all but `config`, which takes long to build, unless given
        target: Option<String>,
        /// How long each runs
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u32,
    },
    /// Gets the programs that tests and demonstrations need: nats-server, and a Python for the allocator in examples/
    Tools,
    /// Builds the programs of a release into dist/
    Dist,
    /// Builds the container image `allot` around the programs of a release
    Image,
    /// Builds the base images that are missing, on machines that cannot pull any
    BaseImages,
    /// Measures the figures of benches/README.md, each in a cluster of its own on this machine
    Bench(BenchArgs),
    /// Runs the whole control plane on virtual time under faults: `cargo xtask simulate --seeds 1000`
    Simulate(SimulateArgs),
    /// Tries deliberate bugs in a copy of the source, each of which the simulation has to notice
    Mutate(MutateArgs),
    /// Kills, stops, pauses and cuts off every part of a cluster at random while jobs run, heals it, and checks that nothing was
    /// lost or repeated
    #[command(disable_help_flag = true)]
    Chaos(ChaosArgs),
    /// Runs docker-compose.yml on images built here, and jobs in it
    ComposeTest,
}

fn main() -> ExitCode {
    match carry_out(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(task: Task) -> Result<()> {
    match task {
        Task::Demo => demo::demo(),
        Task::Ci { list: true, .. } => ci::list(),
        Task::Ci { from, .. } => ci::ci(from.as_deref()),
        Task::Codegen { check } => generated::codegen(Mode::checking(check)),
        Task::Docs { check } => generated::docs(Mode::checking(check)),
        Task::Purity => purity::purity(),
        Task::Deny => deny::deny(),
        Task::Fuzz { target, seconds } => fuzz::fuzz(target.as_deref(), seconds),
        Task::Tools => tools::tools(),
        Task::Dist => image::dist(Profile::Release).map(|path| println!("programs: {}", path.display())),
        Task::Image => image::image(Profile::Release),
        Task::BaseImages => image::base_images(),
        Task::Bench(args) => bench::bench(&args),
        Task::Simulate(args) => simulate::simulate(&args),
        Task::Mutate(args) => mutate::mutate(&args),
        Task::Chaos(args) => chaos::chaos(&args),
        Task::ComposeTest => compose_test::compose_test(),
    }
}
