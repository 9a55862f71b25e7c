//! Keeps the directories of tasks within bounds: outputs of running attempts under their cap, those of ended ones as
//! long as the operator wants.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use allot_model::{AttemptId, Span, Time};
use allot_shell::clock;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{debug, warn};

use crate::executor::{Running, keep_under_cap};
use crate::output::{STREAMS, TaskDirs};

/// How often the outputs of running attempts are looked at.
const CAP_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether a directory is too old.
const AGE_EVERY: Duration = Duration::from_secs(60);
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
            outputs.for_each(|(attempt, stream)| keep_under_cap(&dirs, attempt, stream, cap));
        };
        // Fails only where the process is about to end.
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

/// The directories of ended attempts, oldest first.
#[derive(Debug)]
pub(crate) struct Keeper {
    dirs: TaskDirs,
    ended: VecDeque<(Time, AttemptId)>,
    keep: usize,
    keep_for: Span,
}

impl Keeper {
    /// Knows of all directories that are there: no attempt runs yet.
    pub(crate) fn open(dirs: TaskDirs, keep: usize, keep_for: Span) -> Self {
        let changed = |attempt| {
            let changed =
                std::fs::metadata(dirs.of(attempt)).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some((Time::from_micros(u64::try_from(changed.as_micros()).ok()?), attempt))
        };
        let mut ended: Vec<(Time, AttemptId)> = dirs.attempts().into_iter().filter_map(changed).collect();
        ended.sort_unstable();
        Self { dirs, ended: ended.into(), keep, keep_for }
    }

    /// Removes what is too much or too old, for as long as attempts may end.
    pub(crate) async fn run(mut self, mut ended: UnboundedReceiver<AttemptId>) {
        let mut ticks = tokio::time::interval(AGE_EVERY);
        loop {
            let mut attempts = Vec::new();
            tokio::select! {
                count = ended.recv_many(&mut attempts, MOST_AT_ONCE) => if count == 0 { return },
                _ = ticks.tick() => {}
            }
            let now = clock::now();
            self.ended.extend(attempts.into_iter().map(|attempt| (now, attempt)));
            let removed = tokio::task::spawn_blocking(move || self.without_surplus(now));
            // Fails only where the process is about to end.
            let Ok(next) = removed.await else { return };
            self = next;
        }
    }

    fn without_surplus(mut self, now: Time) -> Self {
        while let Some(attempt) = self.take_surplus(now) {
            match self.dirs.remove(attempt) {
                Ok(()) => debug!(%attempt, "removed the directory of a task"),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => warn!(%attempt, %error, "cannot remove the directory of a task"),
            }
        }
        self
    }

    fn take_surplus(&mut self, now: Time) -> Option<AttemptId> {
        let (ended_at, _) = self.ended.front()?;
        let surplus = self.ended.len() > self.keep || now.since(*ended_at) > self.keep_for;
        surplus.then(|| self.ended.pop_front()).flatten().map(|(_, attempt)| attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_directories_go_when_there_are_too_many_or_they_are_too_old() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path().to_owned());
        let attempts: Vec<AttemptId> = (0..4).map(|index| format!("7.{index}#1").parse().unwrap()).collect();
        attempts.iter().for_each(|attempt| drop(dirs.make(*attempt).unwrap()));
        let there = || attempts.iter().filter(|attempt| dirs.of(**attempt).exists()).count();
        let keeper = Keeper::open(dirs.clone(), 3, Span::from_secs(60));
        assert_eq!(keeper.ended.len(), 4, "what is there from before is known");
        let keeper = keeper.without_surplus(clock::now());
        assert_eq!(there(), 3);
        keeper.without_surplus(clock::now() + Span::from_secs(61));
        assert_eq!(there(), 0);
    }
}
