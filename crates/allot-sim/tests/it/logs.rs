//! Logs of real machines against what the literature has for them. They are not part of the project: where they are not
//! there, the tests say so and pass.

use std::io::Read;
use std::path::{Path, PathBuf};

use allot_sim::{LogSettings, Measures, OpenbSettings, Outcome, Workload, openb};
use allot_workload::Filter;

use crate::support::{run, seconds};

/// A file beside the repository, or where `ALLOT_WORKLOADS` says; nothing where it is not there.
fn shared(path: &str) -> Option<Vec<u8>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let workloads = std::env::var_os("ALLOT_WORKLOADS").map(PathBuf::from);
    let folder = workloads.and_then(|folder| Some(folder.parent()?.to_owned())).unwrap_or(beside);
    let read = std::fs::read(folder.join(path)).ok();
    if read.is_none() {
        println!("skipped: there is no {path} in {}", folder.display());
    }
    read
}

fn swf(name: &str, settings: &LogSettings) -> Option<Workload> {
    let bytes = shared(&format!("workloads/swf/{name}.swf.gz"))?;
    let (workload, left_out) = Workload::of_log(&bytes, settings).unwrap();
    assert_eq!(left_out, 0);
    Some(workload)
}

/// Start times by job, as the goldens have them.
fn golden_starts(gzip: &[u8]) -> Vec<(i64, u64)> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(gzip).read_to_string(&mut text).unwrap();
    let row = |line: &str| {
        let (job, start) = line.split_once(',').unwrap();
        (job.parse().unwrap(), start.parse().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

fn starts(workload: &Workload, outcome: &Outcome) -> Vec<(i64, u64)> {
    let mut starts: Vec<(i64, u64)> = (workload.jobs.iter().zip(&outcome.jobs))
        .map(|(job, fate)| (job.number, seconds(fate.start.unwrap())))
        .collect();
    starts.sort_unstable();
    starts
}

#[test]
fn kth_sp2_first_come_first_served_starts_every_job_when_it_should() {
    let (Some(workload), Some(golden)) =
        (swf("KTH-SP2-1996-2", &LogSettings::default()), shared("goldens/starts_kth_sp2_fcfs.csv.gz"))
    else {
        return;
    };
    assert_eq!(workload.jobs.len(), 28_481);
    let outcome = run(&workload, "fifo:backfill=none");
    let mut golden = golden_starts(&golden);
    golden.sort_unstable();
    let starts = starts(&workload, &outcome);
    assert_eq!(starts.len(), golden.len());
    let differs = starts.iter().zip(&golden).find(|(ours, theirs)| ours != theirs);
    assert_eq!(differs, None);
    let measures = Measures::of(&workload, &outcome);
    let (slowdown, wait) = (measures.bounded_slowdown.unwrap().mean, measures.wait.unwrap().mean);
    assert!((slowdown - 6_814.97).abs() < 0.005, "{slowdown}");
    assert!((wait - 353_776.409).abs() < 0.000_5, "{wait}");
}

#[test]
fn kth_sp2_under_easy_is_as_in_the_literature_on_one_agent_and_on_a_hundred() {
    let whole = LogSettings::default();
    let apart = LogSettings { agents: vec!["100x{cpus: 1}".parse().unwrap()], ..LogSettings::default() };
    let outcomes = [whole, apart].map(|settings| {
        let workload = swf("KTH-SP2-1996-2", &settings)?;
        let outcome = run(&workload, "fifo:backfill=easy");
        let measures = Measures::of(&workload, &outcome);
        let (slowdown, response) = (measures.bounded_slowdown.unwrap().mean, measures.response.unwrap().mean);
        assert!((slowdown - 92.58).abs() < 0.925_8, "{slowdown}");
        assert!((response - 15_696.8).abs() < 15.696_8, "{response}");
        Some(starts(&workload, &outcome))
    });
    let [Some(whole), Some(apart)] = outcomes else { return };
    let differs = whole.iter().zip(&apart).find(|(one, other)| one != other);
    assert_eq!(differs, None, "gangs of one processor each start as the same jobs on one large agent do");
}

#[test]
fn the_logs_run_clean_and_are_as_large_as_they_are_said_to_be() {
    let cases = [
        ("SDSC-SP2-1998-4.2-cln", Filter::Strong, 53_999),
        ("SDSC-SP2-1998-4.2-cln", Filter::Raw, 54_044),
        ("RICC-2010-2", Filter::Strong, 447_782),
    ];
    for (name, filter, jobs) in cases {
        let Some(workload) = swf(name, &LogSettings { filter, ..LogSettings::default() }) else { return };
        assert_eq!(workload.jobs.len(), jobs, "{name} {filter}");
        let outcome = run(&workload, "fifo");
        assert!(outcome.jobs.iter().all(|fate| fate.end.is_some()), "{name} {filter}: every job ends");
    }
}

#[test]
fn the_gpu_cluster_fills_up_and_every_seed_is_another_day() {
    let lists = ["node_list_gpu_node", "pod_list_default"].map(|name| {
        shared(&format!("workloads/openb/openb_{name}.csv")).map(|bytes| String::from_utf8(bytes).unwrap())
    });
    let [Some(nodes), Some(pods)] = lists else { return };
    let allocation = |seed| {
        let workload = openb(&nodes, &pods, OpenbSettings { demand: 1.3, seed }).unwrap();
        let outcome = run(&workload, "fifo");
        Measures::of(&workload, &outcome).gpu_allocation.unwrap()
    };
    let (first, second) = (allocation(1), allocation(2));
    assert!(first > 0.85 && second > 0.85 && (first - second).abs() > 0.0, "{first} {second}");
    assert!((allocation(1) - first).abs() < f64::EPSILON);
}
