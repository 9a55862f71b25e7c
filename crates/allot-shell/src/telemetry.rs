//! Logs: text for people, JSON for machines, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The environment variable that says what to log, such as `debug` or `info,allot_shell=trace`.
pub const FILTER: &str = "ALLOT_LOG";
/// The environment variable that chooses between `text` and `json`.
pub const FORMAT: &str = "ALLOT_LOG_FORMAT";

/// What is logged unless that says otherwise.
const DEFAULT: &str = "info";

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "{FILTER}={given:?} is not a log filter: write a level such as `debug`, or `info,allot_shell=trace`"
    )]
    Filter {
        /// The filter as given.
        given: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is no such format.
    #[error("{FORMAT}={given:?} is not a log format: write `text` or `json`")]
    Format {
        /// The format as given.
        given: String,
    },
}

/// Starts logging as `ALLOT_LOG` (`info` unless set) and `ALLOT_LOG_FORMAT` (`text` unless set) say. A process that
/// already logs goes on as it does.
///
/// # Errors
/// [`TelemetryError`] where one of the two variables cannot be read.
pub fn init() -> Result<(), TelemetryError> {
    init_at(DEFAULT)
}

/// As [`init`], with another filter where `ALLOT_LOG` is not set.
///
/// # Errors
/// As [`init`].
pub fn init_at(default: &str) -> Result<(), TelemetryError> {
    let given = std::env::var(FILTER).unwrap_or_default();
    let filter = read_filter(if given.is_empty() { default } else { &given })?;
    let json = wants_json(&std::env::var(FORMAT).unwrap_or_default())?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only where a subscriber is already installed, which then stays.
    let _ = if json {
        log.json().flatten_event(true).try_init()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    Ok(())
}

fn read_filter(given: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(given).map_err(|source| TelemetryError::Filter { given: given.to_owned(), source })
}

fn wants_json(given: &str) -> Result<bool, TelemetryError> {
    match given {
        "" | "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(TelemetryError::Format { given: given.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_or_format_is_refused_with_what_is_allowed() {
        assert!(read_filter(DEFAULT).is_ok());
        assert!(read_filter("info,allot_shell=trace").is_ok());
        assert!(read_filter("a=b=c").unwrap_err().to_string().contains("ALLOT_LOG"));
        assert!(wants_json("json").unwrap());
        assert!(wants_json("xml").unwrap_err().to_string().contains("`text` or `json`"));
    }
}
