//! How queues rank: what of a queue decides its place among those beside it, the least first, ties by name.
//!
//! The queues are a tree. At each of its nodes the queues right below are ranked against each other by what each holds with
//! all that is below it; the first that has something to place is entered, and so on down. A queue with jobs of its own
//! and queues below it is beside these, with weight 1, as far as its own jobs go.

pub(crate) mod hdrf;
pub(crate) mod karma;
pub(crate) mod lottery;
pub(crate) mod usage;

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use allot_model::{ResourceName, Span};

use crate::dims::{Dim, Vector};
use crate::share::Share;

/// How queues rank. Ties go to the queue's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rank {
    /// Not at all: all jobs of all queues stand in one line.
    Line,
    /// The least of one resource over its weight goes first: weighted max-min on that resource.
    Fair {
        /// Which resource.
        resource: ResourceName,
    },
    /// The least dominant share over its weight goes first: weighted dominant resource fairness [Ghodsi et al.,
    /// NSDI 2011].
    Drf,
    /// Dominant resource fairness over the queue tree: what a queue holds counts as if its children that have something to
    /// place all had what the least of them has [Bhattacharya et al., SoCC 2013].
    Hdrf,
    /// The least sum of the shares of all resources over its weight goes first: asset fairness [Ghodsi et al., NSDI 2011,
    /// §4.2].
    Asset,
    /// The least that was used so far over its weight goes first: dominant share by time, where what was used a half-life
    /// ago counts half; queue by queue down the tree, which is Slurm's Fair Tree.
    Usage {
        /// In what time use is half forgotten.
        half_life: Span,
    },
    /// Drawn by lot, with as many tickets as the queue has weight [Waldspurger and Weihl, OSDI 1994].
    Lottery {
        /// Equal seeds lead to equal draws.
        seed: u64,
    },
    /// A guaranteed part for everyone, and what is left to the queue with the most credits, which it has from leaving its
    /// part to others [Vuppalapati et al., OSDI 2023].
    Karma {
        /// How much of its equal part a queue is guaranteed.
        alpha: Alpha,
        /// How often credits are earned and spent.
        quantum: Span,
    },
}

/// A part between nothing and all, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alpha(u16);

/// Why a text is not an [`Alpha`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is a part from 0 to 1 with three digits at most, such as `0.5`")]
pub struct InvalidAlpha;

impl Alpha {
    /// This part of an amount, rounded down.
    pub(crate) fn of(self, amount: u64) -> u64 {
        let part = u128::from(amount) * u128::from(self.0) / 1_000;
        u64::try_from(part).unwrap_or(u64::MAX)
    }
}

impl FromStr for Alpha {
    type Err = InvalidAlpha;
    fn from_str(text: &str) -> Result<Self, InvalidAlpha> {
        let (whole, digits) = text.split_once('.').unwrap_or((text, "0"));
        let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain(whole) || !is_plain(digits) || digits.len() > 3 {
            return Err(InvalidAlpha);
        }
        let milli = format!("{whole}{digits:0<3}").parse::<u16>().map_err(|_| InvalidAlpha)?;
        if milli <= 1_000 { Ok(Self(milli)) } else { Err(InvalidAlpha) }
    }
}

impl fmt::Display for Alpha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

impl Rank {
    /// The rank of that name with its defaults.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "fair" => Self::Fair { resource: ResourceName::new("cpus").ok()? },
            "drf" => Self::Drf,
            "hdrf" => Self::Hdrf,
            "asset" => Self::Asset,
            "usage" => Self::Usage { half_life: Span::from_secs(7 * 24 * 60 * 60) },
            "lottery" => Self::Lottery { seed: 0 },
            "karma" => Self::Karma { alpha: Alpha(500), quantum: Span::from_secs(10) },
            _ => return None,
        })
    }

    /// True where a queue is remembered after its last task has ended.
    pub(crate) fn remembers(&self) -> bool {
        matches!(self, Self::Usage { .. } | Self::Karma { .. })
    }
}

/// What is kept of a queue, or of a queue and all below it, beside what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    #[default]
    Nothing,
    /// Its resources beside its dominant one, see [`hdrf`].
    Direction(hdrf::Direction),
    Usage(usage::Usage),
    /// When its next ticket is drawn, see [`lottery`].
    Ticket(u64),
    Account(karma::Account),
}

/// Amounts by the places of resources.
pub(crate) trait Amounts {
    /// How many places there are.
    fn dims(&self) -> usize;
    /// The amount at a place.
    fn amount(&self, dim: Dim) -> u64;
}

/// How shares are measured: by which rule, and against how much.
#[derive(Clone, Copy)]
pub(crate) struct Measure<'a> {
    pub(crate) rank: &'a Rank,
    /// The place of the resource of [`Rank::Fair`].
    pub(crate) dim: usize,
    pub(crate) capacity: &'a Vector,
}

impl Measure<'_> {
    /// The place among those beside it of who holds this.
    pub(crate) fn share(&self, used: &impl Amounts, weight: u32, standing: &Standing) -> Share {
        match (self.rank, standing) {
            (Rank::Fair { .. }, _) => Share::of(used.amount(self.dim), 1, weight),
            (Rank::Drf | Rank::Hdrf, _) => self.dominant(used, weight),
            (Rank::Asset, _) => self.sum(used, weight),
            (Rank::Usage { .. }, Standing::Usage(usage)) => usage.share(weight),
            (Rank::Lottery { .. }, Standing::Ticket(at)) => Share::of(*at, 1, 1),
            (Rank::Karma { .. }, Standing::Account(account)) => {
                account.share(self.parts(used, karma::WHOLE), weight)
            }
            _ => Share::ZERO,
        }
    }

    fn dominant(&self, used: &impl Amounts, weight: u32) -> Share {
        let held = (0..used.dims()).map(|dim| (dim, used.amount(dim))).filter(|(_, amount)| *amount > 0);
        let shares = held.map(|(dim, amount)| Share::of(amount, self.capacity.get(dim), weight));
        shares.max().unwrap_or(Share::ZERO)
    }

    /// The sum of what is held of each resource, each in parts of [`hdrf::UNIT`], rounded down.
    fn sum(&self, used: &impl Amounts, weight: u32) -> Share {
        let mut sum = 0_u64;
        for (held, whole) in (0..used.dims()).map(|dim| (used.amount(dim), self.capacity.get(dim))) {
            match (held, whole) {
                (0, _) => {}
                (held, 0) => return Share::of(held, 0, weight),
                _ => sum = sum.saturating_add(hdrf::parts(held.into(), whole.into())),
            }
        }
        Share::of(sum, hdrf::UNIT, weight)
    }

    /// The dominant share in parts of `all`, rounded down; all of it where it is more than all.
    pub(crate) fn parts(&self, used: &impl Amounts, all: u64) -> u64 {
        let (held, whole) = self.dominant(used, 1).parts();
        let parts = (u128::from(held) * u128::from(all)).checked_div(whole).unwrap_or(u128::MAX);
        u64::try_from(parts).unwrap_or(all).min(all)
    }

    /// The resource that counts, how much of it is used and how much there is; nothing where none counts.
    pub(crate) fn counts_by(&self, used: &Vector) -> Option<(Dim, u64, u64)> {
        let of = |dim| (dim, used.get(dim), self.capacity.get(dim));
        match self.rank {
            Rank::Line => None,
            Rank::Fair { .. } => Some(of(self.dim)),
            _ => {
                let held = used.iter().filter(|(_, amount)| *amount > 0).map(|(dim, _)| of(dim));
                // Of equal shares the first by place.
                held.max_by_key(|(dim, amount, whole)| (Share::of(*amount, *whole, 1), Reverse(*dim)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_in_thousandths() {
        for (text, milli) in [("0", 0), ("1", 1_000), ("0.5", 500), ("0.25", 250), ("1.000", 1_000)] {
            assert_eq!(text.parse(), Ok(Alpha(milli)));
        }
        for text in ["", "1.1", "2", ".5", "0.0001", "-1", "0.", "0x"] {
            assert_eq!(text.parse::<Alpha>(), Err(InvalidAlpha), "{text}");
        }
        assert_eq!(Alpha(250).to_string(), "0.250");
    }
}
