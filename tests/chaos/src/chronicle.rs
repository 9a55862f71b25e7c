//! What was done, and when, for people.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use allot_model::Time;
use allot_shell::clock;

/// Tells as it happens, and writes it down beside the logs.
#[derive(Debug)]
pub(crate) struct Chronicle {
    began: Time,
    file: File,
}

impl Chronicle {
    /// Begins one.
    pub(crate) fn begin(path: &Path) -> std::io::Result<Self> {
        Ok(Self { began: clock::now(), file: File::create(path)? })
    }

    /// Tells something that happens now.
    pub(crate) fn tell(&mut self, what: &str) {
        let now = clock::now();
        let line = format!("{:>9.3} {what}", now.since(self.began).as_secs_f64());
        println!("{line}");
        // With microseconds since 1970, as ledger and logs have them. Where the disk takes nothing, what was printed is left.
        let _ = writeln!(self.file, "{} {line}", now.as_micros());
    }
}
