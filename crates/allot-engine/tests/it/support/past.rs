//! What queues have held when, as plainly as it can be said.

use std::collections::BTreeMap;

use allot_model::{QueueName, Span, Time};

use super::Cluster;
use super::reference::State;

/// Nothing happened from one time to another, and each queue held this part of the pool, with all below it or by itself.
#[derive(Debug, Clone)]
pub(crate) struct Interval {
    from: Time,
    to: Time,
    shares: BTreeMap<(String, bool), f64>,
}

impl Cluster {
    /// Lets time go by; offers are renewed.
    pub(crate) fn later(&mut self, seconds: u64) -> &mut Self {
        self.flush();
        self.answer_hello();
        let (from, to) = (self.now, self.now + Span::from_secs(seconds));
        let shares = self.shares();
        self.past.push(Interval { from, to, shares });
        self.now = to;
        self.renew_offers().flush();
        self
    }

    #[allow(clippy::cast_precision_loss)]
    fn shares(&self) -> BTreeMap<(String, bool), f64> {
        let state = State::of(self.engine.policy(), self);
        let queues = self.jobs.values().map(|job| &job.facts.queue);
        let names = queues.flat_map(|queue| queue.lineage().map(str::to_owned).collect::<Vec<_>>());
        let both = names.flat_map(|name| [(name.clone(), true), (name, false)]);
        let share = |(name, own): (String, bool)| {
            let is_part =
                |queue: &QueueName| if own { queue.as_str() == name } else { queue.is_within(&name) };
            let (has, whole) = state.dominant(&is_part, 1);
            let share = if whole == 0 { 1.0 } else { (has as f64 / whole as f64).min(1.0) };
            ((name, own), share)
        };
        both.map(share).collect()
    }

    /// The time integral of what a queue held over its weight, where a half-life ago counts half, as a number whose last digits
    /// are dropped, so that what is the same but for rounding is the same.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn used_so_far(&self, name: &str, own: bool, half_life: Span, weight: u32) -> u128 {
        let key = (name.to_owned(), own);
        let ago = |time: Time| self.now.since(time).as_secs_f64() / half_life.as_secs_f64();
        let of = |past: &Interval| {
            let share = past.shares.get(&key).copied().unwrap_or(0.0);
            share * ((-ago(past.to)).exp2() - (-ago(past.from)).exp2())
        };
        let used: f64 = self.past.iter().map(of).sum();
        (used / f64::from(weight) * 1e7).round() as u128
    }
}
