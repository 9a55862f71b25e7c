//! All that CI runs. A step is a name and a function; a new one is a line in [`STEPS`].

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::generated::{self, Mode};
use crate::run::{cargo, root, run, succeeds};
use crate::{chaos, compose_test, deny, fuzz, purity, simulate, tools};

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// The steps in order: what is quick and fails often comes first.
const STEPS: &[Step] = &[
    Step { name: "fmt", run: fmt },
    Step { name: "purity", run: purity::purity },
    Step { name: "deny", run: deny::deny },
    Step { name: "clippy", run: clippy },
    Step { name: "codegen", run: || generated::codegen(Mode::Check) },
    Step { name: "docs", run: || generated::docs(Mode::Check) },
    Step { name: "tools", run: tools::tools },
    Step {
        name: "build",
        run: || run(cargo().args(["build", "--quiet", "--locked", "--workspace", "--all-targets"])),
    },
    Step { name: "test", run: test },
    Step { name: "simulate", run: simulate::simulate_in_ci },
    Step { name: "chaos", run: chaos::chaos_in_ci },
    Step { name: "doctest", run: || run(cargo().args(["test", "--quiet", "--workspace", "--doc"])) },
    Step { name: "fuzz", run: fuzz::fuzz_in_ci },
    Step { name: "compose", run: compose_test::compose_test },
];

/// Cargo does not see the files of the job orders, which are modules of a list that a macro reads.
fn fmt() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    let orders = root().join("crates/allot-engine/src/order");
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024", "--check"]);
    for entry in fs::read_dir(&orders).with_context(|| format!("cannot read {}", orders.display()))? {
        rustfmt.arg(entry?.path());
    }
    run(&mut rustfmt)
}

/// Runs the steps from `from` on, up to the first that fails, and says how long each took.
pub(crate) fn ci(from: Option<&str>) -> Result<()> {
    let mut summary = Vec::new();
    for step in &STEPS[first(from)?..] {
        println!("\n── {} ──", step.name);
        let (took, result) = timed(step.run);
        let failed = result.is_err();
        summary.push(format!(
            "{} {:<12} {:>7.1}s",
            if failed { "✗" } else { "✓" },
            step.name,
            took.as_secs_f64()
        ));
        if failed {
            print_summary(&summary);
            return result.with_context(|| {
                format!(
                    "step {name} failed; once it is mended: `cargo xtask ci --from {name}`",
                    name = step.name
                )
            });
        }
    }
    print_summary(&summary);
    Ok(())
}

/// Names the steps.
pub(crate) fn list() -> Result<()> {
    STEPS.iter().for_each(|step| println!("{}", step.name));
    Ok(())
}

fn first(from: Option<&str>) -> Result<usize> {
    let Some(from) = from else { return Ok(0) };
    let Some(place) = STEPS.iter().position(|step| step.name == from) else {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step {from:?}: the steps are {}", names.join(", "));
    };
    Ok(place)
}

#[allow(clippy::disallowed_methods, reason = "a stopwatch for people to look at")]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn print_summary(summary: &[String]) {
    println!("\n{}", summary.join("\n"));
}

fn clippy() -> Result<()> {
    run(cargo().args([
        "clippy",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Where the random cases of properties begin, so that CI says the same of the same tree.
const PROPERTIES_FROM: (&str, &str) = ("PROPTEST_RNG_SEED", "1");

/// All tests but those in documentation, with nextest where it is installed.
fn test() -> Result<()> {
    let nextest = succeeds(cargo().args(["nextest", "--version"]));
    let runner: &[&str] =
        if nextest { &["nextest", "run", "--no-fail-fast"] } else { &["test", "--all-targets"] };
    let (name, seed) = PROPERTIES_FROM;
    let seed = std::env::var(name).unwrap_or_else(|_| seed.to_owned());
    run(cargo().args(runner).arg("--workspace").env(name, seed))
}
