//! Many seeds on all cores, and what they showed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use allot_cluster_sim::{Marks, Options, Outcome, run};
use rustix::time::{ClockId, clock_gettime};

/// Seeds that once showed a fault, one a line, each with what it was.
const COMMITTED: &str = include_str!("../seeds.txt");

/// Seeds to run.
pub(crate) struct Campaign {
    from: u64,
    count: u64,
    twice: bool,
    fail_fast: bool,
    next: AtomicU64,
    stopped: AtomicBool,
    seen: Mutex<Seen>,
}

/// What all runs together have shown.
#[derive(Default)]
struct Seen {
    marks: Marks,
    steps: u64,
    runs: u64,
    busy: Duration,
    failures: Vec<(u64, String)>,
}

impl Campaign {
    pub(crate) fn new(from: Option<u64>, count: u64, twice: bool, fail_fast: bool) -> Self {
        Self {
            from: from.unwrap_or_else(fresh),
            count,
            twice,
            fail_fast,
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }

    /// Runs all; true where nothing is broken.
    pub(crate) fn run(self) -> bool {
        println!(
            "seeds {} to {}, and {} that failed once",
            self.from,
            self.from + self.count - 1,
            committed().count()
        );
        let seeds: Vec<u64> = committed().chain(self.from..self.from + self.count).collect();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&seeds));
            }
        });
        std::panic::set_hook(hook);
        let seen = self.seen.into_inner().unwrap_or_default();
        let asks_for_marks = self.twice && self.count >= 200;
        seen.tell(asks_for_marks)
    }

    fn work(&self, seeds: &[u64]) {
        while !self.stopped.load(Ordering::Relaxed)
            && let Some(seed) =
                seeds.get(usize::try_from(self.next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX))
        {
            let (took, result) = timed(|| self.run_one(*seed));
            let Ok(mut seen) = self.seen.lock() else { return };
            seen.busy += took;
            match result {
                Ok(outcome) => {
                    let times = if self.twice { 2 } else { 1 };
                    seen.runs += times;
                    seen.steps += outcome.steps * times;
                    seen.marks.add(&outcome.marks);
                }
                Err(fault) => {
                    println!("{fault}\n  repeat with: cargo xtask simulate --seed {seed}");
                    seen.failures.push((*seed, fault));
                    self.stopped.fetch_or(self.fail_fast, Ordering::Relaxed);
                }
            }
        }
    }

    fn run_one(&self, seed: u64) -> Result<Outcome, String> {
        let options = Options::drawn(seed);
        let told = |fault: String| format!("✗ {options}\n  {fault}");
        let once = || {
            let caught = catch_unwind(AssertUnwindSafe(|| run(options.clone())));
            caught.map_err(|panic| told(format!("a core found a fault in itself: {}", words_of(&*panic))))
        };
        let outcome = once()?;
        if let Some(broken) = &outcome.broken {
            return Err(told(broken.to_string()));
        }
        if self.twice && once()?.digest != outcome.digest {
            return Err(told("two runs of the same seed went different ways".to_owned()));
        }
        Ok(outcome)
    }
}

impl Seen {
    fn tell(&self, asks_for_marks: bool) -> bool {
        for mark in allot_cluster_sim::Mark::ALL {
            println!("{:>9}  {mark}", self.marks.count(*mark));
        }
        let seconds = self.busy.as_secs_f64().max(1e-9);
        #[allow(clippy::cast_precision_loss, reason = "a rate for people to look at")]
        let rate = self.steps as f64 / seconds;
        println!("{} runs, {} events, {rate:.0} events a second on one core", self.runs, self.steps);
        let missing: Vec<_> = self.marks.missing().filter(|_| asks_for_marks).collect();
        for mark in &missing {
            println!("✗ never seen: {mark}");
        }
        if !self.failures.is_empty() {
            let seeds: Vec<String> = self.failures.iter().map(|(seed, _)| seed.to_string()).collect();
            println!("✗ {} seeds failed: {}", seeds.len(), seeds.join(" "));
        }
        missing.is_empty() && self.failures.is_empty()
    }
}

fn committed() -> impl Iterator<Item = u64> {
    COMMITTED.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

/// Seeds that were not run before.
#[allow(clippy::disallowed_methods, reason = "the one place where chance comes in; the seed is printed")]
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() * 1_000
}

/// How long this thread had a processor for something: others use the machine too.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = processor_time();
    let result = work();
    (processor_time().saturating_sub(start), result)
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
