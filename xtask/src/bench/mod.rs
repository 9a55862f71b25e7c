//! The figures of `benches/README.md`, measured: each row starts a cluster of its own, as processes over a nats-server
//! that syncs every write, asks `allot bench` what it does, and stops it.

mod bare;
mod cluster;
mod detail;
mod failover;
mod figure;
mod handover;
mod hyperqueue;
mod machine;
mod process;
mod questions;
mod rows;
mod simulators;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::run::{cargo, root, run};
use crate::tools;
use cluster::Programs;
use rows::{ROWS, Row, Size};

/// What a cluster is made of, each a package with a program of the same name.
const PACKAGES: [&str; 7] = [
    "allot",
    "allot-registry",
    "allot-offers",
    "allot-dispatcher",
    "allot-allocator-drf",
    "allot-allocator-fifo",
    "allot-agent",
];
/// A machine that is busier than this before anything is started spoils what is measured.
const BUSY: f64 = 0.1;

/// What to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The rows to measure; all unless given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Names the rows and measures none
    #[arg(long)]
    list: bool,
    /// Divides the number of tasks and the length of time of each row, to see whether it works
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    divide: u32,
    /// How many times each rate is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Which build to measure
    #[arg(long, value_enum, default_value_t = Build::Release)]
    build: Build,
    /// Measures what was built before
    #[arg(long)]
    no_build: bool,
    /// Where to write all that was measured, as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench/figures.json")]
    json: PathBuf,
}

/// Builds of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Build {
    /// As it is released.
    Release,
    /// As tests run it.
    Dev,
}

impl Build {
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }

    fn profile(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }
}

/// Measures the rows and prints them as a table.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    let rows = chosen(&args.names)?;
    if args.list {
        rows.iter().for_each(|row| println!("{:<18} {}", row.name, row.about));
        return Ok(());
    }
    let nats_server = tools::nats_server()?;
    if !args.no_build {
        let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
        run(cargo().args(["build", "--locked", "--bins", "--profile", args.build.profile()]).args(packages))?;
    }
    let programs = Programs { nats_server, folder: target().join(args.build.folder()) };
    let size = Size { divide: args.divide, repeat: args.repeat };
    let mut figures = Vec::new();
    for row in rows {
        eprintln!("── {}: {}", row.name, row.about);
        let busy = machine::busy()?;
        if busy > BUSY {
            eprintln!(
                "   the machine is {:.0}% busy with something else: wait for that to end",
                busy * 100.0
            );
        }
        let measured =
            (row.measure)(&programs, size).with_context(|| format!("{} cannot be measured", row.name))?;
        for figure in &measured {
            eprintln!("   {}", figure.line());
            detail::lines(&figure.detail).iter().for_each(|line| eprintln!("      {line}"));
        }
        figures.extend(measured);
    }
    let path = root().join(&args.json);
    figure::write(&path, &figures)?;
    println!("{}", figure::table(&figures));
    println!("\nall that was measured: {}", path.display());
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let find = |name: &String| match ROWS.iter().find(|row| row.name == name) {
        Some(row) => Ok(row),
        None => {
            let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            bail!("there is no row {name:?}: the rows are {}", known.join(", "))
        }
    };
    names.iter().map(find).collect()
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
