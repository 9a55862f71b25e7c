//! Readers of the values that only jobs have.

use std::collections::BTreeMap;

use crate::document::Tree;
use crate::document::read::{Fault, Read, entries, list, text, whole};
use crate::id::JobId;
use crate::job::Command;

pub(super) fn command(value: &Tree) -> Read<Command> {
    const ALLOWED: &str = "a program and its arguments such as [\"sleep\", \"5\"], or a line for the shell";
    match value {
        Tree::Text(line) => Ok(Command::Shell(line.clone())),
        Tree::List(_) => {
            list(value, ALLOWED, |item| text(item, "a text").map(str::to_owned)).map(Command::Argv)
        }
        other => Err(Fault::given(other, ALLOWED)),
    }
}

pub(super) fn env(value: &Tree) -> Read<BTreeMap<String, String>> {
    let variable = |(name, value): &(String, Tree)| match text(value, "a text") {
        Ok(text) => Ok((name.clone(), text.to_owned())),
        Err(fault) => Err(fault.within(name)),
    };
    entries(value, "texts by name such as {\"LANG\": \"C\"}")?.iter().map(variable).collect()
}

pub(super) fn jobs(value: &Tree) -> Read<Vec<JobId>> {
    list(value, "a list of job ids such as [12, 13]", |item| {
        whole(item, "the id of a job, such as 12").map(JobId)
    })
}
