//! Places in TOML, whose reader tells them.

use toml::de::{DeTable, DeValue};

use super::Step;

/// Where the last step of the way that is there leads to.
pub(super) fn find(text: &str, way: &[Step<'_>]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut at = None;
    let mut here = &DeValue::Table(table.into_inner());
    for step in way {
        let next = match (step, here) {
            (Step::Key(key), DeValue::Table(entries)) => {
                entries.get_key_value(*key).map(|(key, value)| (key.span(), value))
            }
            (Step::Item(index), DeValue::Array(items)) => {
                items.get(*index).map(|value| (value.span(), value))
            }
            _ => None,
        };
        let Some((span, value)) = next else { break };
        at = Some(span.start);
        here = value.get_ref();
    }
    at
}
