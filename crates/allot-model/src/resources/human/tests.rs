use super::*;
use proptest::prelude::*;
use serde_json::json;

fn name(text: &str) -> ResourceName {
    ResourceName::new(text).unwrap()
}

#[test]
fn scalars_are_read_as_people_write_them_and_written_as_short_as_they_get() {
    let cases = [
        ("cpus", "0.5", 500, "0.5"),
        ("cpus", "2", 2_000, "2"),
        ("cpus", "2.000", 2_000, "2"),
        ("cpus", " 1.25 ", 1_250, "1.25"),
        ("licenses", "0.001", 1, "0.001"),
        ("mem", "512MiB", 512 << 20, "512MiB"),
        ("mem", "1.5GiB", 3 << 29, "1.5GiB"),
        ("mem", "1536 MiB", 3 << 29, "1.5GiB"),
        ("disk", "18GB", 18_000_000_000, "18GB"),
        ("disk", "2TB", 2_000_000_000_000, "2TB"),
        ("disk", "1PB", 1_000_000_000_000_000, "1PB"),
        ("mem", "8PiB", 1 << 53, "8PiB"),
        ("mem", "1TiB", 1 << 40, "1TiB"),
        ("mem", "1KB", 1_000, "1KB"),
        ("mem", "1024", 1_024, "1KiB"),
        ("mem", "1025", 1_025, "1025"),
        ("mem", "7B", 7, "7"),
        ("mem", "0.5KiB", 512, "512"),
        ("mem", "0", 0, "0"),
        ("cpus", "0", 0, "0"),
    ];
    for (resource, text, units, written) in cases {
        assert_eq!(Amount::parse_scalar(&name(resource), text), Ok(units), "{resource} {text}");
        assert_eq!(Amount::scalar_text(&name(resource), units), written);
    }
}

#[test]
fn scalars_that_are_none_are_refused_for_what_is_wrong() {
    let cases = [
        ("cpus", "", "`` is not an amount of it: write a number with at most 3 decimals"),
        ("cpus", "two", "`two` is not an amount of it"),
        ("cpus", "-1", "`-1` is negative: write a number with at most 3 decimals"),
        ("cpus", "0.0005", "`0.0005` has more than 3 decimals"),
        ("cpus", "1e3", "`1e3` is not an amount of it"),
        ("cpus", "2GiB", "`2GiB` is not an amount of it: write a number"),
        ("cpus", "500m", "`500m` is not an amount of it"),
        ("cpus", "9007199254741", "`9007199254741` is too large: at most 9007199254740.992"),
        ("cpus", "99999999999999999999999999999999999999999999", "is too large"),
        (
            "mem",
            "lots",
            "`lots` is not an amount of it: write bytes as a whole number, or a number and one of",
        ),
        ("mem", "512mib", "`512mib` has an unknown unit: write bytes"),
        ("mem", "1G", "`1G` has an unknown unit"),
        ("mem", "-512MiB", "`-512MiB` is negative"),
        ("mem", "1.5", "`1.5` is not a whole number of bytes"),
        ("mem", "1.0001KB", "`1.0001KB` is not a whole number of bytes"),
        ("mem", "9PiB", "`9PiB` is too large: at most 8PiB"),
        ("mem", "1GiB2", "`1GiB2` has an unknown unit"),
        ("mem", "1.2.3GiB", "`1.2.3GiB` is not an amount of it"),
        ("mem", "GiB", "`GiB` is not an amount of it"),
    ];
    for (resource, text, message) in cases {
        let error = Amount::parse_scalar(&name(resource), text).expect_err(text);
        assert!(error.contains(message), "{resource} {text}: {error}");
    }
}

#[test]
fn what_an_agent_has_is_read_and_written_in_one_way() {
    let cases = [
        (json!({}), json!({}), "nothing"),
        (json!({"cpus": 4, "mem": "16GiB"}), json!({"cpus": 4, "mem": "16GiB"}), "cpus 4, mem 16GiB"),
        (json!({"cpus": "0.5", "mem": 1024}), json!({"cpus": 0.5, "mem": "1KiB"}), "cpus 0.5, mem 1KiB"),
        (json!({"cpus": 0, "mem": "1GiB"}), json!({"mem": "1GiB"}), "mem 1GiB"),
        (json!({"gpus": ["0", 1]}), json!({"gpus": ["0", "1"]}), "gpus {0,1}"),
        (json!({"gpus": ["GPU-8f:1.0/2"]}), json!({"gpus": ["GPU-8f:1.0/2"]}), "gpus {GPU-8f:1.0/2}"),
        (json!({"gpus": {"0": 0.5, "1": 1, "2": 0}}), json!({"gpus": {"0": 0.5, "1": 1}}), "gpus {0:0.5,1}"),
        (json!({"gpus": []}), json!({}), "nothing"),
        (json!({"gpus": 2}), json!({"gpus": 2}), "gpus 2"),
        (
            json!({"ports": "40000,31000-32000"}),
            json!({"ports": "31000-32000,40000"}),
            "ports {31000-32000,40000}",
        ),
        (json!({"ports": "80"}), json!({"ports": "80"}), "ports {80}"),
        (json!({"slots": "7-7"}), json!({"slots": "7-7"}), "slots {7}"),
        (json!({"slots": "1,2,5"}), json!({"slots": "1-2,5"}), "slots {1-2,5}"),
    ];
    for (given, written, line) in cases {
        let resources = Resources::from_json(&given).unwrap();
        assert_eq!(resources.to_json(), written, "{given}");
        assert_eq!(resources.to_string(), line);
        assert_eq!(Resources::from_json(&written), Ok(resources));
    }
}

#[test]
fn what_an_agent_cannot_have_is_refused_with_its_name() {
    let cases = [
        (json!({"cpus": -1}), "`cpus`: `-1` is negative"),
        (json!({"cpus": null}), "`cpus`: null is not an amount"),
        (json!({"cpus": true}), "`cpus`: true is not an amount"),
        (json!({"cpu": 1}), "`cpu`: there is no resource `cpu`: did you mean `cpus`?"),
        (json!({"Memory": 1}), "`Memory`: there is no resource `Memory`: did you mean `mem`?"),
        (json!({"a b": 1}), "`a b`: \"a b\" is not a resource name"),
        (json!({"gpus": ["0", "0"]}), "`gpus`: item `0` is given twice"),
        (json!({"gpus": ["0", 0]}), "`gpus`: item `0` is given twice"),
        (json!({"gpus": ["a,b"]}), "`gpus`: `a,b` is not the name of an item"),
        (json!({"gpus": [1.5]}), "`gpus`: 1.5 is not the name of an item"),
        (json!({"gpus": [null]}), "`gpus`: null is not the name of an item"),
        (json!({"gpus": {"0": 1.5}}), "`gpus`: 1.5 of item `0` is not a part of one"),
        (json!({"mem": ["0"]}), "is not an amount of it: write bytes"),
        (json!({"disk": "1-5"}), "`1-5` is not an amount of it: write bytes"),
        (json!({"ports": 80}), "`ports`: 80 is a plain number: write runs"),
        (json!({"ports": "0-10"}), "`ports`: `0-10` holds numbers that are no ports"),
        (json!({"ports": "70000"}), "`ports`: `70000` holds numbers that are no ports"),
        (json!({"ports": "5-1"}), "`ports`: \"5-1\" ends before it begins"),
        (json!({"slots": "0-18446744073709551615"}), "holds too many numbers"),
        (json!([1]), "`resources`: [1] is given: write amounts by name"),
    ];
    for (given, message) in cases {
        let error = Resources::from_json(&given).expect_err(&given.to_string()).to_string();
        assert!(error.contains(message), "{given}: {error}");
    }
}

#[test]
fn what_a_task_cannot_ask_for_is_refused_with_its_name() {
    let cases = [
        (json!({"cpus": 0}), "`cpus`: `0` asks for nothing"),
        (json!({"mem": "0MiB"}), "`mem`: `0MiB` asks for nothing"),
        (json!({"gpus": 1.5}), "`gpus`: `1.5` is neither whole nor a part of one"),
        (json!({"ports": 0.5}), "`ports`: `0.5` is not whole"),
        (json!({"gpus": ["0"]}), "`gpus`: `[\\\"0\\\"]` is not an amount of it"),
        (json!({"ports": "1-5"}), "`ports`: `1-5` is not an amount of it"),
        (json!({"memory": 1}), "did you mean `mem`?"),
    ];
    for (given, message) in cases {
        let error = Request::from_json(&given).expect_err(&given.to_string()).to_string();
        assert!(error.contains(message), "{given}: {error}");
    }
}

#[test]
fn a_request_is_read_and_written_in_one_way() {
    let given = json!({"cpus": 0.1, "mem": "0.5GiB", "gpus": 0.25, "ports": 2, "licenses": "3"});
    let request = Request::from_json(&given).unwrap();
    assert_eq!(request.to_string(), "cpus 0.1, gpus 0.25, licenses 3, mem 512MiB, ports 2");
    assert_eq!(
        request.to_json(),
        json!({"cpus": 0.1, "mem": "512MiB", "gpus": 0.25, "ports": 2, "licenses": 3})
    );
}

#[test]
fn agents_are_configured_in_toml() {
    #[derive(Deserialize)]
    struct Config {
        resources: Resources,
    }
    let text = "[resources]\ncpus = 0.5\nmem = \"1GiB\"\ngpus = [\"0\", \"1\"]\nports = \"31000-31001\"\n";
    let config: Config = toml::from_str(text).unwrap();
    assert_eq!(config.resources.to_string(), "cpus 0.5, gpus {0,1}, mem 1GiB, ports {31000-31001}");
    let error = toml::from_str::<Config>("[resources]\ncpus = -1\n").err().unwrap().to_string();
    assert!(error.contains("`cpus`: `-1` is negative"), "{error}");
}

fn any_amount() -> impl Strategy<Value = Amount> {
    let units = prop_oneof![
        0..5_000_u64,
        0..=Amount::MOST,
        (0_u64..9_000, 0_u32..=50).prop_map(|(n, shift)| (n << shift).min(Amount::MOST))
    ];
    prop_oneof![
        units.prop_map(Amount::Scalar),
        proptest::collection::btree_map("[a-z0-9]{1,3}", prop_oneof![Just(WHOLE), 1..=WHOLE], 0..4)
            .prop_map(Amount::Items),
        proptest::collection::vec((1_u64..65_000, 0_u64..500), 0..4).prop_map(|runs| Amount::Ranges(
            runs.into_iter().map(|(first, length)| (first, first + length)).collect()
        )),
    ]
}

proptest! {
    #[test]
    fn resources_are_read_as_they_are_written(amounts in proptest::collection::btree_map("(cpus|mem|disk|gpus|slots|x)", any_amount(), 0..5)) {
        let named = amounts.into_iter().map(|(key, amount)| (name(&key), amount));
        let resources: Resources = named.filter(|(n, amount)| !n.is_bytes() || matches!(amount, Amount::Scalar(_))).collect();
        let text = resources.to_json().to_string();
        prop_assert_eq!(Resources::from_json(&serde_json::from_str(&text).unwrap()), Ok(resources));
    }

    #[test]
    fn requests_are_read_as_they_are_written(amounts in proptest::collection::btree_map("(cpus|mem|disk|x)", 1..=Amount::MOST, 0..5)) {
        let request: Request = amounts.into_iter().map(|(key, units)| (name(&key), units)).collect();
        let text = request.to_json().to_string();
        prop_assert_eq!(Request::from_json(&serde_json::from_str(&text).unwrap()), Ok(request));
    }

    #[test]
    fn any_text_is_an_amount_or_refused(text in "\\PC{0,12}|[0-9.]{0,25}[KMGTPiB]{0,4}") {
        for resource in ["cpus", "mem"] {
            if let Ok(units) = Amount::parse_scalar(&name(resource), &text) {
                let written = Amount::scalar_text(&name(resource), units);
                prop_assert_eq!(Amount::parse_scalar(&name(resource), &written), Ok(units));
            }
        }
    }
}
