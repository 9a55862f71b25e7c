//! Resources as people write them, from the JSON that services answer with.

use serde_json::Value;

/// `cpus 2, mem 4GiB`; `-` for nothing.
#[must_use]
pub fn resources(words: &Value) -> String {
    let Value::Object(amounts) = words else { return value(words) };
    let parts: Vec<String> =
        amounts.iter().map(|(name, amount)| format!("{name} {}", value(amount))).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

/// The amount of one resource; `0` where there is none of it.
#[must_use]
pub fn amount(words: &Value, name: &str) -> String {
    words.get(name).map_or_else(|| "0".to_owned(), value)
}

/// `512B`, `1.5KiB`, `30.5MiB`.
#[must_use]
pub fn bytes(amount: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = units.iter().enumerate().rev().find(|(step, _)| amount >> (10 * (step + 1)) > 0);
    let Some((step, unit)) = unit else { return format!("{amount}B") };
    let tenths = (u128::from(amount) * 10) >> (10 * (step + 1));
    format!("{}.{}{unit}", tenths / 10, tenths % 10)
}

/// A JSON value without its quotes and braces.
fn value(words: &Value) -> String {
    match words {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(value).collect::<Vec<_>>().join(" "),
        Value::Object(items) => {
            items.iter().map(|(name, item)| format!("{name}={}", value(item))).collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) => words.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        let cases =
            [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (32 << 20, "32.0MiB"), (u64::MAX, "15.9EiB")];
        for (amount, text) in cases {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn resources_read_as_words() {
        let words = json!({"cpus": 1.5, "mem": "4GiB", "gpus": {"0": 1}, "ports": ["8000-8003"]});
        assert_eq!(resources(&words), "cpus 1.5, gpus 0=1, mem 4GiB, ports 8000-8003");
        assert_eq!(resources(&json!({})), "-");
        assert_eq!(amount(&words, "mem"), "4GiB");
        assert_eq!(amount(&words, "disk"), "0");
    }
}
