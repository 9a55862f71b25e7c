//! How jobs rank within a queue, or in the one line of all queues. Each order is a file of its own here, which says what a
//! job scores; the least score goes first, and ties go to the job submitted first, then to the smaller id.
//!
//! A new one is a file and a line in the list below. `docs/writing-a-policy.md` shows it.

mod fixed;
mod traits;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::policy::InvalidPolicy;

pub(crate) use fixed::log2;
pub(crate) use traits::{At, Moves, Traits};

macro_rules! orders {
    ($($word:ident: $name:ident,)*) => {
        $(mod $word;)*

        /// How jobs rank within a queue, or in the one line. Ties go to the job submitted first, then to the smaller id.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Order {
            $(
                #[doc = concat!("`", stringify!($word), "`, in `order/", stringify!($word), ".rs`.")]
                $name,
            )*
        }

        impl Order {
            /// All of them by name. Each is also the policy that has all queues in one line in this order.
            pub const NAMES: &[&str] = &[$(stringify!($word)),*];

            const ALL: &[Self] = &[$(Self::$name),*];

            fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($word),)* }
            }

            /// What a job scores at a time. The least goes first.
            pub(crate) fn score(self, job: &Traits, at: At) -> i64 {
                match self { $(Self::$name => $word::score(job, at),)* }
            }

            /// Whether the score of a job is another at another time.
            pub(crate) fn moves(self) -> Moves {
                match self { $(Self::$name => $word::MOVES,)* }
            }
        }
    };
}

orders! {
    fifo: Fifo,
    priority: Priority,
    shortest: Shortest,
    largest: Largest,
    deadline: Deadline,
    wfp3: Wfp3,
    f1: F1,
    f2: F2,
    f3: F3,
    f4: F4,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Order {
    type Err = InvalidPolicy;
    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let found = Self::ALL.iter().copied().find(|order| order.name() == text);
        let allowed = || crate::policy::listed(Self::NAMES);
        found.ok_or_else(|| InvalidPolicy::unknown("job order", text, &allowed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::{Span, Time};

    fn job(tasks: u32, cpus: u64, estimate_s: u64, submitted_s: u64) -> Traits {
        let submitted_at = Time::ZERO + Span::from_secs(submitted_s);
        let estimate = Some(Span::from_secs(estimate_s));
        Traits {
            priority: 0,
            submitted_at,
            estimate,
            deadline: None,
            size_milli: u64::from(tasks) * cpus * 1_000,
        }
    }

    fn at(seconds: u64) -> At {
        At { now: Time::ZERO + Span::from_secs(seconds), ageing: None }
    }

    #[test]
    fn orders_are_read_as_they_are_written() {
        for name in Order::NAMES {
            assert_eq!(name.parse::<Order>().unwrap().to_string(), *name);
            let json = serde_json::to_string(&name.parse::<Order>().unwrap()).unwrap();
            assert_eq!(json, format!("{name:?}"));
        }
    }

    #[test]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn the_formulas_of_carastan_santos_and_de_camargo_hold_to_a_millionth() {
        for (tasks, cpus, p, r) in
            [(1, 1, 1, 1), (4, 2, 100, 7), (1, 64, 86_400, 1_000_000), (300, 1, 59, 12_345)]
        {
            let job = job(tasks, cpus, p, r);
            let (q, p, r) = ((u64::from(tasks) * cpus) as f64, p as f64, r as f64);
            let expected = [
                (Order::F1, p.log10() * q + 870.0 * r.log10()),
                (Order::F2, p.sqrt() * q + 25_600.0 * r.log10()),
                (Order::F3, p * q + 6_860_000.0 * r.log10()),
                (Order::F4, p * q.sqrt() + 530_000.0 * r.log10()),
            ];
            for (order, expected) in expected {
                let score = order.score(&job, at(0)) as f64 / 1e6;
                assert!(
                    (score - expected).abs() <= 1e-6 * q.max(1.0) + expected * 1e-12,
                    "{order} {score} {expected}"
                );
            }
        }
    }

    #[test]
    fn wfp3_prefers_long_waits_for_short_and_large_jobs_and_sees_exact_ties() {
        let score = |job: &Traits, now| Order::Wfp3.score(job, at(now));
        let (short, long) = (job(1, 1, 10, 0), job(1, 1, 100, 0));
        assert!(score(&short, 50) < score(&long, 50));
        assert!(score(&job(2, 1, 10, 0), 50) < score(&short, 50), "the larger");
        assert!(score(&short, 51) < score(&short, 50), "the one that waits longer");
        assert_eq!(score(&job(27, 1, 10, 0), 10), score(&job(1, 1, 10, 0), 30), "3 cubed is 27");
        assert_eq!(score(&short, 0), score(&long, 0), "nobody has waited");
    }
}
