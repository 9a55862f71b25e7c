//! Where in a job file a field stands, such as `resources.cpus` or `constraints[1]`: for people who have to mend it.
//!
//! TOML and JSON are read once more, with places; in YAML, whose reader tells none, the field is looked for by its lines.

mod json;
mod toml;
mod yaml;

use allot_model::job_file::Format;

/// A line and a column, both counted from 1; columns in characters.
pub(super) type Place = (usize, usize);

/// A step on the way to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'a> {
    /// To the entry of this name.
    Key(&'a str),
    /// To the item of this index.
    Item(usize),
}

/// The place of a field in a text that can be read, as far down the way to it as there is one: of the key of an entry,
/// or of an item.
pub(super) fn of_field(text: &str, format: Format, field: &str) -> Option<Place> {
    let find = |way: &[Step<'_>]| match format {
        Format::Toml => toml::find(text, way),
        Format::Yaml => yaml::find(text, way),
        Format::Json => json::find(text, way),
    };
    // Of the ways that may be meant the one that leads furthest.
    let at = ways(field).iter().filter_map(|way| find(way)).max();
    Some(place(text, at?))
}

/// The ways that may be meant: in one of them each name between dots is an entry, in the others some are one name, as that of
/// the queue `a.b` in `queues.a.b.weight`.
fn ways(field: &str) -> Vec<Vec<Step<'_>>> {
    let mut dots: Vec<usize> = field.match_indices('.').map(|(at, _)| at).collect();
    dots.push(field.len());
    let mut ways = vec![way(field)];
    for (first, start) in dots.iter().enumerate() {
        for end in dots.iter().skip(first + 2) {
            let (before, name, after) = (&field[..*start], &field[start + 1..*end], &field[*end..]);
            ways.push([way(before), vec![Step::Key(name)], way(after)].concat());
        }
    }
    ways
}

/// `constraints[1]` is the entry `constraints`, then its item 1.
fn way(field: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for part in field.split('.').filter(|part| !part.is_empty()) {
        let (key, items) = part.split_once('[').unwrap_or((part, ""));
        if !key.is_empty() {
            steps.push(Step::Key(key));
        }
        let items = items.split('[').filter_map(|item| item.trim_end_matches(']').parse().ok());
        steps.extend(items.map(Step::Item));
    }
    steps
}

fn place(text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_way_of_keys_and_items() {
        assert_eq!(way("constraints[1]"), [Step::Key("constraints"), Step::Item(1)]);
        assert_eq!(way("resources.cpus"), [Step::Key("resources"), Step::Key("cpus")]);
        assert_eq!(way(""), []);
    }

    #[test]
    fn fields_are_found_in_every_format_whatever_stands_before_them() {
        let cases = [
            (Format::Toml, "name = 'tasks = 0'\n\ntasks = 0\n", "tasks", (3, 1)),
            (Format::Toml, "[resources]\ncpus = 1\nmem = 'x'", "resources.mem", (3, 1)),
            (Format::Toml, "env = { 'tasks' = 'x', B = 2 }", "env.B", (1, 24)),
            (Format::Toml, "resources.cpus = 'x'", "resources.cpus", (1, 11)),
            (Format::Toml, "constraints = [\n  'a == b',\n  'c ~ d',\n]", "constraints[1]", (3, 3)),
            (Format::Json, "{\"name\": \"\\\"tasks\\\": 0\",\n \"tasks\": 0}", "tasks", (2, 2)),
            (Format::Json, "{\"env\": {\"tasks\": \"1\"}, \"tasks\": 0}", "tasks", (1, 25)),
            (Format::Json, "{\"command\": [\"a\", {\"b\": [1, 2]}, 3]}", "command[2]", (1, 34)),
            (Format::Json, "{\"é\": 1, \"tasks\": 0}", "tasks", (1, 10)),
            (Format::Yaml, "name: 'tasks: 0'\ntasks: 0\n", "tasks", (2, 1)),
            (Format::Yaml, "env:\n  tasks: x\nresources:\n  cpus: y\ntasks: 0\n", "tasks", (5, 1)),
            (Format::Yaml, "env:\n  tasks: x\nresources:\n  cpus: y\n", "resources.cpus", (4, 3)),
            (Format::Yaml, "constraints:\n  - a == b\n  - c ~ d\n", "constraints[1]", (3, 5)),
            (Format::Yaml, "constraints:\n- a == b\n- c ~ d\ntasks: 0", "tasks", (4, 1)),
            (Format::Yaml, "{command: [x], tasks: 0}", "tasks", (1, 16)),
            (Format::Yaml, "queues:\n  A: {}\n  B.z: {weight: 0}\n", "queues.B.z.weight", (3, 9)),
            (Format::Json, "{\"queues\": {\"a.b\": {\"weight\": 0}}}", "queues.a.b.weight", (1, 21)),
            (Format::Toml, "[queues]\n'a.b.c' = {weight = 0}\n", "queues.a.b.c.weight", (2, 12)),
        ];
        for (format, text, field, place) in cases {
            assert_eq!(of_field(text, format, field), Some(place), "{field} in {text}");
        }
    }

    #[test]
    fn what_is_not_there_is_sought_as_far_as_the_way_goes() {
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            assert_eq!(of_field("", format, "command"), None);
        }
        assert_eq!(of_field("{\"env\": {}}", Format::Json, "env.A"), Some((1, 2)), "as far as there is one");
        assert_eq!(of_field("env: {}\n", Format::Yaml, "env.A"), Some((1, 1)));
        assert_eq!(of_field("env = {}\n", Format::Toml, "env.A"), Some((1, 1)));
    }
}
