//! The simulator beside AccaSim, where that can be found, on the same part of a log.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::cluster::Programs;
use super::figure::Figure;
use super::hyperqueue::{NOT_THERE, python};
use super::rows::Size;
use crate::run::root;

const LOG: &str = "swf/SDSC-SP2-1998-4.2-cln.swf.gz";
const CORES: u32 = 128;

/// The first 20,000 jobs of SDSC-SP2, first come first served, from the start of the program to its end.
pub(super) fn simulators(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let jobs = size.of(20_000);
    let dir = tempfile::tempdir()?;
    let part = dir.path().join("part.swf");
    std::fs::write(&part, first_jobs(jobs)?)?;
    let rate = |seconds: f64| f64::from(jobs) / seconds;
    let ours = rate(simulate(programs, &part)?);
    let mut figures = vec![Figure::new("simulators", "allot simulate, SDSC-SP2, fifo", ours, "jobs/s")];
    match accasim(&part)? {
        None => eprintln!("   AccaSim is not there: not measured"),
        Some(said) => {
            let theirs = rate(said["seconds"].as_f64().context("AccaSim took no time")?);
            figures.push(Figure::new("simulators", "AccaSim, the same", theirs, "jobs/s").with(said));
            figures.push(Figure::new("simulators", "times AccaSim", ours / theirs, ""));
        }
    }
    Ok(figures)
}

/// The head of the log, and so many jobs of it.
fn first_jobs(jobs: u32) -> Result<String> {
    let beside = || root().join("../shared/workloads");
    let path = std::env::var_os("ALLOT_WORKLOADS").map_or_else(beside, PathBuf::from).join(LOG);
    let file = std::fs::File::open(&path).with_context(|| {
        format!("there is no log {}; set ALLOT_WORKLOADS to where logs are", path.display())
    })?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
    let head = text.lines().filter(|line| line.starts_with(';'));
    let rows = text.lines().filter(|line| !line.starts_with(';')).take(usize::try_from(jobs)?);
    Ok(head.chain(rows).flat_map(|line| [line, "\n"]).collect())
}

/// How many seconds it takes, the fastest of three.
#[allow(clippy::disallowed_methods, reason = "a stopwatch")]
fn simulate(programs: &Programs, log: &Path) -> Result<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..3 {
        let mut command = Command::new(programs.folder.join("allot"));
        let agents = format!("1x{{cpus: {CORES}}}");
        command.arg("simulate").arg(log).args(["--agents", &agents, "--policy", "fifo:backfill=none"]);
        let since = Instant::now();
        let status = command.args(["--json", "--no-grants"]).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "allot simulate: {status}");
        fastest = fastest.min(since.elapsed().as_secs_f64());
    }
    Ok(fastest)
}

fn accasim(log: &Path) -> Result<Option<Value>> {
    let script = root().join("benches/run_accasim.py");
    let mut command = Command::new(python("accasim"));
    let said = command.arg(script).args(["--cores", &CORES.to_string()]).arg(log).output();
    let said = said.context("cannot start python3")?;
    match said.status.code() {
        Some(0) => {
            let text = String::from_utf8(said.stdout)?;
            let last = text.lines().last().context("the script says nothing")?;
            Ok(Some(serde_json::from_str(last).unwrap_or_else(|_| json!({}))))
        }
        Some(NOT_THERE) => Ok(None),
        _ => bail!("AccaSim could not be measured: {}", String::from_utf8_lossy(&said.stderr)),
    }
}
