use crate::html::Parsed;
use crate::support::{Runs, SMALL};

const POLICIES: [&str; 3] = ["fifo", "drf", "fair:resource=mem"];

/// Names that a scenario may have and HTML gives a meaning to.
const ODD: &str = r#"
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: "</title></svg><script>alert(1)</script>", queue: a, resources: {cpus: 1}, run: 5s}
  - {at: 0, submit: "\" onload=\"alert(2)\u202e", queue: b, resources: {cpus: 1}, run: 5s}
"#;

fn pages() -> Vec<Runs> {
    let empty = "events: [{at: 0, agent: m1, resources: {cpus: 1}}]";
    let stuck =
        "events: [{at: 0, agent: m1, resources: {cpus: 1}}, {at: 0, submit: j, resources: {cpus: 2}}]";
    let mut odd = Runs::yaml(ODD, &["drf"]);
    odd.title = "</title><script src=//x>&amp;\u{7}<!--".to_owned();
    vec![
        Runs::yaml(SMALL, &POLICIES),
        Runs::yaml(SMALL, &["drf"]),
        Runs::yaml(empty, &["fifo"]),
        Runs::yaml(stuck, &["fifo", "drf"]),
        odd,
    ]
}

/// The cells after the name of a row, in the group of a head.
fn figures(page: &Parsed, head: &str, label: &str) -> Vec<String> {
    let rows = page.section("compare").unwrap().rows();
    let after = rows.iter().skip_while(|row| !row[0].starts_with(head)).skip(1);
    let row = after.take_while(|row| row.len() > 1).find(|row| row[0] == label);
    row.unwrap_or_else(|| panic!("{head}: {label} is missing: {rows:?}"))[1..].to_vec()
}

#[test]
fn a_page_is_well_formed_whatever_happened() {
    for runs in pages() {
        let page = runs.page();
        let parsed = Parsed::of(&page);
        assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
        // What is opened is closed, which parsers forgive in most places.
        for tag in parsed.elements().iter().map(|element| element.tag()) {
            let count = |pattern: &str| page.matches(pattern).count();
            let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
            let is_empty = ["meta", "wbr"].contains(&tag.as_str());
            assert_eq!(count(&format!("</{tag}>")), if is_empty { 0 } else { opened }, "{tag}");
        }
    }
}

#[test]
fn a_page_loads_and_runs_nothing() {
    let active =
        ["script", "link", "img", "image", "iframe", "object", "embed", "use", "base", "a", "foreignObject"];
    for runs in pages() {
        for element in Parsed::of(&runs.page()).elements() {
            assert!(!active.contains(&element.tag().as_str()), "{}", element.tag());
            for (name, value) in element.attributes() {
                let reaches =
                    ["src", "href", "style", "data"].contains(&name.as_str()) || name.starts_with("on");
                assert!(!reaches && !value.contains("url("), "{name}={value}");
            }
        }
    }
    let page = Parsed::of(&Runs::yaml(SMALL, &["drf"]).page());
    let style = page.tagged("style")[0].text();
    assert!(!style.contains("url(") && !style.contains("@import"), "{style}");
}

#[test]
fn names_stay_text() {
    let runs = pages().pop().unwrap();
    let parsed = Parsed::of(&runs.page());
    assert_eq!(parsed.tagged("h1")[0].text(), runs.title.replace('\u{7}', "\u{fffd}"));
    let jobs: Vec<String> =
        parsed.section("gantt").unwrap().rows().into_iter().map(|row| row[0].clone()).collect();
    let expected = ["Job", "</title></svg><script>alert(1)</script>", "\" onload=\"alert(2)\u{fffd}"];
    assert_eq!(jobs, expected);
}

#[test]
fn equal_input_gives_an_equal_page() {
    assert_eq!(Runs::yaml(SMALL, &POLICIES).page(), Runs::yaml(SMALL, &POLICIES).page());
}

#[test]
fn the_page_says_what_the_document_says() {
    let runs = Runs::yaml(SMALL, &POLICIES);
    let page = Parsed::of(&runs.page());
    let told = |head, label, path: [&str; 2], text: fn(f64) -> String| {
        for (place, cell) in figures(&page, head, label).iter().enumerate() {
            let metrics = &runs.document(place)["metrics"];
            let value = if path[1].is_empty() { &metrics[path[0]] } else { &metrics[path[0]][path[1]] };
            assert_eq!(*cell, text(value.as_f64().unwrap()), "{head}: {label} of {}", POLICIES[place]);
        }
    };
    let seconds = |value: f64| {
        let tenths = (value * 10.0).round() / 10.0;
        let rounded = value.round();
        match rounded {
            ..60.0 => format!("{tenths} s"),
            _ if rounded % 60.0 == 0.0 => format!("{} min", rounded / 60.0),
            _ => format!("{} min {} s", (rounded / 60.0).floor(), rounded % 60.0),
        }
    };
    told("Jobs", "submitted", ["submitted", ""], |value| value.to_string());
    told("Jobs", "started", ["started", ""], |value| value.to_string());
    told("Jobs", "over", ["ended", ""], |value| value.to_string());
    for (label, key) in
        [("mean", "mean"), ("median", "p50"), ("95th percentile", "p95"), ("99th percentile", "p99")]
    {
        told("Wait", label, ["wait", key], seconds);
        told("Response", label, ["response", key], seconds);
        told("Bounded slowdown", label, ["bounded_slowdown", key], |value| format!("{value:.2}"));
    }
    told("Throughput", "makespan", ["makespan", ""], seconds);
    told("Throughput", "jobs per hour", ["jobs_per_hour", ""], |value| format!("{value:.1}"));
    told("Throughput", "mean use of cpus", ["utilisation", ""], |value| format!("{:.1}%", value * 100.0));
    told("Throughput", "mean use of mem", ["utilisation_of", "mem"], |value| {
        format!("{:.1}%", value * 100.0)
    });
    told("Fairness", "Jain’s index", ["jain_index", ""], |value| format!("{value:.3}"));
}

#[test]
fn the_best_of_a_row_is_marked_and_only_where_values_differ() {
    let runs = Runs::yaml(SMALL, &POLICIES);
    let page = Parsed::of(&runs.page());
    let rows = page.section("compare").unwrap().tagged("tr");
    let best = |label: &str| -> Vec<bool> {
        let row = rows
            .iter()
            .find(|row| row.tagged("th").first().is_some_and(|head| head.text() == label))
            .unwrap();
        row.tagged("td").iter().map(|cell| cell.attribute("class").unwrap().contains("best")).collect()
    };
    let index = runs.runs.iter().map(|(_, measures)| measures.jain_index).collect::<Vec<_>>();
    let most = index.iter().copied().fold(0.0, f64::max);
    assert_eq!(
        best("Jain’s index"),
        index.iter().map(|value| (value - most).abs() < 5e-4).collect::<Vec<_>>()
    );
    assert_eq!((best("submitted"), best("makespan")), (vec![false; 3], vec![false; 3]));
}

#[test]
fn queues_have_their_exact_shares_at_the_end() {
    let runs = Runs::yaml(SMALL, &["drf"]);
    let rows = Parsed::of(&runs.page()).section("queues").unwrap().rows();
    let queues = &runs.document(0)["queues"];
    for name in ["batch", "research.vision"] {
        let row = rows.iter().find(|row| row[0] == name).unwrap();
        let share = &queues[name]["dominant_share"];
        assert_eq!(
            row[4..],
            [format!("{}/{}", share[0], share[1]), queues[name]["running"].to_string()],
            "{name}"
        );
    }
}

#[test]
fn of_many_queues_the_largest_have_rows_and_the_others_are_counted() {
    let job = |number: u32| {
        let tasks = if number == 41 { 5 } else { 1 };
        format!("  - {{at: 0, submit: J{number}, queue: q{number:02}, tasks: {tasks}, run: 10s}}\n")
    };
    let jobs: String = (0..42).map(job).collect();
    let text = format!("events:\n  - {{at: 0, agent: m1, resources: {{cpus: 99}}}}\n{jobs}");
    let page = Runs::yaml(&text, &["drf"]).page();
    let section = Parsed::of(&page).section("queues").unwrap().rows();
    let names: Vec<&str> =
        section.iter().map(|row| row[0].as_str()).filter(|name| name.starts_with('q')).collect();
    let expected: Vec<String> = (0..39).chain([41]).map(|number| format!("q{number:02}")).collect();
    assert_eq!(names, expected);
    assert!(page.contains("And 2 smaller ones."), "the others are counted");
}

#[test]
fn the_gantt_chart_has_every_task_that_was_granted() {
    let runs = Runs::yaml(SMALL, &["drf"]);
    let page = Parsed::of(&runs.page());
    let section = page.section("gantt").unwrap();
    let told: u64 = section.rows().iter().skip(1).map(|row| row[1].parse::<u64>().unwrap()).sum();
    assert_eq!(told, u64::try_from(runs.document(0)["grants"].as_array().unwrap().len()).unwrap());
    let bars = section
        .tagged("rect")
        .iter()
        .filter(|rect| rect.attribute("class").as_deref() == Some("bar"))
        .count();
    assert_eq!(bars, section.rows().len() - 1);
}

#[test]
fn every_drawing_has_a_title_and_a_description_of_its_own() {
    let page = Parsed::of(&Runs::yaml(SMALL, &POLICIES).page());
    let mut ids: Vec<String> = page.elements().iter().filter_map(|element| element.attribute("id")).collect();
    let drawings: Vec<_> =
        page.tagged("svg").into_iter().filter(|svg| svg.attribute("role").is_some()).collect();
    assert_eq!(
        drawings.len(),
        3 * 5 + 2,
        "use of cpus and mem, waiting, shares and gantt of each policy, two spreads"
    );
    for drawing in drawings {
        for id in drawing.attribute("aria-labelledby").unwrap().split(' ') {
            let element = drawing
                .within()
                .into_iter()
                .find(|inner| inner.attribute("id").as_deref() == Some(id))
                .unwrap();
            assert!(!element.text().is_empty(), "{id}");
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "ids are unique");
}

#[test]
fn a_policy_and_a_queue_have_one_colour_in_all_places() {
    let page = Parsed::of(&Runs::yaml(SMALL, &POLICIES).page());
    let keys = page
        .tagged("span")
        .into_iter()
        .filter(|span| span.attribute("class").is_some_and(|class| class.starts_with("key ")));
    let mut told: Vec<(String, String)> =
        keys.map(|key| (key.text(), key.attribute("class").unwrap())).collect();
    told.sort_unstable();
    told.dedup();
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["batch", "drf", "fair:resource=mem", "fifo", "research.vision"]);
}
