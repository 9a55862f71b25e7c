//! Grants on their way: made, and neither committed nor refused yet.

use std::collections::VecDeque;

use allot_model::{Epoch, JobId, OfferVersion, Resources, TaskRange, Time};

/// One grant that was not answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Unanswered {
    pub(crate) epoch: Epoch,
    pub(crate) sent_at: Time,
    pub(crate) lane: u32,
    pub(crate) shape: u32,
    pub(crate) job: JobId,
    pub(crate) parts: Parts,
}

/// Tasks of a grant on one agent.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Where; nothing once the agent has left.
    pub(crate) agent: Option<u32>,
    pub(crate) version: OfferVersion,
    pub(crate) tasks: TaskRange,
    /// How many of them run at a time.
    pub(crate) slots: u64,
    /// The items and ranges in it.
    pub(crate) named: Option<Resources>,
}

/// The parts of a grant: one, which takes no allocation, unless it is that of a gang.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    first: Part,
    others: Vec<Part>,
}

impl Parts {
    /// Nothing where there are none.
    pub(crate) fn of(parts: impl IntoIterator<Item = Part>) -> Option<Self> {
        let mut parts = parts.into_iter();
        Some(Self { first: parts.next()?, others: parts.collect() })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Part> {
        [&self.first].into_iter().chain(&self.others)
    }

    /// Those on one agent.
    pub(crate) fn on(&self, agent: u32) -> impl Iterator<Item = &Part> {
        self.iter().filter(move |part| part.agent == Some(agent))
    }

    /// How many slots all of them have.
    pub(crate) fn slots(&self) -> u64 {
        self.iter().map(|part| part.slots).sum()
    }

    /// How many tasks they are.
    pub(crate) fn tasks(&self) -> u64 {
        self.iter().map(|part| part.tasks.count()).sum()
    }

    fn ground(&mut self, agent: u32) {
        let all = [&mut self.first].into_iter().chain(&mut self.others);
        all.filter(|part| part.agent == Some(agent)).for_each(|part| part.agent = None);
    }
}

impl From<Part> for Parts {
    fn from(first: Part) -> Self {
        Self { first, others: Vec::new() }
    }
}

/// Unanswered grants by number. Numbers only grow, so that none is used twice whatever the epoch.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    first: u64,
    grants: VecDeque<Option<Unanswered>>,
    count: usize,
}

impl Flight {
    pub(crate) fn new() -> Self {
        Self { first: 1, grants: VecDeque::new(), count: 0 }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The number of the next grant.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.grants.len() as u64
    }

    /// Notes a grant under the next number.
    pub(crate) fn add(&mut self, grant: Unanswered) {
        self.grants.push_back(Some(grant));
        self.count += 1;
    }

    /// Takes the next number for something that is no grant.
    pub(crate) fn skip(&mut self) -> u64 {
        let number = self.next_number();
        if self.grants.is_empty() {
            self.first += 1;
        } else {
            self.grants.push_back(None);
        }
        number
    }

    fn place(&self, number: u64) -> Option<usize> {
        number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok())
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Unanswered> {
        self.grants.get(self.place(number)?)?.as_ref()
    }

    /// An agent of the grant has left.
    pub(crate) fn ground(&mut self, number: u64, agent: u32) {
        let place = self.place(number);
        if let Some(Some(grant)) = place.and_then(|place| self.grants.get_mut(place)) {
            grant.parts.ground(agent);
        }
    }

    /// Takes the grant out if it was made in this epoch.
    pub(crate) fn remove(&mut self, number: u64, epoch: Epoch) -> Option<Unanswered> {
        let place = self.place(number)?;
        let grant = self.grants.get_mut(place)?.take_if(|grant| grant.epoch == epoch)?;
        self.count -= 1;
        while let Some(None) = self.grants.front() {
            self.grants.pop_front();
            self.first += 1;
        }
        Some(grant)
    }

    /// Forgets all of them; their numbers stay used.
    pub(crate) fn clear(&mut self) {
        self.first += self.grants.len() as u64;
        self.grants.clear();
        self.count = 0;
    }

    /// When the oldest was sent.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.grants.iter().flatten().next().map(|grant| grant.sent_at)
    }

    /// All of them with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Unanswered)> {
        (self.first..)
            .zip(&self.grants)
            .filter_map(|(number, grant)| grant.as_ref().map(|grant| (number, grant)))
    }
}
