//! Prints the Rust types of `schemas/allot/v1`, for `cargo xtask codegen` to put into allot-proto.
//!
//! A program of its own, so that `xtask` builds without the code generator.

use std::path::Path;

use anyhow::Context;
use prost_build::Module;

const SCHEMAS: &str = "schemas";
const PACKAGE: &str = "allot/v1";

fn main() -> anyhow::Result<()> {
    let files = schema_files(&Path::new(SCHEMAS).join(PACKAGE))?;
    let descriptors = protox::compile(&files, [SCHEMAS]).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let module = Module::from_protobuf_package_name("allot.v1");
    let requests = descriptors.file.into_iter().map(|file| (module.clone(), file)).collect();
    let generated = prost_build::Config::new().btree_map(["."]).generate(requests)?;
    generated.into_values().for_each(|code| print!("{code}"));
    Ok(())
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
