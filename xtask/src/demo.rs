//! A cluster on this machine with jobs of several queues in it, shown with the commands that a user would type.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::run::{cargo, output, root, run};
use crate::tools;

/// A cluster that runs as long as this lives.
struct Cluster {
    program: PathBuf,
    process: Child,
    url: String,
}

/// Gets what is needed, builds, starts a cluster, runs jobs, shows them and stops.
pub(crate) fn demo() -> Result<()> {
    let nats_server = tools::nats_server()?;
    say("building allot (the first time takes some minutes)");
    run(cargo().args(["build", "--package", "allot", "--bin", "allot"]))?;
    let data_dir = root().join("target/demo");
    if data_dir.exists() {
        std::fs::remove_dir_all(&data_dir).with_context(|| format!("cannot empty {}", data_dir.display()))?;
    }
    say(
        "starting a cluster: nats-server, registry, offers, dispatcher, two agents of 6 cpus, and policy drf",
    );
    let cluster = Cluster::start(&nats_server, &data_dir)?;
    let shown = show(&cluster);
    say("stopping the cluster");
    cluster.stop()?;
    shown
}

fn show(cluster: &Cluster) -> Result<()> {
    cluster.allot(&["agents"])?;
    say("two queues share the agents; research is entitled to twice as much as web");
    cluster.allot(&["queue", "set", "research", "--weight", "2"])?;
    let train = "echo training part $ALLOT_TASK_INDEX of $ALLOT_TASK_COUNT with $ALLOT_CPUS cpus; sleep 1";
    cluster.allot(&[
        "submit", "--queue", "research", "--name", "train", "--tasks", "40", "--", "sh", "-c", train,
    ])?;
    let render = "echo frame $ALLOT_TASK_INDEX; sleep 1";
    cluster.allot(&[
        "submit", "--queue", "web", "--name", "render", "--tasks", "20", "--", "sh", "-c", render,
    ])?;
    let report = "echo all parts are trained";
    let report =
        ["submit", "--queue", "research", "--name", "report", "--after", "1", "--", "sh", "-c", report];
    cluster.allot(&report)?;
    say("the policy keeps the shares at 2 to 1 while both have work");
    cluster.until_shared(2, 12)?;
    cluster.allot(&["queues"])?;
    say("a command runs on the cluster as if it ran here");
    cluster.allot(&["run", "--queue", "web", "--", "sh", "-c", "echo hello from $ALLOT_AGENT"])?;
    say("when the first job has finished, the one after it runs");
    cluster.allot(&[
        "submit", "--queue", "research", "--name", "last", "--after", "3", "--wait", "--", "true",
    ])?;
    cluster.allot(&["jobs"])?;
    cluster.allot(&["job", "show", "1.0"])?;
    cluster.allot(&["logs", "1.7"])?;
    cluster.allot(&["logs", "3.0"])
}

impl Cluster {
    fn start(nats_server: &Path, data_dir: &Path) -> Result<Self> {
        let program = root().join("target/debug/allot");
        let mut process = Command::new(&program)
            .args([
                "-o",
                "json",
                "up",
                "--port",
                "0",
                "--agents",
                "2",
                "--agent-resources",
                "cpus=6,mem=2GiB",
            ])
            .args(["--policy", "drf", "--data-dir"])
            .arg(data_dir)
            .env("ALLOT_NATS_SERVER", nats_server)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let said = process.stdout.take().context("allot up has no output")?;
        let mut ready = String::new();
        BufReader::new(said).read_line(&mut ready)?;
        let url = between(&ready, "\"url\":\"", "\"").context("allot up did not come up")?;
        Ok(Self { program, process, url: url.to_owned() })
    }

    /// Runs a command of a user, and shows both.
    fn allot(&self, words: &[&str]) -> Result<()> {
        let quoted = words
            .iter()
            .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
        println!("\n$ allot {}", quoted.collect::<Vec<_>>().join(" "));
        run(Command::new(&self.program).env("ALLOT_NATS", &self.url).args(words))
    }

    /// Waits until that many queues have tasks running, so many together.
    fn until_shared(&self, queues: usize, tasks: u64) -> Result<()> {
        const LOOKS: usize = 400;
        for _ in 0..LOOKS {
            let asked = ["-o", "json", "queues"];
            let said = output(Command::new(&self.program).env("ALLOT_NATS", &self.url).args(asked))?;
            let number = |text: &str| {
                text.trim_start().split([',', '}']).next().and_then(|n| n.trim().parse::<u64>().ok())
            };
            let running: Vec<u64> =
                said.split("\"running\":").skip(1).filter_map(number).filter(|count| *count > 0).collect();
            if running.len() >= queues && running.iter().sum::<u64>() >= tasks {
                return Ok(());
            }
        }
        anyhow::bail!("{tasks} tasks of {queues} queues never ran at the same time")
    }

    /// Stops the cluster as Ctrl-C does.
    fn stop(mut self) -> Result<()> {
        run(Command::new("kill").args(["-TERM", &self.process.id().to_string()]))?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the cluster did not stop cleanly: {status}");
        Ok(())
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

fn say(text: &str) {
    println!("\n── {text}");
}
