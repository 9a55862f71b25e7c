//! Tables without borders: a header, columns that align, colours where they say something.

use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement, presets};

/// What a cell's colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// It went well.
    Good,
    /// It is under way.
    Busy,
    /// It needs a look.
    Bad,
    /// It matters less.
    Faint,
}

impl Tone {
    /// The text in this tone's colour, as terminals want it, where `colour` is set.
    pub(super) fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => 32,
            Self::Busy => 36,
            Self::Bad => 31,
            Self::Faint => 2,
        };
        if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// One cell.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a meaning.
    pub fn new(text: impl ToString, tone: Tone) -> Self {
        Self { text: text.to_string(), tone }
    }

    fn drawn(&self, align: CellAlignment) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(&self.text).set_alignment(align);
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Busy => cell.fg(Color::Cyan),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Faint => cell.add_attribute(Attribute::Dim),
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Rows under a header. A column whose name ends in `#` holds numbers and is set to the right.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// True where it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, without spaces at the ends of lines.
    #[must_use]
    pub fn draw(&self, colour: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let header = self.columns.iter().map(|name| Cell::new(name.trim_end_matches('#'), Tone::Faint));
        table.set_header(self.aligned(header));
        for row in &self.rows {
            table.add_row(self.aligned(row.iter().cloned()));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    fn aligned(&self, cells: impl Iterator<Item = Cell>) -> Vec<comfy_table::Cell> {
        let align = |name: &str| if name.ends_with('#') { CellAlignment::Right } else { CellAlignment::Left };
        self.columns.iter().zip(cells).map(|(name, cell)| cell.drawn(align(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["JOB#", "STATE", "NAME"]);
        table.row(["7".into(), Cell::new("finished", Tone::Good), "train".into()]);
        table.row(["1042".into(), "queued".into(), "-".into()]);
        table
    }

    #[test]
    fn columns_align_without_borders_or_spaces_at_the_ends_of_lines() {
        assert_eq!(
            sample().draw(false),
            "\
\x20JOB  STATE     NAME
   7  finished  train
1042  queued    -"
        );
    }

    #[test]
    fn colours_are_drawn_only_where_they_are_wanted() {
        assert!(sample().draw(true).contains("\u{1b}["));
        assert!(!sample().draw(false).contains('\u{1b}'));
    }
}
