use super::*;
use proptest::prelude::*;

fn holds(source: &str) -> bool {
    let id = AgentId::new("a7").unwrap();
    let attributes: Attributes = [
        ("zone", "b"),
        ("rack", "c d"),
        ("cores", "16"),
        ("clock_ghz", "2.50"),
        ("balance", "-3"),
        ("serial", "123456789012345678901234567890"),
        ("exists", "yes"),
        ("quote", "a\"b\\c"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let constraint = Constraint::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    constraint.holds(Candidate { id: &id, host: "node-12", attributes: &attributes })
}

#[test]
fn constraints_hold_for_agents_that_are_as_wanted() {
    let cases = [
        "zone == b",
        "zone==b",
        "zone == \"b\"",
        "zone == 'b'",
        "zone != c",
        "zone in (a, b)",
        "zone in (b)",
        "rack in (a,b,\"c d\")",
        "rack == 'c d'",
        "zone not in (a, c)",
        "exists zone",
        "not exists gpu_model",
        "  zone   ==   b  ",
        "agent.id == a7",
        "agent.host =~ \"^node-[0-9]+$\"",
        "agent.host =~ \"^node-\\d+$\"",
        "agent.host =~ de-1",
        "exists agent.id",
        "exists agent.host",
        "cores >= 16",
        "cores <= 16",
        "cores > 15.999999999999999999999999",
        "cores < 100",
        "cores < 16.000000000000000000000001",
        "clock_ghz >= 2.5",
        "clock_ghz <= 2.5",
        "clock_ghz > -9999",
        "balance < 0",
        "balance < -2.9",
        "balance > -3.1",
        "balance < -0",
        "serial > 123456789012345678901234567889",
        "serial < 123456789012345678901234567890.1",
        "\"exists\" == yes",
        "exists exists",
        "quote == \"a\\\"b\\\\c\"",
        "quote == 'a\"b\\c'",
    ];
    for source in cases {
        assert!(holds(source), "{source}");
    }
}

#[test]
fn constraints_fail_for_agents_that_are_otherwise() {
    let cases = [
        "zone == c",
        "zone == B",
        "zone != b",
        "zone in (a, c)",
        "zone not in (a, b)",
        "not exists zone",
        "not exists agent.id",
        "agent.host =~ \"^node$\"",
        "agent.id != a7",
        "cores > 16",
        "cores < 16",
        "cores < 9",
        "balance > -2",
        "balance >= 0",
        "cores > 16.0",
    ];
    for source in cases {
        assert!(!holds(source), "{source}");
    }
}

#[test]
fn a_missing_attribute_fails_positive_forms_and_passes_negative_ones() {
    for source in
        ["nil == b", "nil in (a, b)", "exists nil", "nil =~ \".*\"", "nil < 1", "nil >= 0", "nil == \"\""]
    {
        assert!(!holds(source), "{source}");
    }
    for source in ["nil != b", "nil not in (a, b)", "not exists nil"] {
        assert!(holds(source), "{source}");
    }
}

#[test]
fn what_is_no_number_fails_every_numeric_comparison() {
    for source in ["zone < 1", "zone <= 1", "zone > 1", "zone >= 1", "agent.host > 0"] {
        assert!(!holds(source), "{source}");
    }
}

#[test]
fn errors_name_the_column_and_what_is_allowed() {
    let operators = "expected `==`, `!=`, `in`, `not in`, `=~`, `<`, `<=`, `>` or `>=`";
    let cases = [
        ("", 1, "expected the name of an attribute".to_owned()),
        ("   ", 4, "found the end".to_owned()),
        (
            "== b",
            1,
            "expected the name of an attribute such as `zone`, `agent.id` or `agent.host`, found `=`"
                .to_owned(),
        ),
        ("\"\" == b", 1, "found empty quotes".to_owned()),
        ("zone", 5, format!("{operators} after `zone`, found the end")),
        ("zone b", 6, format!("{operators} after `zone`, found `b`")),
        ("zone exists", 6, "write `exists zone`".to_owned()),
        ("zone = b", 6, format!("`=` is not an operator: {operators}")),
        ("zone === b", 6, "`===` is not an operator".to_owned()),
        ("zone ~= b", 6, "`~=` is not an operator".to_owned()),
        (
            "zone ==",
            8,
            "expected a value: a word such as `b`, or text in quotes such as \"b c\", found the end"
                .to_owned(),
        ),
        ("zone == ,", 9, "expected a value".to_owned()),
        (
            "zone == b c",
            11,
            "expected the end of the constraint (a value with spaces goes in quotes), found `c`".to_owned(),
        ),
        ("zone == b && rack == c", 11, "expected the end".to_owned()),
        ("zone == \"b", 9, "this quote is not closed: expected another \"".to_owned()),
        ("zone == 'b\"", 9, "this quote is not closed: expected another '".to_owned()),
        ("zone == \"b\\\"", 9, "this quote is not closed".to_owned()),
        ("rack in a", 9, "expected `(` and a list of values such as `(a, b)`, found `a`".to_owned()),
        ("rack in ()", 10, "expected a value".to_owned()),
        ("rack in (a b)", 12, "expected `,` or `)`, found `b`".to_owned()),
        ("rack in (a,)", 12, "expected a value".to_owned()),
        ("rack in (a", 11, "expected `,` or `)`, found the end".to_owned()),
        ("rack not b", 10, "expected `in` after `not`, found `b`".to_owned()),
        ("rack not in b", 13, "expected `(`".to_owned()),
        ("exists", 7, "expected the name of an attribute".to_owned()),
        ("exists == b", 8, "expected the name of an attribute".to_owned()),
        ("exists zone == b", 13, "expected the end".to_owned()),
        ("not zone", 5, "expected `exists` after `not`, found `zone`".to_owned()),
        ("not", 4, "expected `exists` after `not`, found the end".to_owned()),
        ("cores < ten", 9, "expected a decimal number such as `3` or `-1.5`, found \"ten\"".to_owned()),
        ("cores < 1e3", 9, "expected a decimal number".to_owned()),
        ("cores < 16GiB", 9, "expected a decimal number".to_owned()),
        ("cores >= .5", 10, "expected a decimal number".to_owned()),
        ("cores >= 5.", 10, "expected a decimal number".to_owned()),
        ("cores >= --5", 10, "expected a decimal number".to_owned()),
        ("cores >", 8, "expected a decimal number".to_owned()),
        ("zone =~", 8, "expected a regular expression in quotes".to_owned()),
        ("zone =~ \"a(\"", 9, "this is not a regular expression: unclosed group".to_owned()),
        ("zone =~ \"a{999}{999}\"", 9, "this regular expression is too large".to_owned()),
        ("agent.name == x", 1, "of an agent itself there are `agent.id` and `agent.host`".to_owned()),
        ("zöne = b", 6, "`=` is not an operator".to_owned()),
        ("zone \u{7} b", 6, "found `\\u{7}`".to_owned()),
    ];
    for (source, column, message) in cases {
        let error = Constraint::parse(source).expect_err(source);
        assert_eq!(error.column, column, "{source}: {error}");
        assert!(error.message.contains(&message), "{source}: {error}");
    }
    let error = Constraint::parse(&"x".repeat(4_097)).unwrap_err();
    assert_eq!(error.to_string(), "a constraint has at most 4096 characters at column 4097");
}

#[test]
fn constraints_are_written_in_one_way_however_they_were_given() {
    let cases = [
        (" zone=='b' ", "zone == b"),
        ("zone != ''", "zone != \"\""),
        ("rack  not  in('a b',c)", "rack not in (\"a b\", c)"),
        ("host =~ '^n\\d'", "host =~ \"^n\\\\d\""),
        ("not   exists 'not'", "not exists \"not\""),
        ("'agent.id' == x", "agent.id == x"),
        ("cores<007", "cores < 007"),
    ];
    for (source, text) in cases {
        assert_eq!(Constraint::parse(source).unwrap().to_string(), text);
    }
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_is_written_is_read_as_the_same(source in "[a-c .=!<>~()\"',\\\\0-9inot]{0,30}") {
        if let Ok(constraint) = Constraint::parse(&source) {
            prop_assert_eq!(Constraint::parse(&constraint.to_string()), Ok(constraint));
        }
    }

    #[test]
    fn any_text_is_read_or_refused_within_its_columns(source in any::<String>()) {
        if let Err(error) = Constraint::parse(&source) {
            prop_assert!((1..=source.chars().count() + 1).contains(&error.column));
        }
    }

    #[test]
    fn any_name_and_values_survive_being_written(name in "\\PC{1,8}", a in any::<String>(), b in any::<String>(), form in 0..6) {
        let subject = match name.as_str() {
            own if own.starts_with("agent.") => Subject::AgentHost,
            _ => Subject::Attribute(name),
        };
        let test = match form {
            0 => Test::Equals(a),
            1 => Test::Differs(a),
            2 => Test::OneOf(vec![a, b]),
            3 => Test::NoneOf(vec![a]),
            4 => Test::Exists,
            _ => Test::Matches(Pattern(Regex::new(&regex::escape(&b)).unwrap())),
        };
        let constraint = Constraint { subject, test };
        prop_assert_eq!(Constraint::parse(&constraint.to_string()), Ok(constraint));
    }

    #[test]
    fn numbers_compare_as_integers_do(value in -100_000_i64..100_000, bound in -100_000_i64..100_000) {
        let thousandths = |n: i64| format!("{}{}.{:03}", if n < 0 { "-" } else { "" }, n.abs() / 1_000, n.abs() % 1_000);
        let number = Number::parse(&thousandths(bound)).unwrap();
        prop_assert_eq!(number.compared_with(&thousandths(value)), Some(value.cmp(&bound)));
    }
}
