//! The bytes of each message, kept in `tests/golden`: what was written once must be read for ever, because ledgers hold
//! it and other programs speak it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "helpers of tests are tests")]

mod samples;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Set to write the goldens of new samples. Those that are there are never written again.
const WRITE_NEW: &str = "ALLOT_WRITE_NEW_GOLDENS";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn to_hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

/// The bytes as they were when the sample was new.
fn golden(sample: &samples::Sample) -> Vec<u8> {
    let path = folder().join(format!("{}.hex", sample.name));
    if !path.exists() && std::env::var_os(WRITE_NEW).is_some() {
        fs::write(&path, to_hex(&sample.bytes)).unwrap();
    }
    assert!(
        path.exists(),
        "{} is new: `{WRITE_NEW}=1 cargo nextest run -p allot-proto --test golden`, and commit its file",
        sample.name
    );
    from_hex(&fs::read_to_string(path).unwrap())
}

#[test]
fn what_was_written_once_is_still_read() {
    for sample in samples::all() {
        assert!(
            (sample.means_the_same)(&golden(&sample)),
            "{} is not read any more as it was written: field numbers and meanings never change. Take the change \
             back; a new meaning needs a new field",
            sample.name
        );
    }
}

#[test]
fn messages_are_written_as_they_always_were() {
    for sample in samples::all() {
        assert_eq!(
            to_hex(&sample.bytes),
            to_hex(&golden(&sample)),
            "{} is written in another way than before: older programs may not read it. Take the change back; what is \
             new needs a sample of its own",
            sample.name
        );
    }
}

#[test]
fn no_golden_is_ever_taken_away() {
    let sampled: BTreeSet<String> =
        samples::all().iter().map(|sample| format!("{}.hex", sample.name)).collect();
    let kept = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        kept.collect::<BTreeSet<_>>(),
        sampled,
        "each file in tests/golden has its sample, and each sample its file"
    );
}
