//! How many tasks take turns in a slot. Where the tasks of a job are over in a moment, asking for a place for each costs
//! more than they do, so several are granted at once: the agent starts one when another ends.

use allot_model::Span;

/// The most tasks in a slot, however short they are.
const MOST: u64 = 64;
/// So many tasks take turns in a slot where they are too long for more: one runs, two wait, and so two of three start
/// without anybody being asked.
const FEW: u64 = 3;
/// How many times longer than otherwise a slot may be granted to so few.
const FEW_FOR: u64 = 8;

/// What is known of how long the tasks of a job run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pace {
    /// None of them has been told to wait yet.
    #[default]
    New,
    /// Nothing.
    Unknown,
    /// About so many microseconds.
    Micros(u32),
    /// Some had to be placed again: they do not take turns any more, since those that do must be at the same try.
    Retried,
}

impl Pace {
    /// Tasks wait for a place.
    pub(crate) fn wait(&mut self) {
        *self = if *self == Self::New { Self::Unknown } else { Self::Retried };
    }

    /// A task ran for so long. Longer runs count at once, shorter ones only in time.
    pub(crate) fn ran(&mut self, ran: Span) {
        let ran = u32::try_from(ran.as_micros()).unwrap_or(u32::MAX);
        *self = match *self {
            Self::Micros(before) if ran < before => Self::Micros(before - (before - ran).div_ceil(8)),
            Self::New | Self::Unknown | Self::Micros(_) => Self::Micros(ran),
            Self::Retried => Self::Retried,
        };
    }

    /// How many tasks take turns in a slot, so that it is busy for about `ahead`, or longer where they are few. At
    /// least 1.
    pub(crate) fn turns(self, ahead: Span) -> u64 {
        match self {
            Self::Micros(ran) => {
                let fit = |span: Span| span.as_micros() / u64::from(ran.max(1));
                let few = fit(ahead.times(FEW_FOR)).min(FEW);
                fit(ahead).max(few).clamp(1, MOST)
            }
            Self::New | Self::Unknown | Self::Retried => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AHEAD: Span = Span::from_millis(25);

    fn after(runs: &[u64]) -> Pace {
        let mut pace = Pace::default();
        pace.wait();
        runs.iter().for_each(|millis| pace.ran(Span::from_millis(*millis)));
        pace
    }

    #[test]
    fn short_tasks_take_turns_and_others_do_not() {
        assert_eq!(after(&[]).turns(AHEAD), 1, "nothing is known");
        assert_eq!(after(&[0]).turns(AHEAD), MOST);
        assert_eq!(after(&[1]).turns(AHEAD), 25);
        assert_eq!(after(&[8]).turns(AHEAD), 3);
        assert_eq!(after(&[66]).turns(AHEAD), 3, "two wait behind one");
        assert_eq!(after(&[67]).turns(AHEAD), 2);
        assert_eq!(after(&[101]).turns(AHEAD), 1);
        assert_eq!(after(&[1]).turns(Span::ZERO), 1, "switched off");
    }

    #[test]
    fn one_long_task_ends_it_and_many_short_ones_bring_it_back() {
        assert_eq!(after(&[1, 1, 1_000]).turns(AHEAD), 1);
        let mut runs = vec![1_000];
        runs.extend([1; 100]);
        assert_eq!(after(&runs).turns(AHEAD), 25);
    }

    #[test]
    fn tasks_that_had_to_wait_again_have_a_slot_each() {
        let mut pace = after(&[1]);
        pace.wait();
        pace.ran(Span::from_millis(1));
        assert_eq!(pace.turns(AHEAD), 1);
    }
}
