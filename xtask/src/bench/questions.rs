//! How long questions about a job take to be answered in a large cluster.

use std::fmt::Write;
use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cluster::{Agents, Cluster, Programs};
use super::failover::until;
use super::figure::{Figure, Wanted};
use super::rows::Size;

/// Over so many queues.
const QUEUES: u32 = 10;

/// From the start of a command until it has answered: 10,000 agents, 100,000 jobs of one task that run and as many that wait.
pub(super) fn questions(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let (agents, running) = (size.of(10_000), size.of(100_000));
    let cluster = Cluster::start(programs, Agents::Modelled { agents, cpus: running / agents })?;
    submit(&cluster, running)?;
    until("all places are taken", || Ok(tasks(&cluster, "running")? == u64::from(running)))?;
    let last = submit(&cluster, running)?.to_string();
    until("as many wait", || Ok(tasks(&cluster, "pending")? == u64::from(running)))?;
    let plan = ["plan", "--cpus", "1", "--estimate", "10m", "--", "true"];
    let asked: [(&str, &[&str], f64); 4] = [
        ("plan, of a new job", &plan, 5.0),
        ("plan, of the job that waits behind all others", &["plan", "--job", &last], 5.0),
        ("why, of that job", &["why", &last], 1.0),
        ("job show, of that job", &["job", "show", &last], 1.0),
    ];
    asked.into_iter().map(|(what, words, most)| answered(&cluster, what, words, most, size)).collect()
}

#[allow(clippy::disallowed_methods, reason = "measures")]
fn answered(cluster: &Cluster, what: &str, words: &[&str], most: f64, size: Size) -> Result<Figure> {
    let mut took = Vec::new();
    for _ in 0..size.repeat {
        let since = Instant::now();
        cluster.allot(words)?;
        took.push(since.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    let figure = Figure::new("questions", what, took[took.len() / 2], "s").wanted(Wanted::AtMost(most));
    Ok(figure.with(json!({"all": took})))
}

/// Submits so many jobs, which take half an hour to an hour. Returns the last.
fn submit(cluster: &Cluster, jobs: u32) -> Result<u64> {
    let mut lines = String::new();
    for number in 0..jobs {
        let job = json!({
            "command": ["true"], "queue": format!("q{}", number % QUEUES),
            "resources": {"cpus": 1}, "estimate": format!("{}s", 1_800 + number % 1_800),
        });
        writeln!(lines, "{job}")?;
    }
    let path = cluster.dir().join("jobs.jsonl");
    fs::write(&path, lines)?;
    let last = cluster.allot(&["submit", "--lines", &path.display().to_string()])?;
    last["job"].as_u64().with_context(|| format!("what was submitted is not told: {last}"))
}

/// How many tasks of all queues are so.
fn tasks(cluster: &Cluster, how: &str) -> Result<u64> {
    let queues = cluster.allot(&["queues"])?;
    Ok(queues.as_array().into_iter().flatten().filter_map(|queue: &Value| queue[how].as_u64()).sum())
}
