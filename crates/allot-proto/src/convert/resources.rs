//! `resources.proto`.

use std::collections::BTreeMap;

use allot_model::resources::Ranges;
use allot_model::{Amount, Request, ResourceName, Resources};

use super::read;
use crate::WireError;
use crate::v1::{self, amount::Kind};

impl From<&Resources> for v1::Resources {
    fn from(resources: &Resources) -> Self {
        let amount = |(name, amount): (&ResourceName, &Amount)| (name.to_string(), amount.into());
        Self { amounts: resources.iter().map(amount).collect() }
    }
}

impl TryFrom<v1::Resources> for Resources {
    type Error = WireError;

    fn try_from(message: v1::Resources) -> Result<Self, WireError> {
        let read = |(name, amount): (String, v1::Amount)| {
            let amount =
                Amount::try_from(amount).map_err(|error| error.within(format_args!("amounts[{name}]")))?;
            Ok((read::id(&name, "amounts")?, amount))
        };
        message.amounts.into_iter().map(read).collect()
    }
}

impl From<&Amount> for v1::Amount {
    fn from(amount: &Amount) -> Self {
        let kind = match amount {
            Amount::Scalar(units) => Kind::ScalarUnits(*units),
            Amount::Items(items) => Kind::Items(v1::Items { amounts_milli: items.clone() }),
            Amount::Ranges(ranges) => Kind::Ranges(v1::Ranges {
                runs: ranges.iter().map(|(first, last)| v1::Range { first, last }).collect(),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Amount> for Amount {
    type Error = WireError;

    fn try_from(message: v1::Amount) -> Result<Self, WireError> {
        Ok(match read::required(message.kind, "kind")? {
            Kind::ScalarUnits(units) => Self::Scalar(units),
            Kind::Items(items) => Self::Items(read_items(items)?),
            Kind::Ranges(ranges) => Self::Ranges(read_ranges(&ranges)?),
        })
    }
}

fn read_items(message: v1::Items) -> Result<BTreeMap<String, u64>, WireError> {
    let items = message.amounts_milli;
    match items.iter().find(|(_, milli)| **milli > allot_model::resources::WHOLE) {
        Some((item, milli)) => {
            let problem = format!("{milli} thousandths of one item, {item:?}: at most 1000 are allowed");
            Err(WireError::field("items", problem))
        }
        None => Ok(items),
    }
}

fn read_ranges(message: &v1::Ranges) -> Result<Ranges, WireError> {
    let mut ranges = Ranges::new();
    for v1::Range { first, last } in &message.runs {
        if !ranges.insert(*first, *last) {
            let problem = format!("{first}-{last} runs backwards, or overlaps another run");
            return Err(WireError::field("ranges", problem));
        }
    }
    Ok(ranges)
}

/// What a task asks for, as the map that stands on the wire.
pub(super) fn request_units(request: &Request) -> BTreeMap<String, u64> {
    request.iter().map(|(name, units)| (name.to_string(), units)).collect()
}

/// Reads what a task asks for.
pub(super) fn read_request(units: &BTreeMap<String, u64>) -> Result<Request, WireError> {
    units.iter().map(|(name, units)| Ok((read::id(name, "resources_units")?, *units))).collect()
}
