//! Sets of whole numbers, such as ports, kept as runs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A set of whole numbers as disjoint runs, first to last, both included. Written as `31000-32000,40000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ranges(BTreeMap<u64, u64>);

/// Why a text is not a set of whole numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} {problem}: write whole numbers and runs of them, such as `31000-32000,40000`")]
pub struct InvalidRanges {
    /// The part of the text that is wrong.
    pub given: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Ranges {
    /// No numbers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many numbers it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    /// True where it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its runs in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// Adds the run from `first` to `last`; false where it overlaps what is there or is no run.
    #[must_use]
    pub fn insert(&mut self, first: u64, last: u64) -> bool {
        let overlaps = self.0.range(..=last).next_back().is_some_and(|(_, l)| *l >= first);
        if first > last || overlaps {
            return false;
        }
        let mut run = (first, last);
        if let Some((&f, &l)) = self.0.range(..first).next_back()
            && l + 1 == first
        {
            run.0 = f;
        }
        if let Some(next) = last.checked_add(1)
            && let Some(l) = self.0.remove(&next)
        {
            run.1 = l;
        }
        self.0.insert(run.0, run.1);
        true
    }

    /// Takes the run from `first` to `last` out; false, and nothing changed, where not all of it is there.
    #[must_use]
    pub fn remove(&mut self, first: u64, last: u64) -> bool {
        let Some((&f, &l)) = self.0.range(..=first).next_back() else { return false };
        if first > last || l < last {
            return false;
        }
        self.0.remove(&f);
        if f < first {
            self.0.insert(f, first - 1);
        }
        if last < l {
            self.0.insert(last + 1, l);
        }
        true
    }

    /// The lowest `count` numbers, if there are that many.
    #[must_use]
    pub fn lowest(&self, count: u64) -> Option<Self> {
        let mut taken = Self::new();
        let mut wanted = count;
        for (first, last) in self.iter() {
            if wanted == 0 {
                break;
            }
            let end = first.saturating_add(wanted - 1).min(last);
            wanted -= end - first + 1;
            taken.0.insert(first, end);
        }
        (wanted == 0).then_some(taken)
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    /// Runs that overlap others are left out.
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(runs: I) -> Self {
        let mut ranges = Self::new();
        for (first, last) in runs {
            let _ = ranges.insert(first, last);
        }
        ranges
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "," })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

impl FromStr for Ranges {
    type Err = InvalidRanges;

    fn from_str(text: &str) -> Result<Self, InvalidRanges> {
        let mut ranges = Self::new();
        for part in text.split(',').map(str::trim) {
            let wrong = |problem| InvalidRanges { given: part.chars().take(80).collect(), problem };
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse()) else {
                return Err(wrong("is not a number or a run of numbers"));
            };
            if first > last {
                return Err(wrong("ends before it begins"));
            }
            if !ranges.insert(first, last) {
                return Err(wrong("is given twice, at least in part"));
            }
        }
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_are_read_and_written_in_one_way() {
        let cases = [
            ("31000-32000,40000", "31000-32000,40000"),
            (" 5 , 1-3, 4 ", "1-5"),
            ("7-7", "7"),
            ("0-18446744073709551615", "0-18446744073709551615"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<Ranges>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn ranges_that_are_none_are_refused_for_what_is_wrong() {
        let cases = [
            ("", "is not a number"),
            ("1,,2", "is not a number"),
            ("a-b", "is not a number"),
            ("-5", "is not a number"),
            ("1.5", "is not a number"),
            ("99999999999999999999", "is not a number"),
            ("9-3", "\"9-3\" ends before it begins"),
            ("1-5,3", "\"3\" is given twice"),
            ("3,1-5", "\"1-5\" is given twice"),
        ];
        for (text, message) in cases {
            let error = text.parse::<Ranges>().expect_err(text).to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn ranges_equal_a_plain_set(ops in proptest::collection::vec((any::<bool>(), 0_u64..60, 0_u64..9), 0..60), count in 0_u64..40) {
            let mut ranges = Ranges::new();
            let mut plain = BTreeSet::new();
            for (insert, first, length) in ops {
                let numbers = first..=first + length;
                let allowed = if insert {
                    numbers.clone().all(|n| !plain.contains(&n))
                } else {
                    numbers.clone().all(|n| plain.contains(&n))
                };
                let done = if insert { ranges.insert(first, first + length) } else { ranges.remove(first, first + length) };
                prop_assert_eq!(done, allowed);
                if allowed && insert {
                    plain.extend(numbers);
                } else if allowed {
                    plain.retain(|n| !numbers.contains(n));
                }
                prop_assert_eq!(ranges.count(), plain.len() as u64);
                let flat: BTreeSet<u64> = ranges.iter().flat_map(|(first, last)| first..=last).collect();
                prop_assert_eq!(&flat, &plain);
                prop_assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.1 + 1 < b.0));
                prop_assert!(ranges.is_empty() || ranges.to_string().parse::<Ranges>() == Ok(ranges.clone()));
            }
            let lowest = ranges.lowest(count).map(|r| r.iter().flat_map(|(first, last)| first..=last).collect::<Vec<_>>());
            let expected: Vec<u64> = plain.iter().copied().take(usize::try_from(count).unwrap()).collect();
            prop_assert_eq!(lowest, (expected.len() as u64 == count).then_some(expected));
        }
    }
}
