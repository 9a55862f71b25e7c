//! Lines that go across and up or down, as short as SVG can say them.

use std::fmt::Write as _;

/// A path of whole coordinates. Moves in one direction become one.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    text: String,
    at: (i64, i64),
    /// What is still to be written: across, and down.
    pending: (i64, i64),
}

impl Path {
    /// Begins there.
    pub(crate) fn at(x: u64, y: u64) -> Self {
        let (x, y) = (whole(x), whole(y));
        Self { text: format!("M{x} {y}"), at: (x, y), pending: (0, 0) }
    }

    /// Goes across.
    pub(crate) fn across(&mut self, x: u64) {
        let way = whole(x) - self.at.0;
        if self.pending.1 != 0 && way != 0 {
            self.write();
        }
        self.at.0 += way;
        self.pending.0 += way;
    }

    /// Goes up or down.
    pub(crate) fn down(&mut self, y: u64) {
        let way = whole(y) - self.at.1;
        if self.pending.0 != 0 && way != 0 {
            self.write();
        }
        self.at.1 += way;
        self.pending.1 += way;
    }

    /// The path as it is.
    pub(crate) fn open(mut self) -> String {
        self.write();
        self.text
    }

    /// The path, and back to its beginning.
    pub(crate) fn closed(self) -> String {
        self.open() + "z"
    }

    fn write(&mut self) {
        let (x, y) = std::mem::take(&mut self.pending);
        let written = match (x, y) {
            (0, 0) => Ok(()),
            (x, 0) => write!(self.text, "h{x}"),
            (_, y) => write!(self.text, "v{y}"),
        };
        debug_assert!(written.is_ok(), "writing to a text does not fail");
    }
}

fn whole(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_in_one_direction_are_one() {
        let mut path = Path::at(0, 9);
        path.across(1);
        path.down(9);
        path.across(3);
        path.down(4);
        path.down(5);
        path.across(4);
        assert_eq!(path.clone().open(), "M0 9h3v-4h1");
        path.down(9);
        assert_eq!(path.closed(), "M0 9h3v-4h1v4z");
    }
}
