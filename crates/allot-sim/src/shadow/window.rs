//! What happened in a pool over the last minutes, kept so that it can be played again: how things stood at the beginning,
//! and what happened since.

use allot_model::{FeedItem, Span, Time};

use super::agreement::Tally;
use crate::present::Present;

/// A window reaches back for this long at least, once it was followed for so long, and for twice as long at most.
const HALF: Span = Span::from_secs(300);

/// So many changes are kept for each half at most; where there are more, it reaches back for less.
const MOST_CHANGES: usize = 100_000;

/// The last minutes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    present: Present,
    /// What changed since the older mark.
    changes: Vec<(Time, FeedItem)>,
    /// Nothing while not all is known of how things stand.
    marks: Option<Marks>,
}

#[derive(Debug, Clone)]
struct Marks {
    older: Mark,
    newer: Mark,
}

/// How things stood at a time.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) at: Time,
    pub(crate) present: Present,
    /// How many changes there were before.
    first: usize,
    /// What was compared since.
    pub(crate) tally: Tally,
}

impl Window {
    /// What was known cannot be relied on: all is told again.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Something changed, or is told.
    pub(crate) fn take(&mut self, now: Time, item: FeedItem) {
        self.present.apply(&item);
        if self.marks.is_some() && matters(&item) {
            self.changes.push((now, item));
        }
    }

    /// All of a message was taken, and nothing is missing.
    pub(crate) fn settle(&mut self, now: Time) {
        let Some(marks) = &mut self.marks else {
            let mark = Mark { at: now, present: self.present.clone(), first: 0, tally: Tally::default() };
            self.marks = Some(Marks { newer: mark.clone(), older: mark });
            return;
        };
        let is_long = now.since(marks.newer.at) >= HALF;
        if !is_long && self.changes.len() - marks.newer.first < MOST_CHANGES {
            return;
        }
        self.changes.drain(..marks.newer.first);
        let (present, first) = (self.present.clone(), self.changes.len());
        let newer = Mark { at: now, present, first, tally: Tally::default() };
        marks.older = std::mem::replace(&mut marks.newer, newer);
        marks.older.first = 0;
    }

    /// So much was compared.
    pub(crate) fn count(&mut self, tally: Tally) {
        if let Some(marks) = &mut self.marks {
            marks.older.tally.add(tally);
            marks.newer.tally.add(tally);
        }
    }

    /// How things stood at the beginning, and what changed since; nothing before all was known.
    pub(crate) fn since(&self) -> Option<(&Mark, &[(Time, FeedItem)])> {
        self.marks.as_ref().map(|marks| (&marks.older, self.changes.as_slice()))
    }
}

/// True for what has to be known to play it again.
fn matters(item: &FeedItem) -> bool {
    !matches!(
        item,
        FeedItem::Active { .. }
            | FeedItem::Offer { .. }
            | FeedItem::Rescinded { .. }
            | FeedItem::Preempted(_)
            | FeedItem::Refused { .. }
            | FeedItem::JobEnded { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::JobId;

    fn pending(job: u64) -> FeedItem {
        FeedItem::Pending { job: JobId(job), tasks: allot_model::TaskRange::one(0) }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn a_window_reaches_back_for_five_to_ten_minutes_and_forgets_the_rest() {
        let mut window = Window::default();
        assert!(window.since().is_none());
        window.take(at(0), pending(0));
        for second in 0..2_000 {
            window.take(at(second), pending(second));
            window.settle(at(second));
            let (mark, changes) = window.since().unwrap();
            let length = at(second).since(mark.at);
            assert!(length <= at(600).since(Time::ZERO), "{second}");
            assert!(second < 300 || length >= HALF, "{second}");
            assert!(changes.iter().all(|(when, _)| *when >= mark.at), "{second}");
            // What was told before the first mark stands in it.
            let least = u64::try_from(changes.len()).unwrap();
            assert_eq!(least, second - mark.at.as_micros() / 1_000_000, "{second}");
        }
    }

    #[test]
    fn many_changes_shorten_a_window_rather_than_being_kept() {
        let mut window = Window::default();
        window.settle(at(0));
        for job in 0..350_000 {
            window.take(at(1), pending(job));
            window.settle(at(1));
            assert!(window.since().unwrap().1.len() <= 2 * MOST_CHANGES);
        }
    }

    #[test]
    fn a_reset_begins_anew() {
        let mut window = Window::default();
        window.settle(at(0));
        window.count(Tally { placed: 3, same_job: 2, same_agent: 1 });
        window.take(at(1), pending(1));
        window.reset();
        assert!(window.since().is_none());
        window.settle(at(5));
        let (mark, changes) = window.since().unwrap();
        assert_eq!((mark.at, mark.tally.placed, changes.len()), (at(5), 0, 0));
    }
}
