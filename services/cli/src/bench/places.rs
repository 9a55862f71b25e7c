//! From the end of a task to the start of the next one in its place, agent by agent.

use std::collections::VecDeque;

use allot_model::{Span, Time};

/// What began and ended on one agent, by its clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    starts: Vec<Start>,
    ends: Vec<(Time, u64)>,
}

/// Tasks that started together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Start {
    at: Time,
    /// Since when they could have.
    admitted: Time,
    count: u64,
}

impl Places {
    /// So many tasks started, which had been admitted then.
    pub(super) fn started(&mut self, at: Time, admitted: Time, count: u64) {
        self.starts.push(Start { at, admitted, count });
    }

    /// So many tasks ended.
    pub(super) fn ended(&mut self, at: Time, count: u64) {
        self.ends.push((at, count));
    }

    /// How long places stayed free, and how many did. A place that was free before any task ended does not count, nor
    /// does one that was free when the task that took it was admitted.
    pub(super) fn gaps(&self) -> Vec<(Span, u64)> {
        let (mut starts, mut ends) = (self.starts.clone(), self.ends.clone());
        starts.sort_unstable();
        ends.sort_unstable();
        let mut ends = ends.into_iter().peekable();
        let mut free: VecDeque<(Time, u64)> = VecDeque::new();
        let mut gaps = Vec::new();
        for mut start in starts {
            // A task that took no time ends when it starts, and does not follow itself.
            while let Some(end) = ends.next_if(|(at, _)| *at < start.at) {
                free.push_back(end);
            }
            while start.count > 0
                && let Some((freed, left)) = free.front_mut()
            {
                let taken = start.count.min(*left);
                if start.admitted <= *freed {
                    gaps.push((start.at.since(*freed), taken));
                }
                start.count -= taken;
                *left -= taken;
                if *left == 0 {
                    free.pop_front();
                }
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    fn gaps(places: &Places) -> Vec<(u64, u64)> {
        places.gaps().into_iter().map(|(span, count)| (span.as_micros(), count)).collect()
    }

    #[test]
    fn the_place_that_was_freed_first_is_taken_first() {
        let mut places = Places::default();
        places.started(at(10), at(0), 2);
        places.ended(at(20), 1);
        places.ended(at(25), 1);
        places.started(at(30), at(0), 1);
        places.started(at(40), at(0), 1);
        assert_eq!(gaps(&places), [(10, 1), (15, 1)]);
    }

    #[test]
    fn runs_of_tasks_take_the_places_of_runs() {
        let mut places = Places::default();
        places.started(at(10), at(0), 16);
        places.ended(at(10), 16);
        places.started(at(14), at(0), 10);
        places.ended(at(14), 10);
        places.started(at(20), at(0), 16);
        assert_eq!(gaps(&places), [(4, 10), (10, 6), (6, 10)]);
    }

    #[test]
    fn a_task_that_came_after_the_place_was_free_tells_nothing() {
        let mut places = Places::default();
        places.started(at(10), at(0), 1);
        places.ended(at(20), 1);
        places.started(at(50), at(45), 1);
        places.ended(at(60), 1);
        places.started(at(61), at(45), 1);
        assert_eq!(gaps(&places), [(1, 1)]);
    }
}
