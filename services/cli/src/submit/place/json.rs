//! Places in JSON: a walk along the way through a text that is known to be JSON.

use super::Step;

/// Where the last step of the way that is there leads to.
pub(super) fn find(text: &str, way: &[Step<'_>]) -> Option<usize> {
    let mut walk = Walk { text, at: 0 };
    let mut found = None;
    for step in way {
        let Some(at) = walk.enter(*step) else { break };
        found = Some(at);
    }
    found
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl Walk<'_> {
    /// From before a value to before the value that the step leads to. Returns where that is, or its key.
    fn enter(&mut self, step: Step<'_>) -> Option<usize> {
        self.white();
        match (step, self.next()?) {
            (Step::Key(wanted), '{') => loop {
                let key_at = self.item()?;
                let key = self.string()?;
                self.white();
                self.next().filter(|c| *c == ':')?;
                self.white();
                if key == wanted {
                    return Some(key_at);
                }
                self.value()?;
            },
            (Step::Item(index), '[') => {
                for _ in 0..index {
                    self.item()?;
                    self.value()?;
                }
                self.item()
            }
            _ => None,
        }
    }

    /// To the next item of what was entered, over a comma; nothing where there is none.
    fn item(&mut self) -> Option<usize> {
        self.white();
        if self.peek()? == ',' {
            self.next();
            self.white();
        }
        (!matches!(self.peek()?, '}' | ']')).then_some(self.at)
    }

    /// Over a value.
    fn value(&mut self) -> Option<()> {
        if self.peek()? == '"' {
            return self.string().map(|_| ());
        }
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some('"') => {
                    self.string()?;
                    continue;
                }
                Some('{' | '[') => depth += 1,
                Some('}' | ']') if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        self.next();
                        return Some(());
                    }
                }
                None | Some(',' | '}' | ']') if depth == 0 => return Some(()),
                None => return None,
                Some(_) => {}
            }
            self.next();
        }
    }

    /// Over a text in quotes; returns it as JSON reads it.
    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.next().filter(|c| *c == '"')?;
        loop {
            match self.next()? {
                '"' => return serde_json::from_str(&self.text[start..self.at]).ok(),
                '\\' => {
                    self.next()?;
                }
                _ => {}
            }
        }
    }

    fn white(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }
}
