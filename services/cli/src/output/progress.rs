//! Progress of long work, on stderr and only where a person watches.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use super::Output;

const BAR: &str = "{elapsed_precise} [{bar:40}] {human_pos}/{human_len} {msg}";
const SPINNER: &str = "{spinner} {msg}";

impl Output {
    /// A bar of `length` steps; nothing where programs read the output or nobody watches.
    #[must_use]
    pub fn bar(&self, length: u64) -> ProgressBar {
        self.shown(|| styled(ProgressBar::new(length), BAR))
    }

    /// Something that turns with each message that says what is waited for, and is not there before the first one;
    /// nothing where nobody watches.
    #[must_use]
    pub fn spinner(&self) -> ProgressBar {
        self.shown(|| styled(ProgressBar::new_spinner(), SPINNER))
    }

    fn shown(&self, bar: impl FnOnce() -> ProgressBar) -> ProgressBar {
        if self.progress && io::stderr().is_terminal() { bar() } else { ProgressBar::hidden() }
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    // The templates are fixed; where indicatif does not take one, its own is good enough.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
