//! Deliberate bugs, one at a time, in a copy of the source: the simulation has to notice each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::run::{cargo, root, run, succeeds};

/// The list of bugs.
const LIST: &str = "tests/simulation/mutations.toml";
/// What came of it when all were tried last.
const TABLE: &str = "tests/simulation/mutations.md";
/// So many seeds have to be enough.
const SEEDS: u32 = 500;
/// So much of what a check says of a fault is shown.
const MOST_CHARACTERS: usize = 140;

/// A deliberate bug.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    /// What is wrong with it, in words.
    name: String,
    /// Where.
    file: PathBuf,
    /// What stands there, once.
    from: String,
    /// What is to stand there.
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

/// What to try.
#[derive(Debug, clap::Args)]
pub(crate) struct MutateArgs {
    /// Only those whose name contains this
    only: Option<String>,
    /// How many seeds each bug has to be noticed in
    #[arg(long, default_value_t = SEEDS)]
    seeds: u32,
}

/// Tries every bug whose name contains `only`, or all, and then brings the table up to date.
pub(crate) fn mutate(args: &MutateArgs) -> Result<()> {
    let text = fs::read_to_string(root().join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let list: List = toml::from_str(&text).with_context(|| format!("{LIST} cannot be read"))?;
    let copy = Copy::new()?;
    let mut unseen = Vec::new();
    let mut table = vec![table_head()];
    let is_wanted =
        |mutation: &&Mutation| args.only.as_deref().is_none_or(|only| mutation.name.contains(only));
    for mutation in list.mutation.iter().filter(is_wanted) {
        let name = &mutation.name;
        match copy.try_one(mutation, args.seeds)? {
            Some(Seen { seed, fault }) => {
                println!("✓ {name}: seed {seed}: {fault}");
                table.push(format!("| {name} | {seed} | {} |", fault.replace('|', "\\|")));
            }
            None => {
                println!("✗ {name}: never noticed");
                table.push(format!("| {name} | **none** | |"));
                unseen.push(name.as_str());
            }
        }
    }
    if args.only.is_none() {
        fs::write(root().join(TABLE), table.join("\n") + "\n")
            .with_context(|| format!("cannot write {TABLE}"))?;
    }
    ensure!(unseen.is_empty(), "the simulation did not notice: {}", unseen.join(", "));
    Ok(())
}

fn table_head() -> String {
    format!(
        "# Deliberate bugs, and what noticed them\n\nWritten by `cargo xtask mutate`, which puts each bug of \
         [mutations.toml](mutations.toml) into a copy of the source and simulates the seeds that failed once, and those from 1 on, up to {SEEDS}, until a check \
         fails.\n\n| bug | first seed | what the check said |\n|---|---|---|"
    )
}

/// How a bug was noticed.
struct Seen {
    seed: String,
    fault: String,
}

/// The source, to be broken.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// A work tree of what is committed, with a target folder of its own.
    fn new() -> Result<Self> {
        let folder = root().join("target/mutations");
        if !folder.exists() {
            run(Command::new("git").args(["worktree", "add", "--detach", "--force"]).arg(&folder))?;
        }
        let copy = Self { folder };
        copy.git(&["checkout", "--quiet", "--force", "--detach", &head()?])?;
        ensure!(copy.simulates(), "the simulation does not even build as it is");
        Ok(copy)
    }

    fn git(&self, arguments: &[&str]) -> Result<()> {
        run(Command::new("git").arg("-C").arg(&self.folder).args(arguments))
    }

    fn simulates(&self) -> bool {
        succeeds(&mut self.build())
    }

    fn build(&self) -> Command {
        let mut build = cargo();
        build.args(["build", "--quiet", "--package", "allot-simulation", "--manifest-path"]);
        build.arg(self.folder.join("Cargo.toml"));
        build
    }

    /// How the bug was noticed; nothing where it was not.
    fn try_one(&self, mutation: &Mutation, seeds: u32) -> Result<Option<Seen>> {
        let Mutation { name, file, from, to } = mutation;
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", file.display()))?;
        let places = text.matches(from.as_str()).count();
        if places != 1 {
            bail!(
                "{name}: what is to be changed stands {places} times in {}: bring {LIST} up to date",
                file.display()
            );
        }
        fs::write(&path, text.replacen(from.as_str(), to, 1))?;
        let seen = if self.simulates() { Ok(self.seeds(seeds)?) } else { Err(()) };
        fs::write(&path, text)?;
        seen.or_else(|()| bail!("{name}: it does not build any more: bring {LIST} up to date"))
    }

    fn seeds(&self, seeds: u32) -> Result<Option<Seen>> {
        let program: &Path = &self.folder.join("target/debug/allot-simulation");
        let mut command = Command::new(program);
        command.args(["--from", "1", "--seeds", &seeds.to_string(), "--once", "--fail-fast"]);
        let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines().skip_while(|line| !line.starts_with('✗'));
        let seed = lines.next().and_then(|line| line.split_whitespace().nth(2));
        let fault = lines.next().unwrap_or_default().trim().chars().take(MOST_CHARACTERS).collect();
        let seed = seed.filter(|_| !output.status.success()).map(str::to_owned);
        Ok(seed.map(|seed| Seen { seed, fault }))
    }
}

fn head() -> Result<String> {
    let output = Command::new("git").current_dir(root()).args(["rev-parse", "HEAD"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
