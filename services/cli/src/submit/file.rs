//! Job files: one job each, or one job as JSON in each line.

use std::io::Read;
use std::path::Path;

use allot_model::Rejection;
use allot_model::job_file::{self, Format, InvalidFile};
use serde_json::Value;

use super::flags::{Base, not_a_job};
use super::place::{self, Place};
use crate::failure::Failure;
use unicode_width::UnicodeWidthStr;

/// How much of a long line is shown.
const EXCERPT_CHARS: usize = 100;

/// Reads a job file, or stdin where it is `-`.
pub(crate) fn read(path: &Path, format: Option<Format>) -> Result<Base, Failure> {
    let (name, bytes) = bytes(path)?;
    let format = format.or_else(|| Format::of_path(&name)).unwrap_or_else(|| guess(&bytes));
    parse(&name, &bytes, format)
}

/// Reads a file with a job as JSON in each line that is not empty.
pub(super) fn read_lines(path: &Path) -> Result<Vec<Base>, Failure> {
    let (name, bytes) = bytes(path)?;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    filled.map(|(at, line)| parse_from(&name, at, line, Format::Json)).collect()
}

/// The contents of a file, or of stdin where it is `-`, with its name.
pub(crate) fn bytes(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let name = path.display().to_string();
    if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(("stdin".to_owned(), bytes));
    }
    match std::fs::read(path) {
        Ok(bytes) => Ok((name, bytes)),
        Err(error) => Err(Failure::Usage(format!("{name} cannot be read: {error}"))),
    }
}

fn parse(name: &str, bytes: &[u8], format: Format) -> Result<Base, Failure> {
    parse_from(name, 0, bytes, format)
}

/// Reads a job from a text before which there are so many lines in the file.
fn parse_from(name: &str, lines_before: usize, bytes: &[u8], format: Format) -> Result<Base, Failure> {
    let file = job_file::parse_file(bytes, format).map_err(|invalid| {
        told(name, lines_before, (bytes, format), &invalid, |rejection| not_a_job(rejection).to_string())
    })?;
    let queue = file.queue.clone();
    let Value::Object(mut fields) = file.to_json() else {
        return Err(Failure::internal("a job is an object"));
    };
    fields.remove("queue");
    Ok(Base { queue, fields })
}

/// What is wrong with a document, with the place and the line that is spoken of. `words` says it for a wrong field.
pub(crate) fn told(
    name: &str,
    lines_before: usize,
    (bytes, format): (&[u8], Format),
    invalid: &InvalidFile,
    words: impl Fn(&Rejection) -> String,
) -> Failure {
    let text = String::from_utf8_lossy(bytes);
    let (place, message) = match invalid {
        InvalidFile::Syntax { line, column, message } => (Some((*line, *column)), message.clone()),
        InvalidFile::Field(rejection) => (place::of_field(&text, format, &rejection.field), words(rejection)),
    };
    let Some((line, column)) = place else { return Failure::Usage(format!("{name}: {message}")) };
    let excerpt = excerpt(&text, lines_before, (line, column));
    Failure::Usage(format!("{name}:{}:{column}: {message}{excerpt}", line + lines_before))
}

/// The line that is spoken of, with a mark below the column.
fn excerpt(text: &str, lines_before: usize, (line, column): Place) -> String {
    let Some(said) = text.lines().nth(line - 1) else { return String::new() };
    let number = (line + lines_before).to_string();
    let from = column.saturating_sub(EXCERPT_CHARS / 2);
    let shown: String =
        said.chars().skip(from).take(EXCERPT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let before: String = shown.chars().take(column - 1 - from).collect();
    let (margin, indent) = (" ".repeat(number.len()), " ".repeat(before.width()));
    format!("\n  {number} | {shown}\n  {margin} | {indent}^")
}

/// How a text without a telling name is written.
pub(crate) fn guess(bytes: &[u8]) -> Format {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some(line) if line.starts_with('{') => Format::Json,
        Some(line) if line.starts_with('[') => Format::Toml,
        Some(line) => {
            let (equals, colon) = (line.find('='), line.find(':'));
            if equals.is_some_and(|at| colon.is_none_or(|colon| at < colon)) {
                Format::Toml
            } else {
                Format::Yaml
            }
        }
        None => Format::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::flags::JobFlags;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        flags: JobFlags,
    }

    #[test]
    fn the_line_that_is_wrong_is_shown_with_a_mark() {
        let text = "command = ['true']\nconstraints = ['日本 == x', 'y ~ z']\n";
        let failure = parse("job", text.as_bytes(), Format::Toml).unwrap_err().to_string();
        let shown = "\n  2 | constraints = ['日本 == x', 'y ~ z']\n    |                             ^";
        assert!(failure.starts_with("job:2:27: constraints[1]: ") && failure.ends_with(shown), "{failure}");
    }

    #[test]
    fn each_line_is_a_job_and_mistakes_count_from_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let job = "{\"command\": [\"true\"]}";
        std::fs::write(&path, format!("{job}\n\n{job}\n")).unwrap();
        assert_eq!(read_lines(&path).unwrap().len(), 2);
        std::fs::write(&path, format!("{job}\n\n{{\"command\": 7}}\n")).unwrap();
        let failure = read_lines(&path).unwrap_err().to_string();
        assert!(failure.contains("jobs:3:2: command: "), "{failure}");
        assert!(failure.contains("\n  3 | {\"command\": 7}"), "{failure}");
    }

    #[test]
    fn flags_override_the_file_and_its_queue() {
        let base = parse("job.toml", b"queue = 'a'\ncommand = ['true']\ntasks = 3\n", Format::Toml).unwrap();
        let flags = |words: &[&str]| Flags::try_parse_from([&["x"], words].concat()).unwrap().flags;
        let job = flags(&["--tasks", "5"]).submission(base.clone()).unwrap();
        assert_eq!((job.queue().as_str(), job.tasks()), ("a", 5));
        assert_eq!(flags(&["--queue", "b"]).submission(base).unwrap().queue().as_str(), "b");
    }

    #[test]
    fn a_mistake_in_a_file_is_shown_with_its_line_and_column() {
        let cases = [
            (Format::Toml, "command = ['true']\ntasks = = 3\n", "job:2:"),
            (Format::Toml, "command = ['true']\n\n[resources]\ncpus = 'x'\n", "job:4:1: resources.cpus: "),
            (Format::Yaml, "command: ['true']\nresources:\n  cpus: x\n", "job:3:3: resources.cpus: "),
            (Format::Json, "{\"command\": [\"true\"],\n \"tsks\": 3}", "job:2:2: tsks: "),
            (Format::Json, "{\"command\": ", "job:1:"),
        ];
        for (format, text, beginning) in cases {
            let failure = parse("job", text.as_bytes(), format).unwrap_err().to_string();
            assert!(failure.starts_with(beginning), "{text}: {failure}");
        }
    }

    #[test]
    fn an_unknown_field_comes_with_a_suggestion() {
        let failure =
            parse("job", b"{\"command\": [\"true\"], \"tsks\": 3}", Format::Json).unwrap_err().to_string();
        assert!(failure.contains("tasks"), "{failure}");
    }

    #[test]
    fn the_format_is_told_by_the_text_where_the_name_does_not() {
        let cases = [
            ("{\"command\": []}", Format::Json),
            ("# a job\ncommand = \"a: b\"", Format::Toml),
            ("[resources]\ncpus = 1", Format::Toml),
            ("command: a=b", Format::Yaml),
            ("---\ncommand: x", Format::Yaml),
        ];
        for (text, format) in cases {
            assert_eq!(guess(text.as_bytes()), format, "{text}");
        }
    }
}
