//! Histories against a reference that looks at every task at every second anew.

use std::collections::BTreeMap;

use allot_engine::Policy;
use allot_model::{Format, ResourceName, Time};
use allot_sim::{Measures, Outcome, Scenario, Workload, simulate};
use proptest::prelude::*;

use super::{History, WHOLE_PPM};

fn at(secs: u64) -> Time {
    Time::from_micros(secs * 1_000_000)
}

fn run(text: &str, policy: &str) -> (Workload, Outcome) {
    let scenario =
        Scenario::parse(text.as_bytes(), Format::Yaml).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let outcome = simulate(&scenario.workload, &Policy::parse(policy).unwrap()).unwrap();
    (scenario.workload, outcome)
}

/// The value of a series in a second.
fn value(series: &super::Series, secs: u64) -> u64 {
    series.over(super::Window { from: at(secs), to: at(secs) }).mean
}

fn cpus(history: &History) -> &super::Series {
    &history.utilisation[&ResourceName::new("cpus").unwrap()]
}

/// How many tasks of each job run once all of a second has happened.
fn running(workload: &Workload, outcome: &Outcome, now: Time) -> Vec<u64> {
    let mut running = vec![0; workload.jobs.len()];
    for (number, stay) in (0..).zip(&outcome.stays) {
        let early = outcome.early.iter().filter(|gone| gone.stay == number);
        let ends: BTreeMap<u32, Time> =
            early.flat_map(|gone| gone.tasks.indexes().map(|task| (task, gone.at))).collect();
        let runs = |task: &u32| {
            let end = ends.get(task).copied().or_else(|| stay.end());
            stay.start <= now && end.is_none_or(|end| end > now)
        };
        running[stay.job as usize] += u64::try_from(stay.tasks.indexes().filter(runs).count()).unwrap();
    }
    running
}

fn waiting(workload: &Workload, outcome: &Outcome, now: Time) -> u64 {
    let of = |number: usize| {
        let (job, fate) = (&workload.jobs[number], &outcome.jobs[number]);
        if job.submit > now || fate.end.is_some_and(|end| end <= now) {
            return 0;
        }
        let is_own = |other: u32| other as usize == number;
        let placed = outcome.stays.iter().filter(|stay| is_own(stay.job) && stay.start <= now);
        let lost = outcome.requeued.iter().filter(|lost| is_own(lost.job) && lost.at <= now);
        let placed: u64 = placed.map(|stay| stay.tasks.count()).sum();
        u64::from(job.tasks) + lost.map(|lost| lost.tasks.count()).sum::<u64>() - placed
    };
    (0..workload.jobs.len()).map(of).sum()
}

/// What there is of a resource.
fn there(workload: &Workload, now: Time, name: &ResourceName) -> u64 {
    workload.agents_at(now).map(|agent| agent.total.total(name)).sum()
}

fn check(workload: &Workload, outcome: &Outcome) {
    let history = History::of(workload, outcome);
    for secs in 0..outcome.ended_at.as_micros() / 1_000_000 {
        let now = at(secs);
        assert_eq!(value(&history.waiting, secs), waiting(workload, outcome, now), "waiting at {secs}");
        let running = running(workload, outcome, now);
        let part = |queue: Option<usize>, name: &ResourceName| {
            let jobs = workload
                .jobs
                .iter()
                .zip(&running)
                .filter(|(job, _)| queue.is_none_or(|queue| job.queue as usize == queue));
            let held: u64 =
                jobs.map(|(job, tasks)| tasks * workload.asks[job.asks as usize].request.get(name)).sum();
            let part = u128::from(held) * u128::from(WHOLE_PPM);
            u64::try_from(part.checked_div(there(workload, now, name).into()).unwrap_or(0)).unwrap()
        };
        for (name, series) in &history.utilisation {
            assert_eq!(value(series, secs), part(None, name), "{name} at {secs}");
        }
        for (queue, series) in history.shares.iter().enumerate() {
            let dominant = history.utilisation.keys().map(|name| part(Some(queue), name)).max().unwrap_or(0);
            assert_eq!(value(series, secs), dominant, "queue {queue} at {secs}");
        }
    }
}

#[test]
fn tasks_that_lose_their_agent_wait_again() {
    let text = "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: j, tasks: 3, resources: {cpus: 1}, run: 10s}
  - {at: 4, agent: m1, leaves: true}
  - {at: 6, agent: m1, resources: {cpus: 3}}
";
    let (workload, outcome) = run(text, "fifo");
    let history = History::of(&workload, &outcome);
    let told = |secs| (value(&history.waiting, secs), value(cpus(&history), secs));
    let expected = [
        (0, (1, WHOLE_PPM)),
        (3, (1, WHOLE_PPM)),
        (4, (3, 0)),
        (5, (3, 0)),
        (6, (0, WHOLE_PPM)),
        (16, (0, 0)),
    ];
    for (secs, expected) in expected {
        assert_eq!(told(secs), expected, "at {secs}");
    }
}

#[test]
fn the_mean_over_the_window_is_the_measured_utilisation() {
    let text = "
events:
  - {at: 0, agent: m1, resources: {cpus: 7}}
  - {at: 1, submit: a, tasks: 9, resources: {cpus: 2}, run: 11s}
  - {at: 3, submit: b, tasks: 5, resources: {cpus: 1}, run: 7s}
";
    for policy in ["fifo", "drf", "fifo:backfill=none"] {
        let (workload, outcome) = run(text, policy);
        let history = History::of(&workload, &outcome);
        let mean = cpus(&history).over(history.window).mean;
        let measured = Measures::of(&workload, &outcome).utilisation.unwrap() * 1e6;
        #[allow(clippy::cast_precision_loss)]
        let distance = (mean as f64 - measured).abs();
        assert!(distance < 2.0, "{policy}: {mean} for {measured}");
        assert_eq!(
            history.window.span().as_secs_f64().to_bits(),
            Measures::of(&workload, &outcome).makespan.to_bits()
        );
    }
}

/// Something that may happen, as a line of a scenario.
fn event() -> impl Strategy<Value = String> {
    let (secs, job, agent) = (0_u64..40, 0_u32..6, 1_u32..4);
    let submit = (secs.clone(), 0_u32..3, 1_u32..7, 1_u32..4, 1_u32..4, 1_u32..15).prop_map(|(at, queue, tasks, cpus, mem, run)| {
        format!("at: {at}, submit: JOB, queue: q{queue}, tasks: {tasks}, resources: {{cpus: {cpus}, mem: {mem}GB}}, run: {run}s")
    });
    let joins = (secs.clone(), agent.clone(), 1_u32..8).prop_map(|(at, agent, cpus)| {
        format!("at: {at}, agent: m{agent}, resources: {{cpus: {cpus}, mem: 8GB}}")
    });
    let leaves =
        (20_u64..40, agent).prop_map(|(at, agent)| format!("at: {at}, agent: m{agent}, leaves: true"));
    let ends = (20_u64..40, job.clone(), 1_u32..4)
        .prop_map(|(at, job, tasks)| format!("at: {at}, end: j{job}, tasks: {tasks}"));
    let cancels = (20_u64..40, job).prop_map(|(at, job)| format!("at: {at}, cancel: j{job}"));
    prop_oneof![4 => submit, 2 => joins, 1 => leaves, 1 => ends, 1 => cancels]
}

proptest! {
    #[test]
    fn histories_equal_a_count_of_every_task(events in proptest::collection::vec(event(), 1..25), policy in 0..3_usize) {
        // Agents that leave and jobs that end must have come before.
        let mut lines: Vec<String> = (1..4).map(|agent| format!("at: 0, agent: m{agent}, resources: {{cpus: 4, mem: 8GB}}")).collect();
        lines.extend((0..6).map(|job| format!("at: 0, submit: j{job}, queue: q0, tasks: 3, resources: {{cpus: 1}}, run: 25s")));
        lines.extend(events.into_iter().enumerate().map(|(place, line)| line.replace("JOB", &format!("k{place}"))));
        let lines: Vec<String> = lines.into_iter().map(|line| format!("  - {{{line}}}\n")).collect();
        let text = format!("until: 90\nevents:\n{}", lines.concat());
        prop_assume!(Scenario::parse(text.as_bytes(), Format::Yaml).is_ok());
        let (workload, outcome) = run(&text, ["fifo", "drf", "fifo:backfill=none"][policy]);
        check(&workload, &outcome);
    }
}
