//! The page that compares policies, in a folder.

use std::fs;
use std::path::Path;

use allot_report::{Subject, page};
use allot_sim::Workload;

use super::Run;
use crate::failure::Failure;
use crate::output::note;

/// Writes the page about the runs of a workload.
pub(super) fn write(folder: &Path, title: &str, workload: &Workload, runs: &[Run]) -> Result<(), Failure> {
    let told = runs.iter().map(|run| allot_report::Run { outcome: &run.outcome, measures: &run.measures });
    let page = page(&Subject { title, workload }, &told.collect::<Vec<_>>());
    let path = folder.join("index.html");
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, page));
    written.map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))?;
    note(&format!("allot: the report is {}", path.display()));
    Ok(())
}
