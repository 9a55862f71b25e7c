//! The real logs, where they are at hand: they are not part of the project, as their licences do not allow it.

use std::path::{Path, PathBuf};

use allot_workload::{Filter, Log, openb};

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

#[test]
fn the_openb_lists_are_as_large_as_they_are_said_to_be() {
    let Some(folder) = logs().map(|swf| swf.with_file_name("openb")).filter(|openb| openb.is_dir()) else {
        return;
    };
    let nodes = std::fs::read(folder.join("openb_node_list_gpu_node.csv")).unwrap();
    let nodes = openb::parse_nodes(&nodes).unwrap();
    let sum = |of: fn(&openb::Node) -> u64| nodes.iter().map(of).sum::<u64>();
    assert_eq!((nodes.len(), sum(|n| n.cpu_milli), sum(|n| n.memory_mib)), (1_213, 107_018_000, 503_828_480));
    assert_eq!(openb::gpu_capacity_milli(&nodes), 6_212_000);
    let pods = openb::parse_pods(&std::fs::read(folder.join("openb_pod_list_default.csv")).unwrap()).unwrap();
    assert_eq!(pods.len(), 8_152);
    let order = openb::arrivals(&pods, 8_075_600, 1);
    let asked: u64 = order.iter().map(|place| pods[*place].gpu_milli).sum();
    assert!((8_075_600..8_084_000).contains(&asked), "{asked}");
    for variant in ["cpu050", "cpu250", "gpushare40", "gpushare100", "gpuspec33", "multigpu50"] {
        let bytes = std::fs::read(folder.join(format!("openb_pod_list_{variant}.csv.gz"))).unwrap();
        assert!(openb::parse_pods(&bytes).unwrap().len() > 1_000, "{variant}");
    }
}
