//! Licence expressions, such as `(MIT OR Apache-2.0) AND Unicode-3.0`.

use std::collections::BTreeSet;

/// True where the allowed licences suffice for what the SPDX expression asks.
pub(crate) fn allows(allowed: &BTreeSet<String>, expression: &str) -> bool {
    // Old manifests write `MIT/Apache-2.0` and mean OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut reader = Reader { allowed, words: spaced.split_whitespace().peekable() };
    let answer = reader.any();
    reader.words.next().is_none() && answer == Some(true)
}

/// Reads an expression; each function answers nothing where it is not one.
struct Reader<'a, I: Iterator<Item = &'a str>> {
    allowed: &'a BTreeSet<String>,
    words: std::iter::Peekable<I>,
}

impl<'a, I: Iterator<Item = &'a str>> Reader<'a, I> {
    /// `x OR y`
    fn any(&mut self) -> Option<bool> {
        let mut answer = self.all()?;
        while self.words.next_if_eq(&"OR").is_some() {
            answer |= self.all()?;
        }
        Some(answer)
    }

    /// `x AND y`
    fn all(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.words.next_if_eq(&"AND").is_some() {
            answer &= self.one()?;
        }
        Some(answer)
    }

    /// `x`, `x WITH exception` or `( x )`
    fn one(&mut self) -> Option<bool> {
        if self.words.next_if_eq(&"(").is_some() {
            let answer = self.any()?;
            return self.words.next_if_eq(&")").map(|_| answer);
        }
        let licence = self.words.next()?;
        if self.words.next_if_eq(&"WITH").is_none() {
            return Some(self.allowed.contains(licence));
        }
        let exception = self.words.next()?;
        Some(self.allowed.contains(&format!("{licence} WITH {exception}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_answered_as_spdx_means_them() {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        let cases = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT/GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND Unicode-3.0", true),
            ("GPL-3.0 OR MIT AND Unicode-3.0", true),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT OR (", false),
            ("MIT MIT", false),
            ("", false),
        ];
        for (expression, answer) in cases {
            assert_eq!(allows(&allowed, expression), answer, "{expression}");
        }
    }
}
