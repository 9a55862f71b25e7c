use super::*;
use proptest::prelude::*;
use serde_json::json;

fn resources(value: &serde_json::Value) -> Resources {
    Resources::from_json(value).unwrap()
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text).unwrap()
}

#[test]
fn amounts_are_added_and_subtracted_name_by_name() {
    let mut sum = resources(&json!({"cpus": 1.5, "gpus": {"0": 0.5}, "ports": "1-5"}));
    let part =
        resources(&json!({"cpus": 0.5, "mem": "1GiB", "gpus": {"0": 0.25, "1": 1}, "ports": "6-9,20"}));
    sum.add(&part).unwrap();
    assert_eq!(sum.to_string(), "cpus 2, gpus {0:0.75,1}, mem 1GiB, ports {1-9,20}");
    sum.subtract(&part).unwrap();
    assert_eq!(sum.to_string(), "cpus 1.5, gpus {0:0.5}, ports {1-5}");
    sum.subtract(&sum.clone()).unwrap();
    assert!(sum.is_empty());
}

#[test]
fn sums_that_do_not_fit_are_errors_and_change_nothing() {
    let most = Resources::from_iter([(name("x"), Amount::Scalar(u64::MAX))]);
    let cases = [
        (
            most,
            Resources::from_iter([(name("x"), Amount::Scalar(1))]),
            "the sum of two amounts of `x` is too large",
        ),
        (
            resources(&json!({"gpus": ["0"]})),
            resources(&json!({"gpus": {"0": 0.001}})),
            "`gpus` is too large",
        ),
        (
            resources(&json!({"ports": "1-5"})),
            resources(&json!({"ports": "5-6"})),
            "holds the same item twice",
        ),
        (resources(&json!({"gpus": ["0"]})), resources(&json!({"gpus": 1})), "`gpus` is of two kinds"),
    ];
    for (left, right, message) in cases {
        let mut sum = left.clone();
        let error = sum.add(&right).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(sum, left);
    }
}

#[test]
fn nothing_is_taken_away_that_is_not_there() {
    let all = resources(&json!({"a": 1, "cpus": 1, "gpus": {"0": 0.5, "1": 1}, "ports": "1-5,8-9"}));
    let cases = [
        json!({"cpus": 1.001}),
        json!({"mem": 1}),
        json!({"a": 1, "cpus": 2}),
        json!({"gpus": ["0"]}),
        json!({"gpus": ["2"]}),
        json!({"gpus": 1}),
        json!({"ports": "5-8"}),
        json!({"ports": "1,7"}),
    ];
    for case in cases {
        let mut rest = all.clone();
        assert!(rest.subtract(&resources(&case)).is_err(), "{case}");
        assert_eq!(rest, all);
        assert!(!all.contains(&resources(&case)), "{case}");
    }
}

#[test]
fn tasks_are_given_the_fullest_share_that_fits_the_lowest_whole_items_and_numbers() {
    let free = resources(&json!({
        "cpus": 4, "gpus": {"0": 1, "1": 0.25, "2": 0.5, "10": 1, "3": 1}, "ports": "31000-31001,31005-31010"
    }));
    let cases = [
        (json!({"cpus": 1.5}), Some("cpus 1.5")),
        (json!({"cpus": 4.001}), None),
        (json!({"mem": 1}), None),
        (json!({"gpus": 0.2}), Some("gpus {1:0.2}")),
        (json!({"gpus": 0.25}), Some("gpus {1:0.25}")),
        (json!({"gpus": 0.3}), Some("gpus {2:0.3}")),
        (json!({"gpus": 0.6}), Some("gpus {0:0.6}")),
        (json!({"gpus": 1}), Some("gpus {0}")),
        (json!({"gpus": 2}), Some("gpus {0,3}")),
        (json!({"gpus": 3}), Some("gpus {0,10,3}")),
        (json!({"gpus": 4}), None),
        (json!({"ports": 1}), Some("ports {31000}")),
        (json!({"ports": 4}), Some("ports {31000-31001,31005-31006}")),
        (json!({"ports": 9}), None),
        (json!({"cpus": 1, "gpus": 4}), None),
        (json!({}), Some("nothing")),
    ];
    for (wanted, expected) in cases {
        let slice = free.take(&Request::from_json(&wanted).unwrap());
        assert_eq!(slice.map(|s| s.to_string()).as_deref(), expected, "{wanted}");
    }
}

#[test]
fn equal_shares_go_to_the_item_with_the_lowest_name() {
    let free = resources(&json!({"gpus": ["10", "9", "a"]}));
    let slice = free.take(&Request::from_json(&json!({"gpus": 0.5})).unwrap()).unwrap();
    assert_eq!(slice.to_string(), "gpus {9:0.5}");
}

#[test]
fn multiples_are_of_plain_amounts_alone() {
    let plain = resources(&json!({"cpus": 0.5, "mem": "1MiB"}));
    assert_eq!(plain.times(3).unwrap().to_string(), "cpus 1.5, mem 3MiB");
    assert_eq!(plain.times(0), Some(Resources::new()));
    assert_eq!(plain.times(u64::MAX), None);
    let named = resources(&json!({"gpus": ["0"]}));
    assert!(plain.is_scalar() && !named.is_scalar());
    assert_eq!((named.times(1), named.times(2)), (Some(named), None));
}

#[test]
fn an_amount_of_nothing_is_never_stored() {
    let nothing = [
        Amount::Scalar(0),
        Amount::Items([("0".to_owned(), 0)].into()),
        Amount::Items(BTreeMap::new()),
        Amount::Ranges(Ranges::new()),
    ];
    for amount in nothing {
        let mut held = resources(&json!({"x": 1}));
        held.set(name("x"), amount);
        assert!(held.is_empty());
    }
    let partly = Amount::Items([("0".to_owned(), 0), ("1".to_owned(), 5)].into());
    assert_eq!(Resources::from_iter([(name("x"), partly)]).to_string(), "x {1:0.005}");
}

/// What resources hold, as the plain map of everything that can be counted.
fn naive(resources: &Resources) -> BTreeMap<(String, String), u64> {
    let mut units = BTreeMap::new();
    for (name, amount) in resources.iter() {
        match amount {
            Amount::Scalar(n) => drop(units.insert((name.to_string(), String::new()), *n)),
            Amount::Items(items) => {
                units.extend(items.iter().map(|(item, n)| ((name.to_string(), item.clone()), *n)));
            }
            Amount::Ranges(ranges) => {
                let numbers = ranges.iter().flat_map(|(first, last)| first..=last);
                units.extend(numbers.map(|n| ((name.to_string(), n.to_string()), WHOLE)));
            }
        }
    }
    units
}

fn any_resources() -> impl Strategy<Value = Resources> {
    let scalar = || (0_u64..4_000).prop_map(Amount::Scalar);
    let items = proptest::collection::btree_map("[0-3]", 0..=WHOLE, 0..4).prop_map(Amount::Items);
    let ranges = proptest::collection::vec((0_u64..30, 0_u64..6), 0..4).prop_map(|runs| {
        Amount::Ranges(runs.into_iter().map(|(first, length)| (first, first + length)).collect())
    });
    (scalar(), scalar(), items, ranges).prop_map(|(cpus, mem, gpus, ports)| {
        [("cpus", cpus), ("mem", mem), ("gpus", gpus), ("ports", ports)]
            .map(|(n, a)| (name(n), a))
            .into_iter()
            .collect()
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let gpus = prop_oneof![0..=WHOLE, (0_u64..4).prop_map(|n| n * WHOLE)];
    (0_u64..3_000, gpus, (0_u64..4).prop_map(|n| n * WHOLE)).prop_map(|(cpus, gpus, ports)| {
        [("cpus", cpus), ("gpus", gpus), ("ports", ports)]
            .map(|(n, units)| (name(n), units))
            .into_iter()
            .collect()
    })
}

proptest! {
    #[test]
    fn adding_and_subtracting_equal_those_of_plain_maps(left in any_resources(), right in any_resources()) {
        let (plain_left, plain_right) = (naive(&left), naive(&right));
        let has_whole = |(key, units): (&(String, String), &u64)| !key.1.is_empty() && *units + plain_left.get(key).unwrap_or(&0) > WHOLE;
        let mut sum = left.clone();
        prop_assert_eq!(sum.add(&right).is_err(), plain_right.iter().any(has_whole));
        if sum != left || right.is_empty() {
            let mut plain = plain_left.clone();
            plain_right.iter().for_each(|(key, units)| *plain.entry(key.clone()).or_insert(0) += units);
            prop_assert_eq!(naive(&sum), plain);
            prop_assert!(sum.contains(&left) && sum.contains(&right));
            sum.subtract(&right).unwrap();
            prop_assert_eq!(&sum, &left);
        }
        let contained = plain_right.iter().all(|(key, units)| plain_left.get(key).is_some_and(|held| held >= units));
        prop_assert_eq!(left.contains(&right), contained);
        let mut rest = left.clone();
        prop_assert_eq!(rest.subtract(&right).is_ok(), contained);
        if contained {
            rest.add(&right).unwrap();
            prop_assert_eq!(rest, left);
        }
    }

    #[test]
    fn enough_is_available_exactly_where_it_can_be_taken(free in any_resources(), wanted in 1_u64..4_000) {
        for (resource, amount) in free.iter() {
            let request = Request::from_iter([(resource.clone(), wanted)]);
            prop_assert_eq!(amount.available_for(wanted) >= wanted, free.take(&request).is_some(), "{}", resource);
        }
    }

    #[test]
    fn what_is_taken_is_there_and_is_what_was_asked_for(free in any_resources(), request in any_request()) {
        match free.take(&request) {
            Some(slice) => {
                prop_assert!(free.contains(&slice));
                let amounts: Vec<_> = slice.iter().map(|(name, amount)| (name.clone(), amount.total())).collect();
                let wanted: Vec<_> = request.iter().map(|(name, units)| (name.clone(), units)).collect();
                prop_assert_eq!(amounts, wanted);
            }
            None => prop_assert!(request.iter().any(|(name, units)| !can_give(&free, name, units))),
        }
    }
}

/// Whether there is enough, counted in the most direct way.
fn can_give(free: &Resources, name: &ResourceName, units: u64) -> bool {
    match free.get(name) {
        None => false,
        Some(Amount::Scalar(held)) => *held >= units,
        Some(Amount::Items(items)) if units < WHOLE => items.values().any(|held| *held >= units),
        Some(Amount::Items(items)) => {
            items.values().filter(|held| **held == WHOLE).count() as u64 * WHOLE >= units
        }
        Some(Amount::Ranges(ranges)) => ranges.count() * WHOLE >= units,
    }
}
