//! `allot policy compare`: how shadows compare with the policy that decides.

use std::fmt::Write;

use allot_bus::Subject;
use allot_model::view::{AllocatorView, CompareQuery, CompareView, Compared, Fared};
use allot_model::{AllocatorMode, PoolName};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Cell, Output, Table, length};
use crate::policy::view;

/// Shows how shadows compare: those of a policy, or that of a name, or all.
///
/// # Errors
/// Where there is no such shadow, or it does not answer.
pub(crate) async fn run(which: Option<&str>, client: &Client, output: &Output) -> Result<(), Failure> {
    let there = view(client).await?;
    let mut views = Vec::new();
    for shadow in shadows(&there.allocators, which)? {
        let subject = Subject::PoolCompare(PoolName::default_pool(), shadow.instance.clone());
        views.push(client.ask::<CompareView>(&subject, &CompareQuery {}).await?);
    }
    let active = there.allocators.iter().find(|one| one.active);
    let active = active.map_or("nobody", |one| one.described.as_deref().unwrap_or(one.policy.as_str()));
    output.print(&views, |views| {
        views.iter().map(|view| text(view, active, output)).collect::<Vec<_>>().join("\n\n")
    })
}

fn shadows<'a>(there: &'a [AllocatorView], which: Option<&str>) -> Result<Vec<&'a AllocatorView>, Failure> {
    let meant = |one: &&AllocatorView| {
        which.is_none_or(|which| one.policy.as_str() == which || one.instance.as_str() == which)
    };
    let found: Vec<&AllocatorView> =
        there.iter().filter(|one| one.mode == AllocatorMode::Shadow).filter(meant).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let policy = which.unwrap_or("fair");
    Err(Failure::failed(match which {
        Some(which) if there.iter().any(|one| one.policy.as_str() == which) => format!(
            "the allocator of policy {which} is no shadow, and only shadows compare: start another with ALLOT_MODE=shadow"
        ),
        _ => format!(
            "no {}shadow is heard from: start one beside the allocator that decides, such as \
             `ALLOT_MODE=shadow ALLOT_POLICY={policy} allot-allocator`",
            which.map_or_else(String::new, |which| format!("{which} "))
        ),
    }))
}

fn text(view: &CompareView, active: &str, output: &Output) -> String {
    let over = length(view.until.since(view.since));
    let mut text =
        format!("{} beside {active}, over the last {over} (shadow {})\n", view.policy, view.instance);
    let _ = write!(text, "\nagreement  {}", agreement(view));
    match &view.unknown {
        Some(unknown) => drop(write!(text, "\nqueues     not told: {unknown}")),
        None if view.queues.is_empty() => {}
        None => drop(write!(text, "\n\n{}", output.draw(&queues(view)))),
    }
    if view.unknown_length > 0 {
        let tasks = if view.unknown_length == 1 { "task" } else { "tasks" };
        let _ = write!(
            text,
            "\n\n{} {tasks} that it would have placed count as running on: nobody knows how long they take, and estimates \
             would tell",
            view.unknown_length
        );
    }
    if !view.differences.is_empty() {
        let _ = write!(text, "\n\n{}", output.draw(&differences(view, output)));
    }
    text
}

fn agreement(view: &CompareView) -> String {
    if view.placed == 0 {
        return "nothing was placed in that time".to_owned();
    }
    let part = |agreed: u64| format!("{agreed} ({})", percent(agreed, view.placed));
    format!(
        "of {} slots that were granted it would have given {} to the same job, {} on the same agent",
        view.placed,
        part(view.same_job),
        part(view.same_agent)
    )
}

/// Rounded down, so that only all is 100 %.
fn percent(part: u64, whole: u64) -> String {
    format!("{} %", u128::from(part) * 100 / u128::from(whole.max(1)))
}

fn queues(view: &CompareView) -> Table {
    let mut table = Table::new(&[
        "QUEUE",
        "SHARE#",
        "WOULD BE#",
        "WAIT#",
        "WOULD BE#",
        "PLACED#",
        "WOULD BE#",
        "WAITING#",
        "WOULD BE#",
    ]);
    let mut row = |name: &str, Compared { active, shadow }: &Compared| {
        let wait = |fared: &Fared| fared.wait.map_or_else(|| "-".to_owned(), length);
        let share = |fared: &Fared| format!("{:.1} %", fared.share * 100.0);
        let cells: [Cell; 9] = [
            name.into(),
            share(active).into(),
            share(shadow).into(),
            wait(active).into(),
            wait(shadow).into(),
            active.placed.into(),
            shadow.placed.into(),
            active.waiting.into(),
            shadow.waiting.into(),
        ];
        table.row(cells);
    };
    view.queues.iter().for_each(|queue| row(queue.queue.as_str(), &queue.compared));
    row("all", &view.all);
    table
}

fn differences(view: &CompareView, output: &Output) -> Table {
    let mut table = Table::new(&["WHEN", "PLACED", "SLOTS#", "WOULD HAVE PLACED"]);
    for difference in view.differences.iter().rev() {
        let instead = match &difference.instead {
            Some(instead) => format!("job {} on {}", instead.job, instead.agent),
            None => "nothing more".to_owned(),
        };
        table.row([
            Cell::from(output.clock.show(difference.at)),
            format!("job {} on {}", difference.job, difference.agent).into(),
            difference.slots.into(),
            instead.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::NOW;
    use crate::output::Format;
    use allot_model::view::{Difference, Instead, QueueCompared};
    use allot_model::{InstanceId, JobId, PolicyName, Span};

    fn compare() -> CompareView {
        let fared = |share, seconds: u64, placed, waiting| Fared {
            share,
            placed,
            wait: Some(Span::from_secs(seconds)),
            waiting,
        };
        let compared = Compared { active: fared(0.5, 12, 150, 3), shadow: fared(0.25, 90, 140, 13) };
        CompareView {
            instance: InstanceId::new("fair-1").unwrap(),
            policy: "fair:resource=mem".to_owned(),
            since: NOW - Span::from_secs(432),
            until: NOW,
            placed: 200,
            same_job: 199,
            same_agent: 100,
            differences: vec![Difference {
                at: NOW - Span::from_secs(5),
                job: JobId(12),
                agent: "m1".parse().unwrap(),
                slots: 4,
                instead: Some(Instead { job: JobId(14), agent: "m2".parse().unwrap() }),
            }],
            all: compared,
            queues: vec![QueueCompared { queue: "research".parse().unwrap(), compared }],
            unknown_length: 2,
            unknown: None,
        }
    }

    #[test]
    fn a_shadow_is_compared_in_agreement_queues_and_differences() {
        assert_eq!(
            text(&compare(), "drf", &Output::plain(Format::Text, false, NOW)),
            "\
fair:resource=mem beside drf, over the last 7m12s (shadow fair-1)

agreement  of 200 slots that were granted it would have given 199 (99 %) to the same job, 100 (50 %) on the same agent

QUEUE      SHARE  WOULD BE  WAIT  WOULD BE  PLACED  WOULD BE  WAITING  WOULD BE
research  50.0 %    25.0 %   12s     1m30s     150       140        3        13
all       50.0 %    25.0 %   12s     1m30s     150       140        3        13

2 tasks that it would have placed count as running on: nobody knows how long they take, and estimates would tell

WHEN    PLACED        SLOTS  WOULD HAVE PLACED
5s ago  job 12 on m1      4  job 14 on m2"
        );
    }

    #[test]
    fn without_a_shadow_it_is_said_how_to_start_one() {
        let one = |mode| AllocatorView {
            instance: InstanceId::new("a-1").unwrap(),
            policy: PolicyName::new("drf").unwrap(),
            described: None,
            mode,
            active: mode == AllocatorMode::Standby,
            since: NOW,
            heard_at: NOW,
        };
        let there = [one(AllocatorMode::Standby)];
        let message = |which| shadows(&there, which).unwrap_err().to_string();
        assert!(message(None).contains("`ALLOT_MODE=shadow ALLOT_POLICY=fair allot-allocator`"));
        assert!(message(Some("hdrf")).starts_with("no hdrf shadow is heard from"));
        assert!(message(Some("drf")).contains("only shadows compare"));
        assert_eq!(shadows(&[one(AllocatorMode::Shadow)], Some("drf")).unwrap().len(), 1);
    }
}
