//! The graph of crates, as `cargo metadata` tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::run::{cargo, output};

/// Crates and what they depend on, on the given platforms.
#[derive(Debug)]
pub(crate) struct Graph {
    crates: BTreeMap<String, Crate>,
    members: BTreeSet<String>,
}

/// A crate in the graph.
#[derive(Debug)]
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its licence, as an SPDX expression.
    pub(crate) licence: Option<String>,
    /// Where it comes from; nothing for a crate of this repository.
    pub(crate) source: Option<String>,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// True where it runs at build time only.
    is_macro: bool,
    /// What it needs at run time, by id.
    normal: Vec<String>,
}

impl Graph {
    /// Asks cargo.
    pub(crate) fn load(platforms: &[String]) -> Result<Self> {
        let filters = platforms.iter().flat_map(|platform| ["--filter-platform", platform]);
        let json = output(cargo().args(["metadata", "--format-version", "1"]).args(filters))?;
        let metadata: Metadata =
            serde_json::from_str(&json).context("cannot read what `cargo metadata` prints")?;
        Ok(metadata.into())
    }

    /// The crates of this repository.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Crate> {
        self.members.iter().filter_map(|id| self.crates.get(id))
    }

    /// All crates.
    pub(crate) fn crates(&self) -> impl Iterator<Item = &Crate> {
        self.crates.values()
    }

    /// What `from` needs at run time, directly.
    pub(crate) fn needs(&self, from: &Crate) -> impl Iterator<Item = &Crate> {
        from.normal.iter().filter_map(|id| self.crates.get(id))
    }

    /// What is linked into a program that uses `from`, each with the way there, such as `a → b → c`.
    pub(crate) fn linked<'a>(&'a self, from: &'a Crate) -> BTreeMap<&'a str, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![(from, from.name.clone())];
        while let Some((next, way)) = open.pop() {
            for needed in self.needs(next).filter(|needed| !needed.is_macro) {
                let way = format!("{way} → {}", needed.name);
                if found.insert(needed.name.as_str(), way.clone()).is_none() {
                    open.push((needed, way));
                }
            }
        }
        found
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Nothing for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
}

impl From<Metadata> for Graph {
    fn from(metadata: Metadata) -> Self {
        let normal = |node: Node| {
            let is_normal = |dep: &Dependency| dep.dep_kinds.iter().any(|kind| kind.kind.is_none());
            (node.id, node.deps.into_iter().filter(is_normal).map(|dep| dep.pkg).collect())
        };
        // What is not on the platforms asked for is among the packages, but not among the nodes.
        let mut needs: BTreeMap<String, Vec<String>> =
            metadata.resolve.nodes.into_iter().map(normal).collect();
        let with_needs = |package: Package| {
            let normal = needs.remove(&package.id)?;
            Some((package.id.clone(), package.into_crate(normal)))
        };
        Self {
            crates: metadata.packages.into_iter().filter_map(with_needs).collect(),
            members: metadata.workspace_members,
        }
    }
}

impl Package {
    fn into_crate(self, normal: Vec<String>) -> Crate {
        let is_macro = self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"));
        let folder = self.manifest_path.parent().unwrap_or(Path::new("")).to_owned();
        let Self { name, version, license: licence, source, .. } = self;
        Crate { name, version, licence, source, folder, is_macro, normal }
    }
}
