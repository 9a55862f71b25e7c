//! Prints what is generated from `schemas/allot/v1`, for `cargo xtask codegen` and `cargo xtask docs` to put into place.
//!
//! A program of its own, so that `xtask` builds without the code generator.

mod page;

use std::path::Path;

use anyhow::{Context, bail};
use prost_build::Module;
use prost_types::FileDescriptorProto;

const SCHEMAS: &str = "schemas";
const PACKAGE: &str = "allot/v1";

fn main() -> anyhow::Result<()> {
    let files = schema_files(&Path::new(SCHEMAS).join(PACKAGE))?;
    let descriptors = protox::compile(&files, [SCHEMAS]).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let printed = match std::env::args().nth(1).as_deref() {
        Some("types") => types(descriptors.file)?,
        Some("page") => page::messages(&descriptors.file),
        _ => bail!("say what to print: `types`, the Rust types, or `page`, the documentation"),
    };
    print!("{printed}");
    Ok(())
}

/// The Rust types.
fn types(files: Vec<FileDescriptorProto>) -> anyhow::Result<String> {
    let module = Module::from_protobuf_package_name("allot.v1");
    let requests = files.into_iter().map(|file| (module.clone(), file)).collect();
    let generated = prost_build::Config::new().btree_map(["."]).generate(requests)?;
    Ok(generated.into_values().collect())
}

/// The schemas, in the order of their names.
fn schema_files(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}: run this from the repository's root", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".proto") {
            files.push(format!("{PACKAGE}/{name}"));
        }
    }
    files.sort();
    Ok(files)
}
