//! A plan in words, and as a document.

use std::collections::BTreeMap;
use std::fmt::Write;

use allot_model::view::WhyView;
use allot_model::{AgentId, Time};
use allot_sim::{Course, Plan};
use serde::Serialize;

use super::Planned;
use crate::absent::in_a_line;
use crate::output::{Output, Tone, timestamp};

/// So many agents are named; more are counted.
const MOST_NAMED: usize = 5;

/// A plan as a document.
#[derive(Debug, Serialize)]
pub(super) struct PlanView {
    /// Its tasks that wait.
    tasks: u64,
    #[serde(flatten)]
    expected: CourseView,
    /// The same where tasks end at once of which it is not known when they end; absent where all is known.
    earliest: Option<CourseView>,
    /// Why tasks would not start, where some would not.
    why: Option<WhyView>,
    /// Tasks of which it is not known when they end.
    unknown: UnknownView,
}

#[derive(Debug, Serialize)]
struct CourseView {
    /// When the first task would start.
    start: Option<Time>,
    /// When the last one would, where all would.
    all_started: Option<Time>,
    /// How many tasks would start.
    placed: u64,
    /// What would start when and where, in order.
    placements: Vec<PlacementView>,
    /// True where that is not all, because it is too far off to be told.
    cut_off: bool,
}

#[derive(Debug, Serialize)]
struct PlacementView {
    at: Time,
    agent: AgentId,
    tasks: u64,
}

#[derive(Debug, Serialize)]
struct UnknownView {
    running_without_estimate: u64,
    running_over_estimate: u64,
    waiting_without_estimate: u64,
}

impl PlanView {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            tasks: plan.waiting,
            expected: CourseView::of(&plan.expected),
            earliest: plan.earliest.as_ref().map(CourseView::of),
            why: plan.expected.why.clone(),
            unknown: UnknownView {
                running_without_estimate: plan.running_unknown,
                running_over_estimate: plan.running_late,
                waiting_without_estimate: plan.waiting_unknown,
            },
        }
    }
}

impl CourseView {
    fn of(course: &Course) -> Self {
        let placement = |start: &allot_sim::PlannedStart| PlacementView {
            at: start.at,
            agent: start.agent.clone(),
            tasks: start.tasks,
        };
        Self {
            start: course.first(),
            all_started: course.last(),
            placed: course.placed,
            placements: course.starts.iter().map(placement).collect(),
            cut_off: course.cut_off,
        }
    }
}

/// A headline, then what it rests on.
pub(super) fn text(planned: &Planned, plan: &Plan, output: &Output) -> String {
    let expected = &plan.expected;
    let mut facts: Vec<(&str, String)> = Vec::new();
    if !expected.starts.is_empty() {
        facts.push(("where", places(expected)));
        facts.push(("all placed", all_placed(plan, expected, planned.now, output)));
    }
    if let Some(why) = &expected.why {
        facts.push(("why", why.reasons_in_words()));
    }
    if !planned.absent.is_empty() {
        facts.push(("absent", in_a_line(&planned.absent)));
    }
    facts.push(("queue", planned.queue.clone()));
    facts.push(("policy", planned.policy.clone()));
    facts.push(("provided", rests_on(plan)));
    if let Some(earliest) = &plan.earliest {
        facts.push((
            "earliest",
            format!("{}, were those to end at once", when(earliest, planned.now, output)),
        ));
    }
    let mut text = headline(planned, plan, output);
    text.push('\n');
    for (name, value) in facts {
        // Writing to a string does not fail.
        let _ = write!(text, "\n{}  {value}", output.paint(&format!("{name:<10}"), Tone::Faint));
    }
    text
}

fn headline(planned: &Planned, plan: &Plan, output: &Output) -> String {
    let subject = planned.job.map_or_else(|| "the job".to_owned(), |job| format!("job {job}"));
    let expected = &plan.expected;
    match (expected.first(), &expected.why) {
        (None, _) if expected.cut_off => {
            format!("{subject} would not start for so long that it cannot be told when")
        }
        (None, _) => format!("{subject} would not start, as far as can be known"),
        (Some(_), None) => format!("{subject} would start {}", when(expected, planned.now, output)),
        (Some(_), Some(_)) => format!(
            "{} of the {} tasks of {subject} would start, the first {}",
            expected.placed,
            plan.waiting,
            when(expected, planned.now, output)
        ),
    }
}

/// `at once`, `in 12m (2026-11-22T17:04:31.123Z)`, or `not`.
fn when(course: &Course, now: Time, output: &Output) -> String {
    course.first().map_or_else(|| "not".to_owned(), |at| moment(at, now, output))
}

fn moment(at: Time, now: Time, output: &Output) -> String {
    let clock = crate::output::Clock { now, ..output.clock };
    match at <= now {
        true => "at once".to_owned(),
        false if clock.exact => timestamp(at),
        false => format!("{} ({})", clock.show(at), timestamp(at)),
    }
}

fn all_placed(plan: &Plan, course: &Course, now: Time, output: &Output) -> String {
    match course.last() {
        Some(last) => moment(last, now, output),
        None if course.cut_off => "too far off to be told".to_owned(),
        None => format!("no, {} of {}", course.placed, plan.waiting),
    }
}

/// `3 on a1, 2 on a2, 9 on 4 others`: where most are first.
fn places(course: &Course) -> String {
    let mut by_agent: BTreeMap<&AgentId, u64> = BTreeMap::new();
    for start in &course.starts {
        *by_agent.entry(&start.agent).or_default() += start.tasks;
    }
    let mut agents: Vec<(&AgentId, u64)> = by_agent.into_iter().collect();
    agents.sort_by_key(|(agent, tasks)| (std::cmp::Reverse(*tasks), *agent));
    let named = agents.iter().take(MOST_NAMED).map(|(agent, tasks)| format!("{tasks} on {agent}"));
    let mut words: Vec<String> = named.collect();
    if let Some(others) = agents.get(MOST_NAMED..).filter(|others| !others.is_empty()) {
        let tasks: u64 = others.iter().map(|(_, tasks)| tasks).sum();
        words.push(format!("{tasks} on {} others", others.len()));
    }
    words.join(", ")
}

/// What a plan rests on.
fn rests_on(plan: &Plan) -> String {
    let mut text = "tasks end by their estimates, and nothing else is submitted".to_owned();
    let unknown = unknown(plan);
    if !unknown.is_empty() {
        let _ = write!(text, "; {} count as never ending", unknown.join(", "));
    }
    text
}

/// `12 running tasks without estimate`.
fn unknown(plan: &Plan) -> Vec<String> {
    let tasks = |count: u64| if count == 1 { "task" } else { "tasks" };
    let counts = [
        (plan.running_unknown, "running", "without estimate"),
        (plan.running_late, "running", "over their estimate"),
        (plan.waiting_unknown, "waiting", "without estimate"),
    ];
    let some = counts.into_iter().filter(|(count, _, _)| *count > 0);
    some.map(|(count, which, what)| format!("{count} {which} {} {what}", tasks(count))).collect()
}

/// What an estimated start rests on, or why there is none, in a line.
pub(crate) fn estimate_in_words(plan: &Plan) -> String {
    let unknown = unknown(plan);
    match (&plan.expected.why, plan.expected.first()) {
        (_, Some(_)) => "if tasks end by their estimates and nothing else is submitted".to_owned(),
        (_, None) if plan.expected.cut_off => "too far off to be told".to_owned(),
        (_, None) if !unknown.is_empty() => format!("depends on {}", unknown.join(", ")),
        (Some(why), None) => why.reasons_in_words(),
        (None, None) => "nothing of it waits".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::NOW;
    use crate::output::Format;
    use allot_model::Span;
    use allot_sim::PlannedStart;

    fn course(starts: &[(u64, &str, u64)]) -> Course {
        let start = |(seconds, agent, tasks): &(u64, &str, u64)| PlannedStart {
            at: NOW + Span::from_secs(*seconds),
            agent: agent.parse().unwrap(),
            tasks: *tasks,
        };
        let starts: Vec<PlannedStart> = starts.iter().map(start).collect();
        let placed = starts.iter().map(|start| start.tasks).sum();
        Course { starts, placed, why: None, cut_off: false }
    }

    fn plan(expected: Course, earliest: Option<Course>) -> Plan {
        let unknown = if earliest.is_some() { 12 } else { 0 };
        Plan { waiting: 9, expected, earliest, running_unknown: unknown, running_late: 0, waiting_unknown: 0 }
    }

    fn told(plan: &Plan) -> String {
        let planned = Planned {
            job: None,
            queue: "research".to_owned(),
            policy: "drf".to_owned(),
            now: NOW,
            absent: Vec::new(),
            plan: PlanView::of(plan),
        };
        text(&planned, plan, &Output::plain(Format::Text, false, NOW))
    }

    #[test]
    fn a_plan_says_when_where_and_what_it_rests_on() {
        let starts: Vec<(u64, &str, u64)> = ["a", "b", "c", "d", "e", "f", "g"]
            .iter()
            .map(|agent| (0, *agent, 1))
            .chain([(720, "c", 2)])
            .collect();
        assert_eq!(
            told(&plan(course(&starts), None)),
            "\
the job would start at once

where       3 on c, 1 on a, 1 on b, 1 on d, 1 on e, 2 on 2 others
all placed  in 12m (2026-11-22T17:16:31.123Z)
queue       research
policy      drf
provided    tasks end by their estimates, and nothing else is submitted"
        );
    }

    #[test]
    fn what_is_not_known_is_counted_and_the_earliest_start_told_beside() {
        let why: WhyView = serde_json::from_value(serde_json::json!({
            "job": 1, "policy": "drf", "waiting": 9, "granted": 0, "reasons": [{"reason": "busy", "resource": "cpus", "agents": 3}],
            "queues_ahead": 0,
        }))
        .unwrap();
        let never = Course { why: Some(why), ..course(&[]) };
        let text = told(&plan(never, Some(course(&[(90, "a", 9)]))));
        let begin = "the job would not start, as far as can be known\n\nwhy         3 agents busy in cpus\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains("; 12 running tasks without estimate count as never ending\n"), "{text}");
        assert!(
            text.contains("\nearliest    in 1m (2026-11-22T17:06:01.123Z), were those to end at once"),
            "{text}"
        );
    }
}
