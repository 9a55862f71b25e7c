//! The rows: what each measures, and how.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cluster::{Agents, Cluster, Programs};
use super::figure::{Figure, Wanted};
use super::{bare, failover, handover, hyperqueue, questions, simulators};

const MB: f64 = 1e6;
/// What processes run.
const PROGRAM: &str = "/bin/true";
/// The cluster that runs nothing.
const EIGHT: Agents = Agents::Real { agents: 8, cpus: 16 };

/// How large rows are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) divide: u32,
    pub(crate) repeat: u32,
}

impl Size {
    pub(super) fn of(self, full: u32) -> u32 {
        (full / self.divide).max(1)
    }
}

/// A row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) measure: fn(&Programs, Size) -> Result<Vec<Figure>>,
}

/// All rows, in the order of the table.
pub(crate) const ROWS: [Row; 16] = [
    Row { name: "array", about: "one job of 100,000 noop tasks, 8 agents of 16 cpus", measure: array },
    Row {
        name: "separate",
        about: "100,000 separate noop jobs of one client, 8 agents of 16 cpus",
        measure: separate,
    },
    Row {
        name: "process",
        about: "/bin/true, output captured, 2 at a time, beside a bare loop and HyperQueue",
        measure: process,
    },
    Row {
        name: "latency",
        about: "an idle cluster: one job at a time, publication to process",
        measure: latency,
    },
    Row {
        name: "freed",
        about: "from the end of a task to the start of the next on the agent",
        measure: freed,
    },
    Row {
        name: "pending-array",
        about: "memory with 1,000,000 tasks of one job waiting",
        measure: pending_array,
    },
    Row { name: "pending-separate", about: "memory with 100,000 jobs waiting", measure: pending_separate },
    Row { name: "flood", about: "1,000,000 separate noop jobs published at once", measure: flood },
    Row { name: "idle", about: "1,000 agents that beat and do nothing", measure: idle },
    Row {
        name: "failover",
        about: "a service is killed: 1,000 agents, 100,000 running tasks, a standby of each",
        measure: failover::failover,
    },
    Row {
        name: "cold",
        about: "all services are killed and started: 40,000 agents, 400,000 running tasks",
        measure: failover::cold,
    },
    Row {
        name: "cold-pending",
        about: "the allocator, or all services, are killed and started: 1,000,000 jobs waiting",
        measure: failover::cold_pending,
    },
    Row {
        name: "elsewhere",
        about: "an agent is killed, with a timeout of 3 s: until its task runs on another",
        measure: failover::elsewhere,
    },
    Row {
        name: "handover",
        about: "the policy changes hands under a flow of jobs: 1,000 agents, 100,000 running tasks",
        measure: handover::handover,
    },
    Row {
        name: "questions",
        about: "allot plan, why and job show: 10,000 agents, 100,000 running jobs, as many waiting",
        measure: questions::questions,
    },
    Row {
        name: "simulators",
        about: "20,000 jobs of SDSC-SP2, first come first served, beside AccaSim",
        measure: simulators::simulators,
    },
];

fn array(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let words = format!("--executor noop --tasks {}", size.of(100_000));
    let measured = repeated(programs, EIGHT, &words, size)?;
    let (rate, run) = median(measured, "tasks_per_s")?;
    let cpu = Figure::new(
        "array",
        "CPU time of all services but agents",
        cpu_a_task(&run, "control_plane")?,
        "µs a task",
    );
    let rate =
        Figure::new("array", "one job of noop tasks", rate, "tasks/s").wanted(Wanted::AtLeast(100_000.0));
    Ok(vec![rate.with(run), cpu])
}

fn separate(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let tasks = size.of(100_000);
    let words = format!("--executor noop --separate --tasks {tasks}");
    let measured = repeated(programs, EIGHT, &words, size)?;
    let (rate, run) = median(measured, "jobs_per_s")?;
    // Each of these waits for the disk: fewer tell as much.
    let words = format!("--executor noop --separate --batch 1 --tasks {}", size.of(20_000));
    let measured = repeated(programs, EIGHT, &words, Size { repeat: 1, ..size })?;
    let (one_by_one, alone) = median(measured, "jobs_per_s")?;
    let cpu = Figure::new(
        "separate",
        "CPU time of all services but agents",
        cpu_a_task(&run, "control_plane")?,
        "µs a job",
    );
    let rate =
        Figure::new("separate", "noop jobs of one task", rate, "jobs/s").wanted(Wanted::AtLeast(20_000.0));
    let alone = Figure::new("separate", "the same, published one by one", one_by_one, "jobs/s").with(alone);
    Ok(vec![rate.with(run), cpu, alone])
}

fn process(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    const IN_FLIGHT: u32 = 2;
    let tasks = size.of(6_000).max(IN_FLIGHT);
    let cluster = Cluster::start(programs, Agents::Real { agents: 1, cpus: IN_FLIGHT })?;
    cluster.bench(&format!("--tasks {} -- {PROGRAM}", size.of(500)))?;
    let (mut bares, mut runs, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..size.repeat {
        bares.push(json!({"rate": bare::spawn_and_wait(PROGRAM, tasks, IN_FLIGHT)?}));
        runs.push(cluster.bench(&format!("--tasks {tasks} -- {PROGRAM}"))?);
        peers.extend(hyperqueue::measure(PROGRAM, tasks, IN_FLIGHT)?);
    }
    drop(cluster);
    let (bare, _) = median(bares, "rate")?;
    let (ours, run) = median(runs, "tasks_per_s")?;
    let mut figures = vec![
        Figure::new("process", "one agent", ours, "processes/s").with(run),
        Figure::new("process", "a bare loop that spawns and waits", bare, "processes/s"),
        Figure::new("process", "of the bare loop", ours / bare, "").wanted(Wanted::AtLeast(0.7)),
    ];
    if peers.is_empty() {
        eprintln!("   HyperQueue is not here: benches/README.md says how to get it");
    } else {
        let (seconds, peer) = median(peers, "seconds")?;
        let theirs = f64::from(tasks) / seconds;
        figures.push(Figure::new("process", "HyperQueue", theirs, "processes/s").with(peer));
        figures
            .push(Figure::new("process", "times HyperQueue", ours / theirs, "").wanted(Wanted::AtLeast(2.5)));
    }
    Ok(figures)
}

fn latency(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let words = format!("--separate --in-flight 1 --tasks {} -- {PROGRAM}", size.of(2_000));
    let agents = Agents::Real { agents: 1, cpus: 4 };
    let run = only(repeated(programs, agents, &words, Size { repeat: 1, ..size })?)?;
    let at = |quantile| stage(&run, "published_started", quantile);
    let (p50, p99) = (at("p50_us")?, at("p99_us")?);
    Ok(vec![
        Figure::new("latency", "publication to process, p50", p50 / 1e3, "ms").wanted(Wanted::AtMost(2.0)),
        Figure::new("latency", "publication to process, p99", p99 / 1e3, "ms")
            .wanted(Wanted::AtMost(5.0))
            .with(run),
    ])
}

fn freed(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let words = format!("--tasks {} -- sleep 0.05", size.of(2_000));
    let agents = Agents::Real { agents: 1, cpus: 4 };
    let run = only(repeated(programs, agents, &words, Size { repeat: 1, ..size })?)?;
    let (p50, p99) = (stage(&run, "freed_started", "p50_us")?, stage(&run, "freed_started", "p99_us")?);
    Ok(vec![
        Figure::new("freed", "a place free to the next process, p50", p50 / 1e3, "ms")
            .wanted(Wanted::AtMost(1.5)),
        Figure::new("freed", "a place free to the next process, p99", p99 / 1e3, "ms").with(run),
    ])
}

fn pending_array(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let words = format!("--pending --executor noop --tasks {}", size.of(1_000_000));
    pending(programs, "pending-array", &words, 60.0)
}

fn pending_separate(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let words = format!("--pending --executor noop --separate --tasks {}", size.of(100_000));
    pending(programs, "pending-separate", &words, 250.0)
}

fn pending(programs: &Programs, row: &'static str, words: &str, most_mb: f64) -> Result<Vec<Figure>> {
    let run = Cluster::start(programs, EIGHT)?.bench(words)?;
    let memory = number(&run, "/cost/control_plane/mem_bytes")? / MB;
    let peak = number(&run, "/cost/control_plane/peak_mem_bytes")? / MB;
    let nats = number(&run, "/nats_server/mem_bytes")? / MB;
    Ok(vec![
        Figure::new(row, "memory of all services but agents", memory, "MB")
            .wanted(Wanted::AtMost(most_mb))
            .with(run),
        Figure::new(row, "the most they had", peak, "MB"),
        Figure::new(row, "memory of nats-server", nats, "MB"),
    ])
}

fn flood(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let words = format!("--executor noop --separate --tasks {}", size.of(1_000_000));
    let run = Cluster::start(programs, EIGHT)?.bench(&words)?;
    let rate = number(&run, "/jobs_per_s")?;
    let peak = number(&run, "/cost/control_plane/peak_mem_bytes")? / MB;
    Ok(vec![
        Figure::new("flood", "noop jobs of one task", rate, "jobs/s").with(run),
        Figure::new("flood", "the most memory of all services but agents", peak, "MB"),
    ])
}

fn idle(programs: &Programs, size: Size) -> Result<Vec<Figure>> {
    let seconds = size.of(60);
    let cluster = Cluster::start(programs, Agents::Modelled { agents: 1_000, cpus: 16 })?;
    // Until all have said hello and settled into their beats.
    cluster.bench(&format!("--idle {}s", size.of(10)))?;
    let run = cluster.bench(&format!("--idle {seconds}s"))?;
    let share = number(&run, "/control_plane_of_a_core")? * 100.0;
    let nats = number(&run, "/nats_server/cpu_us")? / number(&run, "/cost/took_us")? * 100.0;
    Ok(vec![
        Figure::new("idle", "CPU time of all services but agents", share, "% of a core")
            .wanted(Wanted::AtMost(3.0))
            .with(run),
        Figure::new("idle", "CPU time of nats-server", nats, "% of a core"),
    ])
}

/// Runs it as often as wanted in one cluster, after once at a tenth of the size to warm up.
fn repeated(programs: &Programs, agents: Agents, words: &str, size: Size) -> Result<Vec<Value>> {
    let cluster = Cluster::start(programs, agents)?;
    cluster.bench(&tenth(words))?;
    (0..size.repeat).map(|_| cluster.bench(words)).collect()
}

/// The same words with a tenth of the tasks.
fn tenth(words: &str) -> String {
    let mut after_tasks = false;
    let part = |word: &str| {
        let tasks = word.parse::<u32>().ok().filter(|_| after_tasks);
        after_tasks = word == "--tasks";
        tasks.map_or_else(|| word.to_owned(), |tasks| (tasks / 10).max(1).to_string())
    };
    words.split_whitespace().map(part).collect::<Vec<_>>().join(" ")
}

/// The run in the middle, by a number that each has.
fn median(runs: Vec<Value>, by: &str) -> Result<(f64, Value)> {
    let value = |run: &Value| run[by].as_f64().with_context(|| format!("a run does not tell {by}"));
    let mut runs: Vec<(f64, Value)> =
        runs.into_iter().map(|run| Ok((value(&run)?, run))).collect::<Result<_>>()?;
    runs.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle).context("nothing was run")
}

fn only(runs: Vec<Value>) -> Result<Value> {
    runs.into_iter().next().context("nothing was run")
}

fn number(run: &Value, pointer: &str) -> Result<f64> {
    run.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("a run does not tell {pointer}"))
}

/// A quantile of a stage, microseconds.
pub(super) fn stage(run: &Value, name: &str, quantile: &str) -> Result<f64> {
    let stages = run["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = stages.iter().find(|of| of["stage"] == name).and_then(|of| of[quantile].as_f64());
    found.with_context(|| format!("a run does not tell {quantile} of {name}"))
}

fn cpu_a_task(run: &Value, of: &str) -> Result<f64> {
    Ok(number(run, &format!("/cost/{of}/cpu_us"))? / number(run, "/tasks")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_in_the_middle_counts() {
        let runs = [3.0, 1.0, 2.0].map(|rate| json!({"rate": rate, "name": rate.to_string()}));
        let (rate, run) = median(runs.to_vec(), "rate").unwrap();
        assert_eq!((rate, run["name"].as_str()), (2.0, Some("2")));
        assert!(median(runs.to_vec(), "speed").unwrap_err().to_string().contains("speed"));
        assert!(median(Vec::new(), "rate").is_err());
    }

    #[test]
    fn warming_up_takes_a_tenth_of_the_tasks() {
        assert_eq!(
            tenth("--in-flight 10 --tasks 2000 -- sleep 10"),
            "--in-flight 10 --tasks 200 -- sleep 10"
        );
        assert_eq!(tenth("--tasks 3"), "--tasks 1");
    }

    #[test]
    fn figures_are_found_in_what_allot_bench_says() {
        let run = json!({"stages": [{"stage": "published_started", "p50_us": 1500}], "tasks": 4,
            "cost": {"control_plane": {"cpu_us": 10}}});
        let told = |figure: Result<f64>| figure.map(|figure| figure.to_string()).ok();
        assert_eq!(told(stage(&run, "published_started", "p50_us")).as_deref(), Some("1500"));
        assert_eq!(told(stage(&run, "freed_started", "p50_us")), None);
        assert_eq!(told(cpu_a_task(&run, "control_plane")).as_deref(), Some("2.5"));
    }
}
