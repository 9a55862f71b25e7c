//! Scores that move with time: which waiting jobs have to be scored again, and when.
//!
//! Nothing is done in proportion to the backlog. A priority that ages changes at known times, and those who are due by then
//! are scored again before anything is decided. A score that changes all the time is one of whole seconds: a pass scores
//! those again whose score is from an earlier second, the oldest first and [`MOST_AT_ONCE`] at most, which is all of them
//! where no more wait.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{Span, Time};

use crate::order::{At, Moves, Order, Traits};

/// How many jobs at most are scored again in a pass where scores change all the time.
const MOST_AT_ONCE: usize = 4_096;

/// How jobs score, and whose score is to be renewed.
#[derive(Debug, Clone)]
pub(crate) struct Scores {
    order: Order,
    moves: Moves,
    at: At,
    /// The jobs that have not ended by their slots, where scores move.
    traits: BTreeMap<u32, Traits>,
    /// Those of them that wait, by when they are due, or by when they were scored last where they are due all the time.
    due: BTreeSet<(Time, u32)>,
    /// Their places there.
    due_at: BTreeMap<u32, Time>,
}

impl Scores {
    pub(crate) fn new(order: Order, ageing: Option<Span>) -> Self {
        let moves = match order.moves() {
            Moves::WithAge if ageing.is_none() => Moves::Never,
            moves => moves,
        };
        let at = At { now: Time::ZERO, ageing };
        Self { order, moves, at, traits: BTreeMap::new(), due: BTreeSet::new(), due_at: BTreeMap::new() }
    }

    /// The time is this now; it never goes back.
    pub(crate) fn advance(&mut self, now: Time) {
        self.at.now = self.at.now.max(now);
    }

    /// The time that scores are for.
    fn at(&self) -> At {
        match self.moves {
            Moves::WithTime => At { now: whole_second(self.at.now), ..self.at },
            Moves::Never | Moves::WithAge => self.at,
        }
    }

    /// True where a job's score may be another later.
    pub(crate) fn move_on(&self) -> bool {
        self.moves != Moves::Never
    }

    /// What a new job scores now.
    pub(crate) fn admit(&mut self, slot: u32, job: &Traits) -> i64 {
        if self.move_on() {
            self.traits.insert(slot, *job);
        }
        self.order.score(job, self.at())
    }

    /// The job has ended.
    pub(crate) fn forget(&mut self, slot: u32) {
        if self.move_on() {
            self.leave(slot);
            self.traits.remove(&slot);
        }
    }

    /// The job stands in line from now on; returns what it scores now, where that may be another than before.
    pub(crate) fn enter(&mut self, slot: u32) -> Option<i64> {
        let job = self.traits.get(&slot)?;
        let due = match self.moves {
            Moves::Never => return None,
            Moves::WithTime => self.at.now,
            Moves::WithAge => next_step(job.submitted_at, self.at),
        };
        self.due.insert((due, slot));
        self.due_at.insert(slot, due);
        Some(self.order.score(job, self.at()))
    }

    /// The job does not stand in line any more.
    pub(crate) fn leave(&mut self, slot: u32) {
        if let Some(due) = self.due_at.remove(&slot) {
            self.due.remove(&(due, slot));
        }
    }

    /// A waiting job whose score is to be renewed now, taken out of those that are due.
    fn next_due(&mut self, before: Time) -> Option<u32> {
        let (due, slot) = self.due.first().copied().filter(|(due, _)| *due < before)?;
        self.due.remove(&(due, slot));
        self.due_at.remove(&slot);
        Some(slot)
    }

    /// The waiting jobs whose scores are to be renewed before anything is decided now. Each has to enter again.
    pub(crate) fn take_due(&mut self) -> Vec<u32> {
        let now = self.at.now;
        let (before, most) = match self.moves {
            Moves::Never => return Vec::new(),
            Moves::WithAge => (Time::from_micros(now.as_micros().saturating_add(1)), usize::MAX),
            Moves::WithTime => (whole_second(now), MOST_AT_ONCE),
        };
        let mut slots = Vec::new();
        while slots.len() < most {
            let Some(slot) = self.next_due(before) else { break };
            slots.push(slot);
        }
        slots
    }

    /// When the next waiting job is due, where that is a time that can be told.
    pub(crate) fn next_step(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due).filter(|_| self.moves == Moves::WithAge)
    }
}

/// When a job that was submitted then will have waited one step more.
fn next_step(submitted_at: Time, at: At) -> Time {
    let step = at.ageing.map_or(u64::MAX, Span::as_micros).max(1);
    let steps = at.now.since(submitted_at).as_micros() / step;
    submitted_at + Span::from_micros(step).times(steps.saturating_add(1))
}

fn whole_second(now: Time) -> Time {
    Time::from_micros(now.as_micros() / 1_000_000 * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(submitted: u64) -> Traits {
        let submitted_at = Time::ZERO + Span::from_secs(submitted);
        Traits {
            priority: 0,
            submitted_at,
            estimate: Some(Span::from_secs(9)),
            deadline: None,
            size_milli: 1_000,
        }
    }

    #[test]
    fn a_job_is_due_at_each_whole_step_of_its_wait_while_it_waits() {
        let mut scores = Scores::new(Order::Priority, Some(Span::from_secs(60)));
        scores.admit(1, &traits(10));
        scores.admit(2, &traits(50));
        assert_eq!((scores.enter(1), scores.enter(2)), (Some(0), Some(0)));
        let due = |scores: &mut Scores, seconds: u64| {
            scores.advance(Time::ZERO + Span::from_secs(seconds));
            let due = scores.take_due();
            due.into_iter().map(|slot| (slot, scores.enter(slot).unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(due(&mut scores, 69), []);
        assert_eq!(scores.next_step(), Some(Time::ZERO + Span::from_secs(70)));
        assert_eq!(due(&mut scores, 70), [(1, -1)]);
        assert_eq!(due(&mut scores, 190), [(2, -2), (1, -3)]);
        scores.leave(1);
        assert_eq!(due(&mut scores, 900), [(2, -14)]);
        scores.forget(2);
        assert_eq!((scores.next_step(), due(&mut scores, 9_000)), (None, Vec::new()));
    }

    #[test]
    fn where_scores_change_all_the_time_those_not_scored_for_longest_come_first() {
        let mut scores = Scores::new(Order::Wfp3, None);
        let jobs = u32::try_from(MOST_AT_ONCE).unwrap() + 1;
        for slot in 0..jobs {
            scores.admit(slot, &traits(0));
            scores.enter(slot);
        }
        let mut due = |millis: u64| {
            scores.advance(Time::ZERO + Span::from_millis(millis));
            let due = scores.take_due();
            due.iter().for_each(|slot| _ = scores.enter(*slot));
            (due.len(), due.first().copied())
        };
        assert_eq!(due(999), (0, None), "within the same second");
        assert_eq!(due(1_500), (MOST_AT_ONCE, Some(0)));
        assert_eq!(due(1_600), (1, Some(jobs - 1)));
        assert_eq!(due(2_000), (MOST_AT_ONCE, Some(0)));
    }

    #[test]
    fn nothing_is_kept_where_scores_stay() {
        let mut scores = Scores::new(Order::Priority, None);
        assert_eq!(scores.admit(1, &traits(0)), 0);
        assert_eq!((scores.enter(1), scores.move_on(), scores.traits.len()), (None, false, 0));
    }
}
