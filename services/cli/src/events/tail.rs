//! The last events of the ledger, found from its end backwards: how much is read depends on how many are wanted, not on
//! how long the ledger is.

use std::collections::VecDeque;

use allot_model::Writer;
use indicatif::ProgressBar;

use super::Told;
use super::pick::Picker;
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{From, Placed};

/// How many entries of the ledger are read first; each has one event at least, and hundreds under load.
const FIRST_WINDOW: u64 = 8;
/// By how much each further stretch is longer than the one after it.
const GROWTH: u64 = 4;

/// A stretch of the ledger, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    first: u64,
    last: u64,
}

impl Window {
    /// The one at the end of a ledger that ends with `last`.
    fn at_end(last: u64) -> Self {
        Self { first: last.saturating_sub(FIRST_WINDOW - 1).max(1), last }
    }

    /// The one before it; nothing where it begins with the ledger.
    fn before(self) -> Option<Self> {
        let last = self.first.checked_sub(1).filter(|last| *last > 0)?;
        let length = (self.last - self.first + 1).saturating_mul(GROWTH);
        Some(Self { first: last.saturating_sub(length - 1).max(1), last })
    }
}

/// Finds the last `count` events that are picked among the entries up to the one with number `end`.
pub(super) async fn last(
    client: &Client,
    writers: &[Writer],
    picker: &mut Picker<'_>,
    (count, end): (usize, u64),
    spinner: &ProgressBar,
) -> Result<Vec<Told>, Failure> {
    let mut found: VecDeque<Told> = VecDeque::new();
    let mut next = (end > 0).then(|| Window::at_end(end));
    while let Some(window) = next {
        let read = read(client, writers, window, picker).await?;
        read.into_iter().rev().for_each(|event| found.push_front(event));
        if found.len() >= count {
            break;
        }
        spinner.set_message(format!("back to entry {} of {end}, {} found", window.first, found.len()));
        next = window.before();
    }
    let surplus = found.len().saturating_sub(count);
    Ok(found.into_iter().skip(surplus).collect())
}

async fn read(
    client: &Client,
    writers: &[Writer],
    window: Window,
    picker: &mut Picker<'_>,
) -> Result<Vec<Told>, Failure> {
    let mut follower = client.follow_writers(From::Sequence(window.first), writers.to_vec()).await?;
    let mut found = Vec::new();
    let mut more = follower.waiting() > 0;
    while more {
        let placed = follower.next().await?;
        if placed.sequence > window.last {
            break;
        }
        more = placed.behind > 0 && placed.sequence < window.last;
        for event in tell(&placed) {
            if picker.picks(&event).await? {
                found.push(event);
            }
        }
    }
    Ok(found)
}

/// All that a batch tells.
pub(super) fn tell(placed: &Placed) -> Vec<Told> {
    let batch = &placed.batch;
    batch.entries.iter().flat_map(|entry| Told::of(placed.sequence, batch.writer, entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_ledger_backwards_and_each_is_longer() {
        let mut windows = vec![Window::at_end(1_000)];
        while let Some(next) = windows.last().and_then(|window| window.before()) {
            windows.push(next);
        }
        let ends: Vec<(u64, u64)> = windows.iter().map(|window| (window.first, window.last)).collect();
        assert_eq!(ends, [(993, 1_000), (961, 992), (833, 960), (321, 832), (1, 320)]);
        assert_eq!(Window::at_end(3), Window { first: 1, last: 3 });
    }
}
