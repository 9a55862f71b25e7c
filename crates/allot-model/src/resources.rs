//! Resources: amounts by name, in exact integers.
//!
//! `mem` and `disk` are bytes; every other amount is in thousandths (`cpus = 0.5` is 500). Beside plain
//! amounts an agent may have *items* (GPU device ids, each of 1,000 thousandths, so that a device can be
//! shared) and *ranges* (port numbers). A task asks for amounts only; [`Resources::take`] picks the items.

mod amounts;
mod human;
mod ranges;

use std::collections::BTreeMap;

use crate::id::ResourceName;
use amounts::Amounts;

pub use human::InvalidAmount;
pub(crate) use human::number_text;
pub use ranges::{InvalidRanges, Ranges};

/// One whole item, such as one GPU or one port, in thousandths.
pub const WHOLE: u64 = 1_000;

/// The most gpus of an agent that are told apart without having been named.
const MOST_DEVICES: u64 = 64;

/// How much there is of one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Amount {
    /// Bytes for `mem` and `disk`, thousandths for all else.
    Scalar(u64),
    /// Named items and the thousandths of each that there are.
    Items(BTreeMap<String, u64>),
    /// Whole numbers, such as ports.
    Ranges(Ranges),
}

/// Amounts by name. Copies are cheap. A name that is absent is an amount of nothing; nothing is never stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources(Amounts<Amount>);

/// What one task asks for: plain amounts by name, in the units of [`Amount::Scalar`]. Nothing is never stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Request(Amounts<u64>);

/// Why resources cannot be added or subtracted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// The sum does not fit the integers it is kept in, or holds an item twice.
    #[error("the sum of two amounts of `{name}` is too large, or holds the same item twice")]
    TooMuch {
        /// The resource concerned.
        name: ResourceName,
    },
    /// More was to be taken away than there is.
    #[error("there is less `{name}` than was to be taken away")]
    TooLittle {
        /// The resource concerned.
        name: ResourceName,
    },
    /// One side counts, the other names items or ranges.
    #[error("`{name}` is of two kinds: one side is an amount, the other names items or ranges")]
    KindsDiffer {
        /// The resource concerned.
        name: ResourceName,
    },
}

impl Amount {
    /// The amount as one number: the scalar itself, or the thousandths of all items or numbers together.
    #[must_use]
    pub fn total(&self) -> u64 {
        match self {
            Self::Scalar(amount) => *amount,
            Self::Items(items) => items.values().fold(0, |sum, units| sum.saturating_add(*units)),
            Self::Ranges(ranges) => ranges.count().saturating_mul(WHOLE),
        }
    }

    /// How much of this someone can have who asks for `wanted`: less than that where it is too little, or is not in
    /// pieces that suit. Parts are of one item; whole ones are of items that nobody has a part of.
    #[must_use]
    pub fn available_for(&self, wanted: u64) -> u64 {
        match self {
            Self::Scalar(amount) => *amount,
            Self::Items(items) if wanted < WHOLE => items.values().copied().max().unwrap_or(0),
            _ if !wanted.is_multiple_of(WHOLE) => 0,
            Self::Items(items) => WHOLE * items.values().filter(|units| **units == WHOLE).count() as u64,
            Self::Ranges(ranges) => ranges.count().saturating_mul(WHOLE),
        }
    }

    fn is_nothing(&self) -> bool {
        match self {
            Self::Scalar(amount) => *amount == 0,
            Self::Items(items) => items.values().all(|units| *units == 0),
            Self::Ranges(ranges) => ranges.is_empty(),
        }
    }

    /// What of this to give to someone who asks for `wanted`, if it is there.
    fn take(&self, wanted: u64) -> Option<Self> {
        match self {
            Self::Scalar(amount) => (*amount >= wanted).then_some(Self::Scalar(wanted)),
            Self::Items(items) if wanted < WHOLE => {
                let fits = items.iter().filter(|(_, units)| **units >= wanted);
                let (item, _) = fits.min_by_key(|(name, units)| (**units, natural_key(name)))?;
                Some(Self::Items([(item.clone(), wanted)].into()))
            }
            Self::Items(items) => {
                let mut whole: Vec<&String> =
                    items.iter().filter(|(_, units)| **units == WHOLE).map(|(name, _)| name).collect();
                whole.sort_by_key(|name| natural_key(name));
                let count = usize::try_from(wanted / WHOLE).ok()?;
                let enough = wanted.is_multiple_of(WHOLE) && whole.len() >= count;
                enough
                    .then(|| Self::Items(whole.into_iter().take(count).map(|n| (n.clone(), WHOLE)).collect()))
            }
            Self::Ranges(ranges) if wanted.is_multiple_of(WHOLE) => {
                ranges.lowest(wanted / WHOLE).map(Self::Ranges)
            }
            Self::Ranges(_) => None,
        }
    }
}

/// Orders `2` before `10`, and numbers before names.
fn natural_key(name: &str) -> (u64, &str) {
    (name.parse().unwrap_or(u64::MAX), name)
}

fn add_amounts(name: &ResourceName, left: &mut Amount, right: &Amount) -> Result<(), ResourceError> {
    let too_much = || ResourceError::TooMuch { name: name.clone() };
    match (left, right) {
        (Amount::Scalar(a), Amount::Scalar(b)) => *a = a.checked_add(*b).ok_or_else(too_much)?,
        (Amount::Items(a), Amount::Items(b)) => {
            for (item, units) in b.iter().filter(|(_, units)| **units > 0) {
                let held = a.entry(item.clone()).or_insert(0);
                *held = held.checked_add(*units).filter(|sum| *sum <= WHOLE).ok_or_else(too_much)?;
            }
        }
        (Amount::Ranges(a), Amount::Ranges(b)) => {
            if !b.iter().all(|(first, last)| a.insert(first, last)) {
                return Err(too_much());
            }
        }
        _ => return Err(ResourceError::KindsDiffer { name: name.clone() }),
    }
    Ok(())
}

fn subtract_amounts(name: &ResourceName, left: &mut Amount, right: &Amount) -> Result<(), ResourceError> {
    let too_little = || ResourceError::TooLittle { name: name.clone() };
    match (left, right) {
        (Amount::Scalar(a), Amount::Scalar(b)) => *a = a.checked_sub(*b).ok_or_else(too_little)?,
        (Amount::Items(a), Amount::Items(b)) => {
            for (item, units) in b.iter().filter(|(_, units)| **units > 0) {
                let held = a.get_mut(item).ok_or_else(too_little)?;
                *held = held.checked_sub(*units).ok_or_else(too_little)?;
            }
            a.retain(|_, units| *units > 0);
        }
        (Amount::Ranges(a), Amount::Ranges(b)) => {
            if !b.iter().all(|(first, last)| a.remove(first, last)) {
                return Err(too_little());
            }
        }
        _ => return Err(ResourceError::KindsDiffer { name: name.clone() }),
    }
    Ok(())
}

impl Resources {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True where there is nothing of anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much of `name` there is; nothing where it is absent.
    #[must_use]
    pub fn get(&self, name: &ResourceName) -> Option<&Amount> {
        self.0.get(name)
    }

    /// The amount of `name` as one number, 0 where it is absent.
    #[must_use]
    pub fn total(&self, name: &ResourceName) -> u64 {
        self.0.get(name).map_or(0, Amount::total)
    }

    /// All amounts in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, &Amount)> {
        self.0.iter()
    }

    /// Sets the amount of `name`; an amount of nothing takes the name out.
    pub fn set(&mut self, name: ResourceName, mut amount: Amount) {
        if let Amount::Items(items) = &mut amount {
            items.retain(|_, units| *units > 0);
        }
        if amount.is_nothing() {
            self.0.remove(&name);
        } else {
            self.0.insert(name, amount);
        }
    }

    /// Adds `other`.
    ///
    /// # Errors
    /// [`ResourceError`] on overflow, on an item or number held twice, or where the kinds differ; `self` is then
    /// as it was.
    pub fn add(&mut self, other: &Self) -> Result<(), ResourceError> {
        if self.count_in_place(other, u64::checked_add) {
            return Ok(());
        }
        let mut sum = self.clone();
        for (name, amount) in other.iter() {
            match sum.0.get_mut(name) {
                Some(held) => add_amounts(name, held, amount)?,
                None => sum.set(name.clone(), amount.clone()),
            }
        }
        *self = sum;
        Ok(())
    }

    /// Takes `other` away.
    ///
    /// # Errors
    /// [`ResourceError`] where it is not all there or the kinds differ; `self` is then as it was.
    pub fn subtract(&mut self, other: &Self) -> Result<(), ResourceError> {
        if self.count_in_place(other, u64::checked_sub) {
            return Ok(());
        }
        let mut rest = self.clone();
        for (name, amount) in other.iter() {
            let held = rest.0.get_mut(name).ok_or_else(|| ResourceError::TooLittle { name: name.clone() })?;
            subtract_amounts(name, held, amount)?;
        }
        rest.0.retain(|_, amount| !amount.is_nothing());
        *self = rest;
        Ok(())
    }

    /// Changes plain amounts by those of `other` without a copy. False, and nothing done, where that is not enough: an
    /// amount is not plain, absent, or would be nothing or too large.
    fn count_in_place(&mut self, other: &Self, change: fn(u64, u64) -> Option<u64>) -> bool {
        let counted = |held: &Amount, amount: &Amount| match (held, amount) {
            (Amount::Scalar(held), Amount::Scalar(amount)) => change(*held, *amount).filter(|left| *left > 0),
            _ => None,
        };
        let is_plain = |(name, amount)| self.0.get(name).is_some_and(|held| counted(held, amount).is_some());
        let plain = other.0.iter().all(is_plain);
        if plain {
            for (name, amount) in other.iter() {
                if let Some(held) = self.0.get_mut(name)
                    && let Some(left) = counted(held, amount)
                {
                    *held = Amount::Scalar(left);
                }
            }
        }
        plain
    }

    /// Takes away what of `other` is there, and leaves the rest of it be.
    pub fn subtract_down(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let Some(held) = self.0.get_mut(name) else { continue };
            match (&mut *held, amount) {
                (Amount::Scalar(a), Amount::Scalar(b)) => *a = a.saturating_sub(*b),
                (Amount::Items(a), Amount::Items(b)) => {
                    for (item, units) in b {
                        a.entry(item.clone()).and_modify(|held| *held = held.saturating_sub(*units));
                    }
                    a.retain(|_, units| *units > 0);
                }
                (Amount::Ranges(a), Amount::Ranges(b)) => {
                    let numbers = b.iter().flat_map(|(first, last)| first..=last);
                    for number in numbers {
                        // One that is not there is no loss.
                        let _ = a.remove(number, number);
                    }
                }
                _ => {}
            }
        }
        self.0.retain(|_, amount| !amount.is_nothing());
    }

    /// True where all of `other`, down to the single item and number, is in here.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.clone().subtract(other).is_ok()
    }

    /// What to give to a task that asks for `request`: the same amounts, the fullest shared item that fits, the
    /// lowest whole items and numbers. Nothing where something is short.
    #[must_use]
    pub fn take(&self, request: &Request) -> Option<Self> {
        let mut slice = Self::new();
        for (name, wanted) in request.iter() {
            slice.set(name.clone(), self.0.get(name)?.take(wanted)?);
        }
        Some(slice)
    }

    /// The same with whole gpus that are merely counted as devices called `0`, `1` and so on, as an agent has them that finds
    /// its own: a share is of one of them. More than [`MOST_DEVICES`] stay counted.
    #[must_use]
    pub fn with_devices(mut self) -> Self {
        let gpus = ResourceName::gpus();
        if let Some(Amount::Scalar(units)) = self.get(&gpus)
            && units.is_multiple_of(WHOLE)
            && *units <= MOST_DEVICES * WHOLE
        {
            let devices = (0..units / WHOLE).map(|device| (device.to_string(), WHOLE)).collect();
            self.set(gpus, Amount::Items(devices));
        }
        self
    }

    /// True where every amount is plain, so that a multiple of a slice is a slice too.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        self.iter().all(|(_, amount)| matches!(amount, Amount::Scalar(_)))
    }

    /// `count` times these plain amounts; nothing on overflow, or where items or ranges are named and `count` is
    /// not 1.
    #[must_use]
    pub fn times(&self, count: u64) -> Option<Self> {
        if count == 1 {
            return Some(self.clone());
        }
        let product = |(name, amount): (&ResourceName, &Amount)| match amount {
            Amount::Scalar(units) => Some((name.clone(), Amount::Scalar(units.checked_mul(count)?))),
            _ => None,
        };
        let mut scaled = self.0.iter().map(product).collect::<Option<Amounts<_>>>()?;
        scaled.retain(|_, amount| !amount.is_nothing());
        Some(Self(scaled))
    }
}

impl Request {
    /// A request for nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a task needs where nobody says: 1 cpu.
    #[must_use]
    pub fn one_cpu() -> Self {
        Self::from_iter([(ResourceName::cpus(), WHOLE)])
    }

    /// True where nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much of `name` is asked for.
    #[must_use]
    pub fn get(&self, name: &ResourceName) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All amounts in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, u64)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// Asks for `amount` of `name`; 0 takes the name out.
    pub fn set(&mut self, name: ResourceName, amount: u64) {
        if amount == 0 {
            self.0.remove(&name);
        } else {
            self.0.insert(name, amount);
        }
    }

    /// The same amounts as plain resources.
    #[must_use]
    pub fn as_scalars(&self) -> Resources {
        Resources(self.0.iter().map(|(name, amount)| (name.clone(), Amount::Scalar(*amount))).collect())
    }
}

impl FromIterator<(ResourceName, u64)> for Request {
    fn from_iter<I: IntoIterator<Item = (ResourceName, u64)>>(amounts: I) -> Self {
        let mut request = Self::new();
        amounts.into_iter().for_each(|(name, amount)| request.set(name, amount));
        request
    }
}

impl FromIterator<(ResourceName, Amount)> for Resources {
    fn from_iter<I: IntoIterator<Item = (ResourceName, Amount)>>(amounts: I) -> Self {
        let mut resources = Self::new();
        amounts.into_iter().for_each(|(name, amount)| resources.set(name, amount));
        resources
    }
}

#[cfg(test)]
mod tests;
