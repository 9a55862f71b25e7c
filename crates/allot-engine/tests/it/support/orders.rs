//! The orders of jobs once more, as plainly as they can be said.

use std::cmp::Ordering;

use allot_engine::{Order, Policy};
use allot_model::{PoolJob, Time};

/// The orders that are said here.
pub(crate) const ORDERS: &[Order] = &[
    Order::Fifo,
    Order::Priority,
    Order::Shortest,
    Order::Largest,
    Order::Deadline,
    Order::Wfp3,
    Order::F1,
    Order::F2,
    Order::F3,
    Order::F4,
];

/// Which of two jobs is first.
pub(crate) fn compare_jobs(policy: &Policy, now: Time, a: &PoolJob, b: &PoolJob) -> Ordering {
    let last = |job: &PoolJob| (job.submitted_at, job.job);
    by_order(policy, now, a, b).then_with(|| last(a).cmp(&last(b)))
}

fn by_order(policy: &Policy, now: Time, a: &PoolJob, b: &PoolJob) -> Ordering {
    match policy.order {
        Order::Fifo => Ordering::Equal,
        Order::Priority => aged(policy, now, b).cmp(&aged(policy, now, a)),
        Order::Shortest => none_last(a.estimate, b.estimate).unwrap_or_else(|| a.estimate.cmp(&b.estimate)),
        Order::Largest => size_milli(b).cmp(&size_milli(a)),
        Order::Deadline => none_last(a.deadline, b.deadline).unwrap_or_else(|| a.deadline.cmp(&b.deadline)),
        Order::Wfp3 => none_last(a.estimate, b.estimate).unwrap_or_else(|| wfp3(now, b).cmp(&wfp3(now, a))),
        order => none_last(a.estimate, b.estimate).unwrap_or_else(|| by_formula(order, a, b)),
    }
}

/// Scores that differ by less than a millionth are the same.
fn by_formula(order: Order, a: &PoolJob, b: &PoolJob) -> Ordering {
    let (a, b) = (formula(order, a), formula(order, b));
    if (a - b).abs() <= 1e-6 + a.abs() * 1e-12 { Ordering::Equal } else { a.total_cmp(&b) }
}

/// Who says nothing is last, and of those who do not, none is before another.
fn none_last<T>(a: Option<T>, b: Option<T>) -> Option<Ordering> {
    match (a.is_some(), b.is_some()) {
        (true, true) => None,
        (a, b) => Some(b.cmp(&a)),
    }
}

fn aged(policy: &Policy, now: Time, job: &PoolJob) -> i64 {
    let mut priority = i64::from(job.priority);
    if let Some(step) = policy.ageing {
        let mut at = job.submitted_at + step;
        while at <= now {
            (priority, at) = (priority + 1, at + step);
        }
    }
    priority
}

fn size_milli(job: &PoolJob) -> u128 {
    let asked = |name: &str| {
        let asked = job.resources.iter().find(|(asked, _)| asked.as_str() == name);
        u128::from(asked.map_or(0, |(_, amount)| amount))
    };
    let task = [asked("cpus"), asked("gpus"), 1_000].into_iter().find(|amount| *amount > 0).unwrap();
    task * u128::from(job.tasks)
}

/// The score as a fraction, exactly.
#[derive(PartialEq, Eq)]
struct Wfp3(u128, u128);

impl Wfp3 {
    fn cmp(&self, other: &Self) -> Ordering {
        super::reference::compare((self.0, self.1), (other.0, other.1))
    }
}

/// As of the last whole second, in tenths of a second, so that the numbers stay small.
fn wfp3(now: Time, job: &PoolJob) -> Wfp3 {
    let now = Time::from_micros(now.as_micros() / 1_000_000 * 1_000_000);
    let tenths = |micros: u64| u128::from(micros / 100_000);
    let (waited, run) =
        (tenths(now.since(job.submitted_at).as_micros()), tenths(job.estimate.unwrap().as_micros()));
    Wfp3(waited.pow(3) * size_milli(job), run.pow(3))
}

#[allow(clippy::cast_precision_loss)]
fn formula(order: Order, job: &PoolJob) -> f64 {
    let p = job.estimate.unwrap().as_micros() as f64 / 1e6;
    let q = size_milli(job) as f64 / 1e3;
    let r = job.submitted_at.as_micros().max(1_000_000) as f64 / 1e6;
    match order {
        Order::F1 => p.log10() * q + 870.0 * r.log10(),
        Order::F2 => p.sqrt() * q + 25_600.0 * r.log10(),
        Order::F3 => p * q + 6_860_000.0 * r.log10(),
        _ => p * q.sqrt() + 530_000.0 * r.log10(),
    }
}
