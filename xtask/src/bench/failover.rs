//! How long nothing starts where services are killed.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cluster::{Agents, Cluster, MISSED_AFTER, Programs, SERVICES};
use super::figure::{Figure, Wanted};
use super::rows::Size;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than a lease that is left stands.
const LEASES_END_AFTER: Duration = Duration::from_secs(4);

/// A full cluster, and the jobs that it is asked to run.
pub(super) struct Full {
    pub(super) cluster: Cluster,
    probe: String,
}

impl Full {
    /// Of so many agents with so many running tasks, and room for more.
    pub(super) fn start(programs: &Programs, agents: u32, tasks: u32, instances: usize) -> Result<Self> {
        let cpus = tasks / agents + 10;
        let cluster = Cluster::start_several(programs, Agents::Modelled { agents, cpus }, instances)?;
        let job = |name: &str, job: Value| {
            let path = cluster.dir().join(name);
            fs::write(&path, job.to_string())?;
            anyhow::Ok(path.display().to_string())
        };
        let full = json!({"command": ["true"], "tasks": tasks, "resources": {"cpus": 1}});
        let full = job("full.json", full)?;
        let probe = json!({"command": ["true"], "executor": "noop", "resources": {"cpus": 1}});
        let probe = job("probe.json", probe)?;
        cluster.allot(&["submit", &full])?;
        until("all tasks run", || {
            let jobs = cluster.allot(&["jobs", "--limit", "1"])?;
            Ok(jobs["jobs"][0]["counts"]["running"] == tasks)
        })?;
        Ok(Self { cluster, probe })
    }

    /// Seconds until a job that is submitted now has run.
    fn probe(&self, since: Instant) -> Result<f64> {
        self.cluster.allot(&["submit", "--wait", &self.probe])?;
        Ok(since.elapsed().as_secs_f64())
    }

    /// How long it takes from when what was killed is started until a job has run, several times.
    #[allow(clippy::disallowed_methods, reason = "measures; a lease ends by itself")]
    fn restarts(
        &mut self,
        programs: &Programs,
        size: Size,
        kill: impl Fn(&mut Cluster) -> Result<()>,
    ) -> Result<Vec<f64>> {
        let mut took = Vec::new();
        for _ in 0..size.repeat {
            kill(&mut self.cluster)?;
            std::thread::sleep(LEASES_END_AFTER);
            let since = Instant::now();
            self.cluster.start_killed(programs)?;
            took.push(self.probe(since)?);
        }
        Ok(took)
    }

    /// The process of the active instance, once there is a standby that has read all.
    fn active(&self, service: &str) -> Result<u32> {
        let mut pid = None;
        until("there is an active instance and a standby", || {
            pid = if service.starts_with("allocator") { self.deciding() } else { self.writing(service) }?;
            Ok(pid.is_some())
        })?;
        pid.context("nothing is active")
    }

    fn writing(&self, service: &str) -> Result<Option<u32>> {
        let name = format!("allot-{service}");
        let all = self.cluster.allot(&["services"])?;
        let all: Vec<&Value> =
            all.as_array().into_iter().flatten().filter(|one| one["name"] == *name).collect();
        let is = |role: &'static str| move |one: &&&Value| one["standing"]["role"] == role;
        let follows = all.iter().filter(is("standby")).any(|one| one["behind"] == 0);
        let active = all.iter().find(is("active")).and_then(|one| one["pid"].as_u64());
        Ok(active.filter(|_| follows).and_then(|pid| u32::try_from(pid).ok()))
    }

    fn deciding(&self) -> Result<Option<u32>> {
        let view = self.cluster.allot(&["policy"])?;
        let all = view["allocators"].as_array().cloned().unwrap_or_default();
        let active = all.iter().find(|one| one["active"] == true).filter(|_| all.len() > 1);
        // An instance is called HOST-PID-RANDOM.
        let pid = active.and_then(|one| one["instance"].as_str()?.rsplit('-').nth(1)?.parse().ok());
        Ok(pid)
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "waits for another program, which says nothing when it is ready"
)]
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    // What is asked may be the very service that is away.
    while !is_so().unwrap_or(false) {
        if begun.elapsed() > PATIENCE {
            bail!("after {} s still not so: {what}", PATIENCE.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// From when the active instance of each service is killed until a task has run.
#[allow(clippy::disallowed_methods, reason = "measures")]
pub(super) fn failover(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let mut full = Full::start(programs, 1_000, size.of(100_000), 2)?;
    let mut figures = Vec::new();
    for service in SERVICES {
        let mut took = Vec::new();
        for _ in 0..size.of(20) {
            let pid = full.active(service)?;
            let since = Instant::now();
            full.cluster.kill(pid)?;
            took.push(full.probe(since)?);
            full.cluster.start_killed(programs)?;
        }
        took.sort_by(f64::total_cmp);
        let worst = took.last().copied().unwrap_or(0.0);
        let what = format!("the active {service} is killed, worst of {}", took.len());
        let figure = Figure::new("failover", what, worst, "s").wanted(Wanted::AtMost(2.0));
        figures.push(figure.with(json!({"median": took[took.len() / 2], "all": took})));
    }
    Ok(figures)
}

/// From when all services are started, with a ledger that has tasks running, until another has run.
pub(super) fn cold(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let mut full = Full::start(programs, size.of(40_000), size.of(400_000), 1)?;
    let took = full.restarts(programs, size, Cluster::kill_services)?;
    Ok(vec![restarted("cold", "all services are killed and started", took).wanted(Wanted::AtMost(5.0))])
}

/// From when the allocator, or all services, are started with jobs waiting that fit nowhere, until another job has run.
pub(super) fn cold_pending(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let mut full = Full::start(programs, 100, size.of(1_000), 1)?;
    let jobs = size.of(1_000_000);
    submit_to_wait(&full.cluster, jobs)?;
    until("all jobs wait", || {
        let queues = full.cluster.allot(&["queues"])?;
        let pending = |queue: &Value| queue["pending"].as_u64().unwrap_or(0);
        Ok(queues.as_array().into_iter().flatten().map(pending).sum::<u64>() == u64::from(jobs))
    })?;
    let allocator = full.restarts(programs, size, |cluster| cluster.kill_service("allocator-drf"))?;
    let all = full.restarts(programs, size, Cluster::kill_services)?;
    Ok(vec![
        restarted("cold-pending", "the allocator is killed and started", allocator)
            .wanted(Wanted::AtMost(3.0)),
        restarted("cold-pending", "all services are killed and started", all),
    ])
}

/// From when an agent is killed until its task, which may be tried again, runs on another.
#[allow(clippy::disallowed_methods, reason = "measures")]
pub(super) fn elsewhere(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let times = size.of(10);
    let mut cluster = Cluster::start(programs, Agents::Apart { agents: times + 1, cpus: 1 })?;
    let job = json!({"command": ["true"], "resources": {"cpus": 1}, "retries": 1, "on_unreachable": "retry"});
    let path = cluster.dir().join("job.json");
    fs::write(&path, job.to_string())?;
    let mut took = Vec::new();
    for number in 1..=times {
        let id = cluster.allot(&["submit", &path.display().to_string()])?["job"].to_string();
        let agent = running_on(&cluster, &id, None)?;
        let since = Instant::now();
        cluster.kill_agent(&agent)?;
        running_on(&cluster, &id, Some(&agent))?;
        took.push(since.elapsed().as_secs_f64());
        if number < times {
            cluster.allot(&["cancel", &id])?;
        }
    }
    took.sort_by(f64::total_cmp);
    let (worst, median) = (took.last().copied().unwrap_or(0.0), took[took.len() / 2]);
    let what = format!("an agent is killed, worst of {}", took.len());
    let most = MISSED_AFTER.as_secs_f64() + 0.5;
    let figure = Figure::new("elsewhere", what, worst, "s").wanted(Wanted::AtMost(most));
    Ok(vec![figure.with(json!({"median": median, "all": took}))])
}

/// The agent that the task of a job runs on, once there is one, and another than this.
#[allow(clippy::disallowed_methods, reason = "nobody says when it is so")]
fn running_on(cluster: &Cluster, job: &str, but: Option<&str>) -> Result<String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let shown = cluster.allot(&["job", "show", job])?;
        let mut tries = shown["runs"].as_array().into_iter().flatten();
        let agent = tries.find(|last| last["state"] == "running").and_then(|last| last["agent"].as_str());
        if let Some(agent) = agent.filter(|agent| Some(*agent) != but) {
            return Ok(agent.to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("after {} s the task of job {job} still does not run", PATIENCE.as_secs())
}

/// Submits so many jobs of ten queues that ask for more than any agent has.
fn submit_to_wait(cluster: &Cluster, jobs: u32) -> Result<()> {
    let mut lines = String::new();
    for number in 0..jobs {
        let (queue, cpus) = (format!("q{}", number % 10), 10_000 + number % 100);
        let job = json!({"command": ["true"], "queue": queue, "name": format!("job {number}"), "resources": {"cpus": cpus}});
        writeln!(lines, "{job}")?;
    }
    let path = cluster.dir().join("jobs.jsonl");
    fs::write(&path, lines)?;
    cluster.allot(&["submit", "--lines", &path.display().to_string()]).map(|_| ())
}

fn restarted(row: &'static str, what: &str, mut took: Vec<f64>) -> Figure {
    took.sort_by(f64::total_cmp);
    Figure::new(row, what, took[took.len() / 2], "s").with(json!({"all": took}))
}
