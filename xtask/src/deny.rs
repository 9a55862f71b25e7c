//! What may be depended on, as `deny.toml` says. The file is cargo-deny's; this reads the part of it that the project
//! uses, because cargo-deny itself takes longer to build than everything else here together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::graph::{Crate, Graph};
use crate::licence;
use crate::run::root;

#[derive(Deserialize)]
struct Policy {
    graph: GraphPolicy,
    licenses: LicencePolicy,
    bans: BanPolicy,
}

#[derive(Deserialize)]
struct GraphPolicy {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct LicencePolicy {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct BanPolicy {
    skip: Vec<Named>,
    deny: Vec<Named>,
}

/// A crate, as `name` or `name@version`, and why it is named.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// Checks all of it.
pub(crate) fn deny() -> Result<()> {
    let text = fs::read_to_string(root().join("deny.toml")).context("cannot read deny.toml")?;
    let policy: Policy = toml::from_str(&text).context("deny.toml is not as `cargo xtask deny` reads it")?;
    let graph = Graph::load(&policy.graph.targets)?;
    let outside: Vec<&Crate> = graph.crates().filter(|found| found.source.is_some()).collect();
    let faults: Vec<String> = [
        outside.iter().filter_map(|found| unlicensed(&policy.licenses, found)).collect(),
        outside.iter().filter_map(|found| unknown_source(found)).collect(),
        outside.iter().filter_map(|found| banned(&policy.bans, found)).collect(),
        duplicates(&policy.bans, &outside),
        idle_skips(&policy.bans, &outside),
    ]
    .concat();
    if !faults.is_empty() {
        bail!("{}\n\nthe rules are in deny.toml", faults.join("\n"));
    }
    println!("{} crates from outside are as deny.toml wants them", outside.len());
    Ok(())
}

fn unlicensed(policy: &LicencePolicy, found: &Crate) -> Option<String> {
    let Some(licence) = &found.licence else {
        return Some(format!("{} {} names no licence", found.name, found.version));
    };
    let refused = !licence::allows(&policy.allow, licence);
    refused.then(|| format!("{} {}: the licence {licence:?} is not allowed", found.name, found.version))
}

fn unknown_source(found: &Crate) -> Option<String> {
    let source = found.source.as_deref()?;
    (!source.starts_with("registry+")).then(|| {
        format!("{} {} comes from {source}: only the registry is allowed", found.name, found.version)
    })
}

fn banned(policy: &BanPolicy, found: &Crate) -> Option<String> {
    let rule = policy.deny.iter().find(|rule| rule.names(found))?;
    Some(format!("{} {} is banned: {}", found.name, found.version, rule.reason))
}

/// Crates that are there in several versions, where all but one have to be skipped.
fn duplicates(policy: &BanPolicy, outside: &[&Crate]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&Crate>> = BTreeMap::new();
    for found in outside.iter().filter(|found| !policy.skip.iter().any(|skip| skip.names(found))) {
        versions.entry(&found.name).or_default().push(found);
    }
    let several = versions.into_iter().filter(|(_, found)| found.len() > 1);
    let fault = |(name, found): (&str, Vec<&Crate>)| {
        let versions: Vec<&str> = found.iter().map(|found| found.version.as_str()).collect();
        format!("{name} is there in versions {}: agree on one, or skip the others", versions.join(", "))
    };
    several.map(fault).collect()
}

/// Skips that skip nothing any more.
fn idle_skips(policy: &BanPolicy, outside: &[&Crate]) -> Vec<String> {
    let idle = policy.skip.iter().filter(|skip| !outside.iter().any(|found| skip.names(found)));
    idle.map(|skip| format!("deny.toml skips {}, which is not there: remove the line", skip.name)).collect()
}

impl Named {
    /// True for the crate of that name, and of that version (`1`, `1.2` or `1.2.3`) where one is given.
    fn names(&self, found: &Crate) -> bool {
        let (name, version) =
            self.name.split_once('@').map_or((self.name.as_str(), None), |(n, v)| (n, Some(v)));
        let begins = |version: &str| {
            found.version.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        found.name == name && version.is_none_or(begins)
    }
}
