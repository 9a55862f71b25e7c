//! The real logs, where they are at hand: they are not part of the project, as their licences do not allow it.

use std::path::{Path, PathBuf};

use allot_workload::{Filter, Log};

/// The folder of the logs, or nothing and a word about it.
fn logs() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/workloads");
    let folder = std::env::var_os("ALLOT_WORKLOADS").map_or_else(beside, PathBuf::from).join("swf");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no workload logs in {}; set ALLOT_WORKLOADS to where they are", folder.display());
    None
}

#[test]
fn the_real_logs_have_as_many_jobs_as_the_literature_says() {
    let Some(folder) = logs() else { return };
    let cases = [
        ("KTH-SP2-1996-2.swf.gz", 100, 28_489, Some(28_481), None),
        ("SDSC-SP2-1998-4.2-cln.swf.gz", 128, 59_715, Some(53_999), Some(54_044)),
        ("RICC-2010-2.swf.gz", 8_192, 447_794, Some(447_782), None),
        ("lublin_256.swf.gz", 256, 10_000, None, Some(10_000)),
    ];
    for (file, procs, rows, strong, raw) in cases {
        let log = Log::parse(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        assert_eq!((log.machine_procs, log.rows.len()), (Some(procs), rows), "{file}");
        for (filter, expected) in [(Filter::Strong, strong), (Filter::Raw, raw)] {
            let count = filter.jobs(&log, procs).len();
            assert!(expected.is_none_or(|jobs| jobs == count), "{file}, {filter}: {count} jobs");
        }
    }
}
