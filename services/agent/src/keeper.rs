//! Keeps the directories of tasks within bounds: outputs of running attempts under their cap, those of ended ones as
//! long as the operator wants.

use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allot_model::{AttemptId, Span, Time};
use allot_shell::clock;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{debug, warn};

use crate::executor::strays::Strays;
use crate::executor::{Running, keep_under_cap};
use crate::output::{STREAMS, TaskDirs};

/// How often the outputs of running attempts are looked at.
const CAP_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether a directory is too old, or space is short.
const AGE_EVERY: Duration = Duration::from_secs(5);
/// How old a directory is before it makes room for others: until then its outputs may be on their way to be stored.
const SETTLED: Span = Span::from_secs(5);
/// How often it is looked again whether processes that tasks left behind are gone.
const STRAYS_EVERY: Duration = Duration::from_millis(250);
/// How long ends gather: to look after many together costs little more than to look after one, and what follows an end
/// at once, such as the start of the next process, is not to be held up.
const GATHER: Duration = Duration::from_millis(10);
/// How many ends are taken note of at once.
const MOST_AT_ONCE: usize = 1_024;

/// Keeps outputs of running attempts under their cap.
pub(crate) async fn cap_outputs(dirs: TaskDirs, running: Running, cap: u64) {
    let mut ticks = tokio::time::interval(CAP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let attempts = running.attempts();
        if attempts.is_empty() {
            continue;
        }
        let dirs = dirs.clone();
        let look = move || {
            let outputs = attempts.iter().flat_map(|attempt| STREAMS.map(|stream| (*attempt, stream)));
            for (attempt, stream) in outputs {
                keep_under_cap(&dirs, attempt, stream, cap);
            }
        };
        // Fails only where the process is about to end.
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

/// An attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over {
    pub(crate) attempt: AttemptId,
    /// Whether it wrote anything.
    pub(crate) has_output: bool,
}

/// Attempts that ended without a word, whose directories are not kept for that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Silent(Arc<Mutex<BTreeSet<AttemptId>>>);

impl Silent {
    pub(crate) fn contains(&self, attempt: AttemptId) -> bool {
        self.with(|silent| silent.contains(&attempt))
    }

    fn with<T>(&self, look: impl FnOnce(&mut BTreeSet<AttemptId>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps the directories of ended attempts, and looks after processes that these left behind.
#[derive(Debug)]
pub(crate) struct Keeper {
    dirs: TaskDirs,
    silent: Silent,
    strays: Strays,
    /// True where no process of an ended attempt is left.
    nobody_left: bool,
    /// Oldest first.
    ended: VecDeque<(Time, AttemptId)>,
    keep: Keep,
}

/// What is kept of ended attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// So many of their directories at most.
    pub(crate) tasks: usize,
    /// For so long at most.
    pub(crate) time: Span,
    /// As long as so much is free beside them.
    pub(crate) free_bytes: u64,
}

impl Keeper {
    /// Knows of all directories that are there, but those of attempts that may still run.
    pub(crate) fn open(
        dirs: TaskDirs,
        strays: Strays,
        keep: Keep,
        may_run: impl Fn(AttemptId) -> bool,
    ) -> Self {
        dirs.remove_spares();
        let named_at = |attempt| {
            let seconds = u64::try_from(std::fs::metadata(dirs.of(attempt)).ok()?.ctime()).ok()?;
            Some((Time::from_micros(seconds.saturating_mul(1_000_000)), attempt))
        };
        let mut ended: Vec<(Time, AttemptId)> =
            dirs.attempts().into_iter().filter(|attempt| !may_run(*attempt)).filter_map(named_at).collect();
        ended.sort_unstable();
        let ended = ended.into();
        Self { dirs, silent: Silent::default(), strays, nobody_left: false, ended, keep }
    }

    /// The attempts that are known to have ended without a word.
    pub(crate) fn silent(&self) -> Silent {
        self.silent.clone()
    }

    /// Removes what is too much or too old, for as long as attempts may end.
    pub(crate) async fn run(mut self, mut ended: UnboundedReceiver<Over>) {
        loop {
            let mut over = Vec::new();
            let pause = if self.nobody_left { AGE_EVERY } else { STRAYS_EVERY };
            tokio::select! {
                first = ended.recv() => match first {
                    Some(first) => over.push(first),
                    None => return,
                },
                () = tokio::time::sleep(pause) => {}
            }
            if !over.is_empty() {
                tokio::time::sleep(GATHER).await;
                over.extend(std::iter::from_fn(|| ended.try_recv().ok()).take(MOST_AT_ONCE));
            }
            let tidied = tokio::task::spawn_blocking(move || self.tidy(clock::now(), &over));
            // Fails only where the process is about to end.
            let Ok(next) = tidied.await else { return };
            self = next;
        }
    }

    fn tidy(mut self, now: Time, over: &[Over]) -> Self {
        self.nobody_left = self.strays.sweep();
        self.ended.extend(over.iter().map(|over| (now, over.attempt)));
        over.iter().filter(|over| !over.has_output).for_each(|over| self.retire_silent(over.attempt));
        while let Some(attempt) = self.take_surplus(now) {
            if self.silent.with(|silent| silent.remove(&attempt)) {
                // Its directory is in other hands.
                continue;
            }
            match self.dirs.retire(attempt, self.nobody_left) {
                Ok(()) => debug!(%attempt, "removed the directory of a task"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => warn!(%attempt, %error, "cannot remove the directory of a task"),
            }
        }
        self
    }

    /// Has the directory of an attempt used again at once, where there is nothing in it to be kept.
    fn retire_silent(&self, attempt: AttemptId) {
        self.silent.with(|silent| silent.insert(attempt));
        let reused = self.nobody_left && self.dirs.reuse(attempt).unwrap_or(false);
        if !reused {
            self.silent.with(|silent| silent.remove(&attempt));
        }
    }

    fn take_surplus(&mut self, now: Time) -> Option<AttemptId> {
        let (ended_at, _) = self.ended.front()?;
        let Keep { tasks, time, free_bytes } = self.keep;
        let age = now.since(*ended_at);
        let is_short = || age >= SETTLED && self.dirs.free_bytes().is_some_and(|free| free < free_bytes);
        let surplus = self.ended.len() > tasks || age > time || is_short();
        surplus.then(|| self.ended.pop_front()).flatten().map(|(_, attempt)| attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::Incarnation;

    const KEEP: Keep = Keep { tasks: 3, time: Span::from_secs(60), free_bytes: 0 };

    #[test]
    fn the_oldest_directories_go_when_there_are_too_many_or_they_are_too_old() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path().to_owned());
        let attempts: Vec<AttemptId> = (0..4).map(|index| format!("7.{index}#1").parse().unwrap()).collect();
        attempts.iter().for_each(|attempt| drop(dirs.make(*attempt).unwrap()));
        let there = || attempts.iter().filter(|attempt| dirs.of(**attempt).exists()).count();
        let strays = Strays::adopt(Incarnation(1), Running::default(), dirs.clone(), None);
        let keeper = Keeper::open(dirs.clone(), strays, KEEP, |_| false);
        assert_eq!(keeper.ended.len(), 4, "what is there from before is known");
        let keeper = keeper.tidy(clock::now(), &[]);
        assert_eq!(there(), 3);
        keeper.tidy(clock::now() + Span::from_secs(61), &[]);
        assert_eq!(there(), 0);
    }

    #[test]
    fn directories_of_ended_attempts_make_room_where_space_is_short() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path().to_owned());
        let old: AttemptId = "7.0#1".parse().unwrap();
        dirs.make(old).unwrap();
        let strays = Strays::adopt(Incarnation(1), Running::default(), dirs.clone(), None);
        let roomy = Keeper::open(dirs.clone(), strays.clone(), KEEP, |_| false).tidy(clock::now(), &[]);
        assert!(dirs.of(old).exists() && roomy.ended.len() == 1);
        let short = Keep { free_bytes: u64::MAX, ..KEEP };
        let later = clock::now() + Span::from_secs(10);
        let mut keeper = Keeper::open(dirs.clone(), strays, short, |_| false).tidy(later, &[]);
        assert!(!dirs.of(old).exists());
        let attempt: AttemptId = "7.1#1".parse().unwrap();
        std::fs::write(dirs.make(attempt).unwrap().join("core"), "").unwrap();
        keeper = keeper.tidy(later, &[Over { attempt, has_output: true }]);
        assert!(dirs.of(attempt).exists(), "its outputs may be on their way");
        keeper.tidy(later + SETTLED, &[]);
        assert!(!dirs.of(attempt).exists());
    }

    #[test]
    fn nothing_is_kept_of_an_attempt_that_left_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path().to_owned());
        let keeper = Keeper::open(
            dirs.clone(),
            Strays::adopt(Incarnation(1), Running::default(), dirs.clone(), None),
            KEEP,
            |_| false,
        );
        let silent = keeper.silent();
        let [plain, littered]: [AttemptId; 2] = ["7.0#1", "7.1#1"].map(|text| text.parse().unwrap());
        for attempt in [plain, littered] {
            let dir = dirs.make(attempt).unwrap();
            STREAMS.into_iter().for_each(|stream| drop(crate::output::create(&dir, stream).unwrap()));
        }
        std::fs::write(dirs.of(littered).join("result"), "42").unwrap();
        let over = [plain, littered].map(|attempt| Over { attempt, has_output: false });
        let keeper = keeper.tidy(clock::now(), &over);
        assert_eq!([plain, littered].map(|attempt| dirs.of(attempt).exists()), [false, true]);
        assert_eq!([plain, littered].map(|attempt| silent.contains(attempt)), [true, false]);
        keeper.tidy(clock::now() + Span::from_secs(61), &[]);
        assert!(
            !silent.contains(plain) && !dirs.of(littered).exists(),
            "known for as long as others are kept"
        );
    }
}
