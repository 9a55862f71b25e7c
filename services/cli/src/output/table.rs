//! Tables without borders: a header, columns that align, colours where they say something.

use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands between two columns.
const GAP: u16 = 2;
/// A column is not cut to less than this.
const NARROWEST: usize = 8;

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

/// Rows under a header. A column whose name ends in `#` holds numbers and is set to the right; one whose name ends in `~`
/// is cut where the table is wider than the terminal.
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

    /// The table as text, without spaces at the ends of lines, and no wider than the terminal where that can be.
    #[must_use]
    pub fn draw(&self, colour: bool, terminal: Option<usize>) -> String {
        let too_wide = terminal.map_or(0, |most| self.width().saturating_sub(most));
        if too_wide == 0 { self.drawn(colour) } else { self.narrower(too_wide).drawn(colour) }
    }

    /// How many columns of a terminal it takes.
    fn width(&self) -> usize {
        let columns = 0..self.columns.len();
        columns.map(|at| self.width_of(at) + usize::from(GAP)).sum::<usize>().saturating_sub(GAP.into())
    }

    fn width_of(&self, column: usize) -> usize {
        let name = self.columns[column].trim_end_matches(['#', '~']).width();
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.width());
        cells.fold(name, usize::max)
    }

    /// The same with the columns that may be cut so much narrower, the last first, as far as anything is left of them to read.
    fn narrower(&self, mut by: usize) -> Self {
        let mut table = self.clone();
        let may_be_cut = |at: &usize| self.columns[*at].ends_with('~');
        for at in (0..self.columns.len()).rev().filter(may_be_cut) {
            let width = self.width_of(at);
            let most = width.saturating_sub(by).max(NARROWEST).min(width);
            by -= width - most;
            for cell in table.rows.iter_mut().filter_map(|row| row.get_mut(at)) {
                cell.text = cut(&cell.text, most);
            }
        }
        table
    }

    fn drawn(&self, colour: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let header =
            self.columns.iter().map(|name| Cell::new(name.trim_end_matches(['#', '~']), Tone::Faint));
        table.set_header(self.aligned(header));
        for row in &self.rows {
            table.add_row(self.aligned(row.iter().cloned()));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    fn aligned(&self, cells: impl Iterator<Item = Cell>) -> Vec<comfy_table::Cell> {
        let align = |name: &str| if name.ends_with('#') { CellAlignment::Right } else { CellAlignment::Left };
        self.columns.iter().zip(cells).map(|(name, cell)| cell.drawn(align(name))).collect()
    }
}

/// The beginning of a text, in so many columns of a terminal; what is left out leaves a `…`.
fn cut(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let mut width = 1;
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width <= most
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{kept}…")
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
            sample().draw(false, None),
            "\
\x20JOB  STATE     NAME
   7  finished  train
1042  queued    -"
        );
    }

    #[test]
    fn colours_are_drawn_only_where_they_are_wanted() {
        assert!(sample().draw(true, None).contains("\u{1b}["));
        assert!(!sample().draw(false, None).contains('\u{1b}'));
    }

    #[test]
    fn columns_align_by_what_a_terminal_shows_and_not_by_characters() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["日本語".into(), "running".into()]);
        table.row(["e\u{301}t\u{e9}".into(), "queued".into()]);
        table.row(["🚀".into(), Cell::new("failed", Tone::Bad)]);
        let drawn = table.draw(false, None);
        let starts: Vec<usize> =
            drawn.lines().map(|line| line.rsplit_once(' ').map_or(0, |(before, _)| before.width())).collect();
        assert_eq!(starts, [7; 4], "{drawn}");
    }

    #[test]
    fn a_table_is_cut_where_the_terminal_is_narrower_and_stays_readable() {
        let mut table = Table::new(&["JOB#", "NAME~", "STATE"]);
        table.row(["7".into(), "a name that is 日本 long".into(), "running".into()]);
        let cut = table.draw(false, Some(29));
        assert_eq!(cut, "JOB  NAME             STATE\n  7  a name that is…  running");
        let narrow = table.draw(false, Some(10));
        assert_eq!(narrow.lines().nth(1), Some("  7  a name …  running"), "{narrow}");
        assert!(table.draw(false, Some(80)).contains("日本 long"));
        assert_eq!(super::cut("日本語", 4), "日…");
    }
}
