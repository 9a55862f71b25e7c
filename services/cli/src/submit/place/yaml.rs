//! Places in YAML: by the lines and their indentation, as jobs are mostly written; within one line, by the key.

use super::Step;

/// A line that is neither empty nor a remark: where it begins in the text, how far it is indented, and what it says.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    at: usize,
    indent: usize,
    text: &'a str,
}

/// Where the last step of the way that can be found leads to.
pub(super) fn find(text: &str, way: &[Step<'_>]) -> Option<usize> {
    let lines: Vec<Line<'_>> = lines(text).collect();
    let mut inside = lines.as_slice();
    let mut found = None;
    for step in way {
        let next = match step {
            Step::Key(key) => entry(inside, key),
            Step::Item(index) => item(inside, *index),
        };
        let Some((at, below)) = next else {
            // Written in one line, as in JSON: the key itself is looked for.
            let Step::Key(key) = step else { break };
            return within_line(text, found.unwrap_or(0), key).or(found);
        };
        found = Some(at);
        inside = below;
    }
    found
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut at = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        let said = line.trim_start_matches(' ');
        let indent = line.len() - said.len();
        let said = said.trim_end();
        (!said.is_empty() && !said.starts_with('#') && said != "---").then_some(Line {
            at: start,
            indent,
            text: said,
        })
    })
}

/// The entry of this name among the lines of a mapping, and the lines below it.
fn entry<'a, 'b>(lines: &'a [Line<'b>], key: &str) -> Option<(usize, &'a [Line<'b>])> {
    let indent = lines.first()?.indent;
    let begins = |line: &Line<'_>| line.indent == indent && is_key(line.text, key);
    let at = lines.iter().position(begins)?;
    let line = lines[at];
    let below = &lines[at + 1..];
    // A list may stand as far to the left as the key that it belongs to.
    let belongs =
        |line: &&Line<'_>| line.indent > indent || (line.indent == indent && line.text.starts_with("- "));
    let length = below.iter().take_while(belongs).count();
    Some((line.at + line.indent, &below[..length]))
}

fn is_key(text: &str, key: &str) -> bool {
    let bare = text.trim_start_matches(['"', '\'']);
    bare.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
}

/// The item of this index among the lines of a list, and the lines below it.
fn item<'a, 'b>(lines: &'a [Line<'b>], index: usize) -> Option<(usize, &'a [Line<'b>])> {
    let indent = lines.first()?.indent;
    let is_item = |line: &Line<'_>| line.indent == indent && line.text.starts_with("- ");
    let (at, line) = lines.iter().enumerate().filter(|(_, line)| is_item(line)).nth(index)?;
    let begins = line.at + line.indent + (line.text.len() - line.text[1..].trim_start().len());
    Some((begins, &lines[at + 1..at + 1]))
}

/// Where `key` stands as a key at `from` or after.
fn within_line(text: &str, from: usize, key: &str) -> Option<usize> {
    let is_key = |at: usize| {
        let before = text[..at].trim_end_matches(['"', '\'', ' ']).chars().next_back();
        let after = text[at + key.len()..].trim_start_matches(['"', '\'', ' ']);
        before.is_none_or(|c| matches!(c, '{' | ',' | '\n')) && after.starts_with(':')
    };
    let rest = text.get(from..)?;
    rest.match_indices(key).map(|(at, _)| from + at).find(|at| is_key(*at))
}
