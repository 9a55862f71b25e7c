//! Many seeds on all cores, and what they showed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use allot_cluster_sim::{Marks, Options, Outcome, run};
use rustix::time::{ClockId, clock_gettime};

/// Seeds that once showed a fault, one a line, each with what it was.
const COMMITTED: &str = include_str!("../seeds.txt");

/// A rare situation may take this many times as many seeds as are to be run, before it counts as never seen.
const MORE_FOR_MARKS: u64 = 5;
/// With fewer seeds nobody asks for rare situations.
const LEAST_FOR_MARKS: u64 = 200;

/// Seeds to run.
pub(crate) struct Campaign {
    from: u64,
    count: u64,
    twice: bool,
    fail_fast: bool,
    stopped: AtomicBool,
    seen: Mutex<Seen>,
}

/// Seeds, each taken by one thread.
struct Seeds {
    list: Vec<u64>,
    next: AtomicU64,
}

impl Seeds {
    fn of(seeds: impl Iterator<Item = u64>) -> Self {
        Self { list: seeds.collect(), next: AtomicU64::new(0) }
    }

    fn take(&self) -> Option<u64> {
        let place = usize::try_from(self.next.fetch_add(1, Ordering::Relaxed)).ok()?;
        self.list.get(place).copied()
    }
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
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let end = self.from + self.count;
        self.run_all(&Seeds::of(committed().chain(self.from..end)));
        let asks_for_marks = self.twice && self.count >= LEAST_FOR_MARKS;
        if asks_for_marks {
            self.look_for_marks(end);
        }
        std::panic::set_hook(hook);
        self.seen.into_inner().unwrap_or_default().tell(asks_for_marks)
    }

    fn run_all(&self, seeds: &Seeds) {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(seeds));
            }
        });
    }

    /// Goes on with more seeds while a rare situation was not seen: some are so in one of a hundred runs.
    fn look_for_marks(&self, mut from: u64) {
        let last = self.from + self.count * MORE_FOR_MARKS;
        let is_missing = || self.seen.lock().is_ok_and(|seen| seen.marks.missing().next().is_some());
        while from < last && is_missing() {
            let end = last.min(from + self.count / 4);
            println!("seeds {from} to {}, for what was not seen yet", end - 1);
            self.run_all(&Seeds::of(from..end));
            from = end;
        }
    }

    fn work(&self, seeds: &Seeds) {
        while !self.stopped.load(Ordering::Relaxed)
            && let Some(seed) = seeds.take()
        {
            let (took, result) = timed(|| self.run_one(seed));
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
                    seen.failures.push((seed, fault));
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
