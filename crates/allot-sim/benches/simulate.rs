//! How fast logs are simulated, in processor time of one core: `cargo bench -p allot-sim`. Words given to it are parts of
//! the names of what is to be run. The logs are looked for in `$ALLOT_WORKLOADS`, or beside the repository.

use std::path::{Path, PathBuf};

use allot_engine::Policy;
use allot_sim::{LogSettings, Measures, OpenbSettings, QueueBy, Workload, openb, simulate};
use rustix::time::{ClockId, clock_gettime};

/// As in all programs: see `allot_shell`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each is run so many times; the fastest counts, as others use the machine too.
const TIMES: u32 = 5;

const EASY: &str = "fifo:backfill=easy";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    for (log, queue_by, policies) in [
        (
            "KTH-SP2-1996-2",
            QueueBy::None,
            &["fifo:backfill=none", "fifo", EASY, "fifo:backfill=conservative"][..],
        ),
        ("SDSC-SP2-1998-4.2-cln", QueueBy::None, &["fifo:backfill=none", "fifo", EASY]),
        ("SDSC-SP2-1998-4.2-cln", QueueBy::User, &["fifo:backfill=none", "drf"]),
        ("RICC-2010-2", QueueBy::None, &["fifo:backfill=none", "fifo", EASY]),
    ] {
        let by = if queue_by == QueueBy::User { " by user" } else { "" };
        let names: Vec<_> = policies
            .iter()
            .map(|policy| (format!("{log}{by} {policy}"), *policy))
            .filter(|(name, _)| wanted(name))
            .collect();
        if !names.is_empty() {
            bench_log(log, queue_by, &names);
        }
    }
    if wanted("openb") {
        bench_openb();
    }
}

fn workloads() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/workloads");
    std::env::var_os("ALLOT_WORKLOADS").map_or(beside, PathBuf::from)
}

fn bench_log(log: &str, queue_by: QueueBy, runs: &[(String, &str)]) {
    let path = workloads().join(format!("swf/{log}.swf.gz"));
    let Ok(bytes) = std::fs::read(&path) else {
        println!("{log}: skipped, there is no {}", path.display());
        return;
    };
    let settings = LogSettings { queue_by, ..LogSettings::default() };
    let (read_s, workload) = fastest(|| Workload::of_log(&bytes, &settings).map(|(workload, _)| workload));
    let Ok(workload) = workload else { return println!("{log}: cannot be read") };
    println!("{log}: {} jobs read in {:.1} ms", workload.jobs.len(), read_s * 1e3);
    for (name, policy) in runs {
        let Ok(policy) = Policy::parse(policy) else { continue };
        bench(name, &workload, &policy);
    }
}

fn bench_openb() {
    let folder = workloads().join("openb");
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let (Ok(nodes), Ok(pods)) = (read("openb_node_list_gpu_node.csv"), read("openb_pod_list_default.csv"))
    else {
        return println!("openb: skipped, there is no {}", folder.display());
    };
    let settings = OpenbSettings { demand: 1.3, seed: 1 };
    let (Ok(workload), Ok(policy)) = (openb(&nodes, &pods, settings), Policy::parse("fifo")) else { return };
    bench("openb fifo best-fit", &workload, &policy);
}

#[allow(clippy::cast_precision_loss)]
fn bench(name: &str, workload: &Workload, policy: &Policy) {
    let (took_s, outcome) = fastest(|| simulate(workload, policy));
    match outcome {
        Ok(outcome) => {
            let (measured_s, measures) = fastest(|| Measures::of(workload, &outcome));
            let jobs = workload.jobs.len() as f64;
            println!(
                "{name}: {:.1} ms, {:.0} jobs/s; measured in {:.1} ms; utilisation {:.3}, gpus {:.4}",
                took_s * 1e3,
                jobs / took_s,
                measured_s * 1e3,
                measures.utilisation.unwrap_or_default(),
                measures.gpu_allocation.unwrap_or_default(),
            );
        }
        Err(error) => println!("{name}: {error}"),
    }
}

/// The least processor time that it took, in seconds, and what it gave.
fn fastest<T>(run: impl Fn() -> T) -> (f64, T) {
    let timed = || {
        let before = processor_s();
        let given = run();
        (processor_s() - before, given)
    };
    (1..TIMES).fold(timed(), |best, _| {
        let next = timed();
        if next.0 < best.0 { next } else { best }
    })
}

#[allow(clippy::cast_precision_loss)]
fn processor_s() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
