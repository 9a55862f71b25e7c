//! `docs/conformance.md` names a test for every row, and every such test is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every row there is.
const ROWS: &str = "F1 F2 F3 F4 F5 F6 F12 F13 F14 A1 A5 A7 A8 A10 A16 A20 A31 Q1 Q2 Q5 Q9 Q11 T1 T2 T3 T4 T5 T6 T9 T10 T11 \
                    T12 N1 N2 N4 N5 N6 N12 N17 N18 N19 N20 G1 G2 G3 G4 H1 H2 H3 H4 H6 B S P KTH OPENB";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The tests that the page names, by row, as path and name.
fn listed() -> BTreeMap<String, Vec<(String, String)>> {
    let page = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let mut rows: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let row = line.trim_matches(['|', ' ']).split('|').next().unwrap().trim().to_owned();
        let tests = line.split('`').filter_map(|part| part.split_once("::"));
        let tests = tests.map(|(path, name)| (path.to_owned(), name.to_owned()));
        rows.entry(row).or_default().extend(tests.filter(|(path, _)| path.ends_with(".rs")));
    }
    rows
}

/// All tests in a text, as far as they are functions without arguments or properties.
fn tests_in(text: &str) -> BTreeSet<&str> {
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        match function.and_then(|rest| rest.split_once('(')) {
            Some((name, _)) if is_test => _ = tests.insert(name),
            _ if line == "#[test]" || line.starts_with("#[tokio::test") => is_test = true,
            _ => {}
        }
        is_test &= line.starts_with("#[");
    }
    tests
}

#[test]
fn every_row_names_tests_that_are_there() {
    let listed = listed();
    for row in ROWS.split_whitespace() {
        let tests = listed.get(row).map(Vec::as_slice).unwrap_or_default();
        assert!(!tests.is_empty(), "docs/conformance.md names no test for {row}");
        for (path, name) in tests {
            let text = fs::read_to_string(root().join(path)).unwrap_or_default();
            assert!(tests_in(&text).contains(name.as_str()), "{row}: there is no test {name} in {path}");
            assert!(
                name.starts_with(&format!("{}_", row.to_lowercase())),
                "{row}: the name of {name} does not begin with the row's"
            );
        }
    }
}

/// True for names such as `a8_…`: those of rows with a number.
fn is_of_a_row(name: &str) -> bool {
    let row = name.split_once('_').map_or("", |(row, _)| row).to_uppercase();
    row.len() > 1 && ROWS.split_whitespace().any(|known| known == row)
}

#[test]
fn every_test_that_is_named_for_a_row_is_listed() {
    let listed = listed();
    let listed: BTreeSet<&(String, String)> = listed.values().flatten().collect();
    let mut missing = Vec::new();
    for path in sources(&root()) {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        for name in tests_in(&text).into_iter().filter(|name| is_of_a_row(name)) {
            let test = (path.clone(), name.to_owned());
            if !listed.contains(&test) {
                missing.push(format!("{}::{}", test.0, test.1));
            }
        }
    }
    assert!(missing.is_empty(), "docs/conformance.md does not name\n{}", missing.join("\n"));
}

/// The sources of everything that has tests.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> = ["crates", "services", "tests"].iter().map(|part| root.join(part)).collect();
    let mut found = Vec::new();
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("target") {
                open.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push(entry);
            }
        }
    }
    found
}
