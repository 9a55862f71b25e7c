//! How answers are printed: tables and sentences for people, JSON for programs.

mod moment;
mod progress;
mod table;
mod words;

use std::io::{self, IsTerminal, Write};

use allot_model::Time;
use clap::ValueEnum;
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

use crate::failure::Failure;

pub use moment::{Clock, length, timestamp};
pub use table::{Cell, Table, Tone};
pub use words::{amount, bytes, resources};

/// The forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Tables and sentences.
    #[default]
    Text,
    /// One JSON value, or one a line where output keeps coming.
    Json,
}

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// For people or for programs.
    pub format: Format,
    /// How points in time are written.
    pub clock: Clock,
    colour: bool,
    terminal: bool,
    /// How wide the terminal is, where there is one.
    width: Option<usize>,
    /// False where nobody is to be shown how far long work is.
    progress: bool,
}

impl Output {
    /// Output on this process's stdout: coloured only where that is a terminal and `NO_COLOR` is not set.
    #[must_use]
    pub fn stdout(format: Format, exact: bool, now: Time) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let terminal = io::stdout().is_terminal();
        Self {
            format,
            clock: Clock { now, exact },
            colour: wanted && terminal,
            terminal,
            width: terminal_size_of(io::stdout()).map(|(Width(columns), _)| columns.into()),
            progress: format == Format::Text,
        }
    }

    /// Output without colours, as a test or a pipe sees it.
    #[must_use]
    pub fn plain(format: Format, exact: bool, now: Time) -> Self {
        Self {
            format,
            clock: Clock { now, exact },
            colour: false,
            terminal: false,
            width: None,
            progress: false,
        }
    }

    /// The same for programs.
    #[must_use]
    pub fn as_json(self) -> Self {
        Self { format: Format::Json, progress: false, ..self }
    }

    /// True where programs read the output.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// True where a person reads the output at a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal && !self.is_json()
    }

    /// The text in the colour of its meaning, where there are colours.
    #[must_use]
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        tone.paint(text, self.colour)
    }

    /// Prints `value` as JSON, or what `text` makes of it.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn print<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.line(&serde_json::to_string_pretty(value).map_err(Failure::internal)?),
            Format::Text => self.line(text(value).trim_end()),
        }
    }

    /// Prints `value` as one line of JSON, or what `text` makes of it, at once.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn print_line<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.line(&serde_json::to_string(value).map_err(Failure::internal)?),
            Format::Text => self.line(&text(value)),
        }
    }

    /// A table drawn with this output's colours.
    #[must_use]
    pub fn draw(&self, table: &Table) -> String {
        table.draw(self.colour, self.width)
    }

    /// Prints one line; nothing where there is nothing to say.
    fn line(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }
}

/// Says something to the person at the terminal, beside the output proper.
pub fn note(text: &str) {
    // Nobody is left to be told where stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
