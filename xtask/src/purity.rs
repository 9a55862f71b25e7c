//! What makes a core testable: pure crates cannot reach the outside, and dependencies point one way.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::graph::{Crate, Graph};
use crate::run::root;

/// What must not be linked into a pure crate: runtimes, networks, clocks, random sources, operating system calls.
const IMPURE: [&str; 18] = [
    "async-io",
    "async-nats",
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "nix",
    "rand",
    "rand_core",
    "rustix",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tracing-subscriber",
];

/// What must not stand in the source of a pure crate.
const FORBIDDEN: [&str; 12] = [
    "std::env::",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::{",
    "async fn",
    ".await",
    "unsafe ",
];

/// Where a crate stands: it may depend on lower layers only, so that crates side by side do not know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Model,
    Bus,
    Foundation,
    Core,
    /// What drives cores: for real, or on virtual time.
    Shell,
    /// What services, and tests of them, are built with.
    Kit,
    Service,
    Cli,
    /// What nothing depends on.
    Tool,
}

impl Layer {
    fn of(name: &str) -> Self {
        match name {
            "allot-model" => Self::Model,
            "allot-bus" => Self::Bus,
            "allot-proto" | "allot-engine" | "allot-workload" => Self::Foundation,
            "allot-sim" | "allot-cluster-sim" | "allot-shell" => Self::Shell,
            "allot-allocator" | "allot-report" | "allot-testkit" => Self::Kit,
            "allot" => Self::Cli,
            "xtask" | "allot-chaos" | "allot-codegen" | "allot-conformance" | "allot-e2e"
            | "allot-simulation" => Self::Tool,
            _ if name.ends_with("-core") || name == "allot-writer" => Self::Core,
            _ => Self::Service,
        }
    }
}

fn is_pure(name: &str) -> bool {
    matches!(name, "allot-sim" | "allot-cluster-sim" | "allot-report") || Layer::of(name) <= Layer::Core
}

/// Checks all of it.
pub(crate) fn purity() -> Result<()> {
    let graph = Graph::load(&["x86_64-unknown-linux-gnu".to_owned()])?;
    let mut faults = Vec::new();
    for member in graph.members() {
        faults.extend(wrong_way(&graph, member));
        if is_pure(&member.name) {
            faults.extend(impure_links(&graph, member));
            faults.extend(forbidden_words(member)?);
        }
    }
    if !faults.is_empty() {
        bail!("{}\n\nARCHITECTURE.md says why; the rules are in xtask/src/purity.rs", faults.join("\n"));
    }
    let pure = graph.members().filter(|member| is_pure(&member.name)).count();
    println!("{pure} pure crates are pure");
    Ok(())
}

/// Dependencies of `member` that do not point down.
fn wrong_way(graph: &Graph, member: &Crate) -> Vec<String> {
    let ours = |needed: &&Crate| needed.source.is_none();
    let upwards = |needed: &&Crate| Layer::of(&needed.name) >= Layer::of(&member.name);
    let fault = |needed: &Crate| {
        let (upper, lower) = (Layer::of(&member.name), Layer::of(&needed.name));
        format!("{} ({upper:?}) must not depend on {} ({lower:?})", member.name, needed.name)
    };
    graph.needs(member).filter(ours).filter(upwards).map(fault).collect()
}

/// Crates linked into `member` that reach the outside.
fn impure_links(graph: &Graph, member: &Crate) -> Vec<String> {
    let linked = graph.linked(member);
    let ways = IMPURE.iter().filter_map(|name| linked.get(name));
    ways.map(|way| format!("{} is pure and must not link this: {way}", member.name)).collect()
}

/// Places in the source of `member` that reach the outside.
fn forbidden_words(member: &Crate) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in rust_files(&member.folder.join("src"))? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let place = file.strip_prefix(root()).unwrap_or(&file).display();
        faults.extend(
            forbidden_in(&text)
                .map(|(line, word)| format!("{place}:{line}: `{word}` must not stand in a pure crate")),
        );
    }
    Ok(faults)
}

/// Forbidden words in a source text, each with its line. Comments may say what they like.
fn forbidden_in(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.enumerate().flat_map(|(i, line)| {
        FORBIDDEN.iter().filter(move |word| line.contains(**word)).map(move |word| (i + 1, *word))
    })
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_the_outside_is_found_and_comments_are_not() {
        let text = "use std::fmt;\n// std::fs is for shells\nuse std::fs::File;\npub async fn wait() {}\n";
        let found: Vec<_> = forbidden_in(text).collect();
        assert_eq!(found, [(3, "std::fs"), (4, "async fn")]);
    }

    #[test]
    fn layers_are_ordered_as_the_architecture_says() {
        let order = [
            "allot-model",
            "allot-bus",
            "allot-offers-core",
            "allot-shell",
            "allot-testkit",
            "allot-offers",
            "allot",
        ];
        assert!(order.windows(2).all(|pair| Layer::of(pair[0]) < Layer::of(pair[1])));
    }
}
