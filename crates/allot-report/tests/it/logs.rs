//! Pages about the logs of real machines, where those are at hand.

use std::path::PathBuf;

use allot_sim::{LogSettings, QueueBy, Workload};

use crate::html::Parsed;
use crate::support::Runs;

fn log(name: &str) -> Option<Workload> {
    let folder = std::env::var_os("ALLOT_WORKLOADS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/workloads")),
        PathBuf::from,
    );
    let path = folder.join("swf").join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: there is no {}", path.display());
        return None;
    };
    let settings = LogSettings { queue_by: QueueBy::User, ..LogSettings::default() };
    Some(Workload::of_log(&bytes, &settings).unwrap().0)
}

#[test]
fn a_page_about_a_long_run_with_many_queues_is_small() {
    let Some(workload) = log("KTH-SP2-1996-2.swf.gz") else { return };
    let runs = Runs::of(workload, &["fifo:backfill=none", "fifo:backfill=skip", "drf"]);
    let page = runs.page();
    assert!(page.len() < 400_000, "{} bytes", page.len());
    let parsed = Parsed::of(&page);
    assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
    assert!(parsed.section("gantt").is_none(), "there is too much for a Gantt chart");
    assert_eq!(
        parsed
            .section("shares")
            .unwrap()
            .tagged("svg")
            .iter()
            .filter(|svg| svg.attribute("role").is_some())
            .count(),
        3 * 8
    );
}
