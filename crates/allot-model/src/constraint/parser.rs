//! The grammar of constraints, read by descent.
//!
//! ```text
//! constraint = ["not"] "exists" name | name test
//! test       = ("==" | "!=") value | ["not"] "in" list | "=~" value | ("<" | "<=" | ">" | ">=") number
//! list       = "(" value {"," value} ")"
//! name       = value
//! value      = word | text in single or double quotes
//! ```

use regex::RegexBuilder;

use super::{Comparison, Constraint, InvalidConstraint, Number, Pattern, Subject, Test};

/// Names that have to be written in quotes.
pub(super) const KEYWORDS: [&str; 2] = ["exists", "not"];

/// The largest compiled regular expression, and the largest cache it may build while it is matched, in bytes.
const LARGEST_PATTERN: usize = 256 * 1024;

const NAME: &str = "the name of an attribute such as `zone`, `agent.id` or `agent.host`";
const VALUE: &str = "a value: a word such as `b`, or text in quotes such as \"b c\"";
const OPERATORS: &str = "`==`, `!=`, `in`, `not in`, `=~`, `<`, `<=`, `>` or `>=`";

type Parsed<T> = Result<T, InvalidConstraint>;

/// True for the characters that a value may hold without quotes.
pub(super) fn is_word_character(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"\"'(),=!<>~\\".contains(c)
}

/// `text` as it stands between double quotes.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

pub(super) fn parse(source: &str) -> Parsed<Constraint> {
    if source.chars().nth(Constraint::MOST_CHARACTERS).is_some() {
        let message = format!("a constraint has at most {} characters", Constraint::MOST_CHARACTERS);
        return Err(InvalidConstraint { column: Constraint::MOST_CHARACTERS + 1, message });
    }
    let mut parser = Parser { source, at: 0 };
    let constraint = parser.constraint()?;
    parser.end()?;
    Ok(constraint)
}

struct Parser<'a> {
    source: &'a str,
    /// The byte that is read next.
    at: usize,
}

impl<'a> Parser<'a> {
    fn constraint(&mut self) -> Parsed<Constraint> {
        if self.keyword("not") {
            if !self.keyword("exists") {
                return Err(self.expected("`exists` after `not`"));
            }
            return Ok(Constraint { subject: self.subject()?, test: Test::Absent });
        }
        if self.keyword("exists") {
            return Ok(Constraint { subject: self.subject()?, test: Test::Exists });
        }
        let subject = self.subject()?;
        let test = self.test(&subject)?;
        Ok(Constraint { subject, test })
    }

    fn subject(&mut self) -> Parsed<Subject> {
        let column = self.column();
        let name = self.value(NAME)?;
        match name.as_str() {
            "agent.id" => Ok(Subject::AgentId),
            "agent.host" => Ok(Subject::AgentHost),
            "" => Err(InvalidConstraint { column, message: format!("expected {NAME}, found empty quotes") }),
            own if own.starts_with("agent.") => {
                let message =
                    format!("`{own}` is not known: of an agent itself there are `agent.id` and `agent.host`");
                Err(InvalidConstraint { column, message })
            }
            _ => Ok(Subject::Attribute(name)),
        }
    }

    fn test(&mut self, subject: &Subject) -> Parsed<Test> {
        if self.keyword("in") {
            return self.list().map(Test::OneOf);
        }
        if self.keyword("not") {
            if !self.keyword("in") {
                return Err(self.expected("`in` after `not`"));
            }
            return self.list().map(Test::NoneOf);
        }
        let column = self.column();
        match self.operator() {
            "==" => self.value(VALUE).map(Test::Equals),
            "!=" => self.value(VALUE).map(Test::Differs),
            "=~" => self.pattern().map(Test::Matches),
            "<" => self.number(Comparison::Less),
            "<=" => self.number(Comparison::AtMost),
            ">" => self.number(Comparison::More),
            ">=" => self.number(Comparison::AtLeast),
            "" => Err(self.no_operator(subject)),
            other => {
                let message = format!("`{other}` is not an operator: expected {OPERATORS}");
                Err(InvalidConstraint { column, message })
            }
        }
    }

    fn no_operator(&mut self, subject: &Subject) -> InvalidConstraint {
        let mut error = self.expected(&format!("{OPERATORS} after `{subject}`"));
        if self.keyword("exists") {
            error.message.push_str(&format!("; write `exists {subject}`"));
        }
        error
    }

    fn list(&mut self) -> Parsed<Vec<String>> {
        if !self.punctuation('(') {
            return Err(self.expected("`(` and a list of values such as `(a, b)`"));
        }
        let mut values = vec![self.value(VALUE)?];
        while !self.punctuation(')') {
            if !self.punctuation(',') {
                return Err(self.expected("`,` or `)`"));
            }
            values.push(self.value(VALUE)?);
        }
        Ok(values)
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        let column = self.column();
        let text = self.value("a regular expression in quotes such as \"^node-[0-9]+$\"")?;
        let mut builder = RegexBuilder::new(&text);
        let compiled = builder.size_limit(LARGEST_PATTERN).dfa_size_limit(LARGEST_PATTERN).build();
        compiled.map(Pattern).map_err(|error| InvalidConstraint { column, message: pattern_message(&error) })
    }

    fn number(&mut self, comparison: Comparison) -> Parsed<Test> {
        const NUMBER: &str = "a decimal number such as `3` or `-1.5`";
        let column = self.column();
        let text = self.value(NUMBER)?;
        match Number::parse(&text) {
            Some(bound) => Ok(Test::Compares(comparison, bound)),
            None => Err(InvalidConstraint { column, message: format!("expected {NUMBER}, found {text:?}") }),
        }
    }

    /// A bare word or a text in quotes; `what` says what it stands for.
    fn value(&mut self, what: &str) -> Parsed<String> {
        self.skip_space();
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => match self.word() {
                "" => Err(self.expected(what)),
                word => {
                    self.at += word.len();
                    Ok(word.to_owned())
                }
            },
        }
    }

    /// Before a quote or another backslash, a backslash is left out; any other stands for itself, so that the
    /// `\d` of a regular expression can be written as it is.
    fn quoted(&mut self, quote: char) -> Parsed<String> {
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1).peekable();
        while let Some((offset, c)) = characters.next() {
            if c == quote {
                self.at += offset + c.len_utf8();
                return Ok(text);
            }
            match characters.next_if(|(_, next)| c == '\\' && (*next == quote || *next == '\\')) {
                Some((_, escaped)) => text.push(escaped),
                None => text.push(c),
            }
        }
        let message = format!("this quote is not closed: expected another {quote} after the text");
        Err(InvalidConstraint { column: self.column(), message })
    }

    fn end(&mut self) -> Parsed<()> {
        self.skip_space();
        if self.rest().is_empty() {
            return Ok(());
        }
        Err(self.expected("the end of the constraint (a value with spaces goes in quotes)"))
    }

    /// Takes `word` if it stands here as a word of its own.
    fn keyword(&mut self, word: &str) -> bool {
        self.skip_space();
        let found = self.word() == word;
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn punctuation(&mut self, c: char) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn operator(&mut self) -> &'a str {
        self.skip_space();
        let operator = leading(self.rest(), |c| "=!<>~".contains(c));
        self.at += operator.len();
        operator
    }

    /// The word that stands here, empty where none does. Does not move on.
    fn word(&self) -> &'a str {
        leading(self.rest(), is_word_character)
    }

    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at += leading(self.rest(), char::is_whitespace).len();
    }

    fn column(&mut self) -> usize {
        self.skip_space();
        self.source.get(..self.at).map_or(1, |before| before.chars().count() + 1)
    }

    fn expected(&mut self, what: &str) -> InvalidConstraint {
        let column = self.column();
        let found = match (self.word(), self.rest().chars().next()) {
            (_, None) => "the end".to_owned(),
            ("", Some(c)) => format!("`{}`", c.escape_debug()),
            (word, _) => format!("`{}`", word.chars().take(40).collect::<String>()),
        };
        InvalidConstraint { column, message: format!("expected {what}, found {found}") }
    }
}

fn leading(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    text.find(|c| !belongs(c)).and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The reason alone, without the picture that the regex crate draws over several lines.
fn pattern_message(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            "this regular expression is too large: make it or its repetitions smaller".to_owned()
        }
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("this is not a regular expression: {reason}")
        }
    }
}
