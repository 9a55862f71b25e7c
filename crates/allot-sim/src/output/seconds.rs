//! Times as seconds in documents: whole ones as whole numbers, exactly.

use allot_model::{Span, Time};
use serde::{Serialize, Serializer};

const MICROS: u64 = 1_000_000;

/// A time or a length of it, to be written in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(u64);

impl Seconds {
    pub(crate) fn at(time: Time) -> Self {
        Self(time.as_micros())
    }

    pub(crate) fn long(span: Span) -> Self {
        Self(span.as_micros())
    }
}

impl Serialize for Seconds {
    #[allow(clippy::cast_precision_loss, reason = "microseconds of 285 years are exact")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(MICROS) {
            serializer.serialize_u64(self.0 / MICROS)
        } else {
            serializer.serialize_f64(self.0 as f64 / 1e6)
        }
    }
}
