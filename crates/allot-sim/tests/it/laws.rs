//! What holds for every workload: equal input, equal output; and the same starts as a program that looks at everything.

use allot_model::{Format, Span, Time};
use allot_sim::{LogSettings, Scenario, Workload};
use proptest::prelude::*;

use crate::support::{file, json, run, seconds, starts, yaml};

#[test]
fn the_same_input_gives_the_same_output_byte_for_byte() {
    for name in ["nsdi.yaml", "nsdi-weighted.json", "backfill.yaml"] {
        for policy in ["drf", "fifo", "fair:resource=mem", "priority:backfill=none"] {
            assert_eq!(
                json(&file(name).workload, policy),
                json(&file(name).workload, policy),
                "{name} {policy}"
            );
        }
    }
}

#[test]
fn a_scenario_is_the_same_in_each_format() {
    let yaml = "
policy: drf
placement: first-fit
queues: {A: {weight: 2, limit: {cpus: 4, tasks: 3}}, 'org.team': {}}
events:
  - {at: 0, agent: m1, resources: {cpus: 9, mem: 18GB}, attributes: {zone: a}}
  - {at: 0.5, submit: J1, queue: A, tasks: 4, run: forever, constraints: ['zone == a']}
  - {at: 1m, queue: A, weight: 1}
until: 100
";
    let json = r#"{"policy": "drf", "placement": "first-fit",
        "queues": {"A": {"weight": 2, "limit": {"cpus": 4, "tasks": 3}}, "org.team": {}},
        "events": [{"at": 0, "agent": "m1", "resources": {"cpus": 9, "mem": "18GB"}, "attributes": {"zone": "a"}},
            {"at": "500ms", "submit": "J1", "queue": "A", "tasks": 4, "run": "forever", "constraints": ["zone == a"]},
            {"at": 60, "queue": "A", "weight": 1}], "until": "1m40s"}"#;
    let toml = r#"
policy = "drf"
placement = "first-fit"
until = 100
queues = { A = { weight = 2, limit = { cpus = 4, tasks = 3 } }, "org.team" = {} }
[[events]]
at = 0
agent = "m1"
resources = { cpus = 9, mem = "18GB" }
attributes = { zone = "a" }
[[events]]
at = 0.5
submit = "J1"
queue = "A"
tasks = 4
run = "forever"
constraints = ["zone == a"]
[[events]]
at = "60s"
queue = "A"
weight = 1
"#;
    let texts = [(yaml, Format::Yaml), (json, Format::Json), (toml, Format::Toml)];
    let [first, rest @ ..] = texts.map(|(text, format)| {
        let scenario =
            Scenario::parse(text.as_bytes(), format).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        format!("{scenario:?}")
    });
    assert_eq!(rest, [first.clone(), first]);
}

#[test]
fn an_option_of_the_policy_wins_over_the_choice_beside_it() {
    let scenario = yaml("policy: 'fifo:backfill=none'\nbackfill: skip\nplacement: first-fit\nevents: []\n");
    assert_eq!(scenario.policy().unwrap().to_string(), "fifo:placement=first-fit:backfill=none");
}

/// Processors and run time of a job, and how long after the one before it is submitted.
type Wanted = (u64, u64, u64);

const PROCS: u64 = 8;

fn log(jobs: &[Wanted]) -> Workload {
    let mut text = format!("; MaxProcs: {PROCS}\n");
    let mut at = 0;
    for (number, (procs, run, after)) in (1..).zip(jobs) {
        at += after;
        text.push_str(&format!("{number} {at} -1 {run} {procs} -1 -1 {procs} {run} -1 1 1 1 1 1 -1 -1 -1\n"));
    }
    Workload::of_log(text.as_bytes(), &LogSettings::default()).unwrap().0
}

/// Looks at every waiting job in every second.
fn plainly(jobs: &[Wanted], skips: bool) -> Vec<Option<u64>> {
    let mut submits = Vec::new();
    jobs.iter().fold(0, |at, (_, _, after)| {
        submits.push(at + after);
        at + after
    });
    let mut starts: Vec<Option<u64>> = vec![None; jobs.len()];
    for now in 0..2_000 {
        let held = |starts: &[Option<u64>]| {
            let runs = |(start, job): (&Option<u64>, &Wanted)| {
                start.filter(|start| now < start + job.1).map_or(0, |_| job.0)
            };
            starts.iter().zip(jobs).map(runs).sum::<u64>()
        };
        for number in 0..jobs.len() {
            if submits[number] > now || starts[number].is_some() {
                continue;
            }
            if held(&starts) + jobs[number].0 <= PROCS {
                starts[number] = Some(now);
            } else if !skips {
                break;
            }
        }
    }
    starts
}

proptest! {
    #[test]
    fn jobs_start_when_a_plain_program_says(
        jobs in proptest::collection::vec((1..=PROCS, 1_u64..20, 0_u64..6), 1..40)
    ) {
        let workload = log(&jobs);
        prop_assert_eq!(starts(&run(&workload, "fifo:backfill=none")), plainly(&jobs, false));
        prop_assert_eq!(starts(&run(&workload, "fifo")), plainly(&jobs, true));
    }

    #[test]
    fn whatever_happens_no_grant_is_wrong_and_no_more_runs_than_there_is(
        events in proptest::collection::vec((0_u32..8, 0_u64..30, 0_u32..4, 1_u32..6, 1_u32..4), 1..40),
        policy in proptest::sample::select(vec!["fifo", "fifo:backfill=none", "drf", "fair", "priority:placement=first-fit"]),
    ) {
        let text = scenario(&events);
        let workload = yaml(&text).workload;
        let outcome = run(&workload, policy);
        prop_assert_eq!(&outcome, &run(&workload, policy));
        for job in workload.jobs.iter().zip(&outcome.jobs) {
            prop_assert!(job.1.start.is_none_or(|start| start >= job.0.submit));
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_a_scenario_or_refused(text in "[-a-z:&*!|>{}\\[\\]\"'#=0-9\n ,.]{0,80}") {
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            let _ = Scenario::parse(text.as_bytes(), format);
        }
    }
}

/// A scenario of agents that come, change and leave, and jobs that come and end.
fn scenario(events: &[(u32, u64, u32, u32, u32)]) -> String {
    let mut lines = vec!["  - {at: 0, agent: m0, resources: {cpus: 4, mem: 4GB}}".to_owned()];
    let mut at = 0;
    let (mut there, mut jobs): (Vec<u32>, u32) = (vec![0], 0);
    for (kind, after, which, amount, other) in events {
        at += after / 3;
        let line = match kind {
            0 if there.contains(which) => {
                there.retain(|agent| agent != which);
                format!("agent: m{which}, leaves: true")
            }
            0 | 1 => {
                there.push(*which);
                format!("agent: m{which}, resources: {{cpus: {amount}, mem: {other}GB}}")
            }
            2 if there.contains(which) => format!("agent: m{which}, drains: {}", amount % 2 == 0),
            3 if jobs > 0 => format!("end: J{}, tasks: {other}", amount % jobs),
            4 if jobs > 0 => format!("cancel: J{}", amount % jobs),
            5 => format!("queue: q{which}, weight: {amount}, limit: {{cpus: {other}}}"),
            _ => {
                jobs += 1;
                let (job, run) = (jobs - 1, amount * 2);
                format!(
                    "submit: J{job}, queue: q{which}, tasks: {amount}, priority: {other}, run: {run}, \
                     resources: {{cpus: 1, mem: {other}GB}}"
                )
            }
        };
        // Ends and cancellations of an instant come before its submissions.
        let when = if line.starts_with("end") || line.starts_with("cancel") {
            f64::from(u32::try_from(at).unwrap()) + 0.5
        } else {
            f64::from(u32::try_from(at).unwrap())
        };
        at = if when.fract() > 0.0 { at + 1 } else { at };
        lines.push(format!("  - {{at: {when}, {line}}}"));
    }
    format!("events:\n{}\n", lines.join("\n"))
}

#[test]
fn times_are_exact_to_the_microsecond() {
    let workload = yaml(
        "events:\n  - {at: 0.250001, agent: m1, resources: {cpus: 1}}\n  - {at: 0, submit: J1, run: 1us}\n",
    )
    .workload;
    let outcome = run(&workload, "fifo");
    assert_eq!(outcome.jobs[0].start, Some(Time::ZERO + Span::from_micros(250_001)));
    assert_eq!(seconds(outcome.ended_at), 0);
    assert!(
        json(&workload, "fifo")
            .contains(r#""grants":[{"t":0.250001,"job":"J1","task":0,"queue":"default","agent":"m1"}]"#)
    );
}
