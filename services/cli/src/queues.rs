//! `allot queues` and `allot queue set`: who shares, and how.

use std::collections::BTreeSet;

use allot_bus::Subject;
use allot_model::view::{AgentUse, Done, QueueSetCommand, QueueView};
use allot_model::{
    Amount, HoldBack, Holding, LimitChange, Limited, QueueGuarantee, QueueLimit, QueueName, ResourceName,
    Resources,
};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Table, note, resources};

/// List queues with their weights, what they run, their shares, limits and guarantees.
///
/// The share is a queue's dominant share: the largest part that its tasks hold of any one resource of the pool, and
/// which resource that is. Where a queue has a limit or a guarantee, what it and all queues below it hold together stands beside it.
/// While tasks are being stopped for others, it is said for how many tasks of which queues, and of which.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot queues
  allot queues -o json | jq '.[] | {queue, pending}'
  allot queues -o json | jq '.[] | select(.limit != {}) | {queue, held, limit}'")]
pub struct QueuesArgs {}

/// Change a queue.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot queue set research.vision --weight 3
  allot queue set research --limit cpus=64 --limit tasks=200
  allot queue set research --guarantee cpus=16")]
pub struct QueueArgs {
    #[command(subcommand)]
    verb: QueueVerb,
}

#[derive(Debug, Subcommand)]
enum QueueVerb {
    /// Set what a queue is entitled to beside others, the most that it may have, and what it is to have before others.
    ///
    /// A queue of weight 3 gets three times the share of a queue of weight 1 where both want more than there is. A
    /// queue that was never set has weight 1.
    ///
    /// A limit is the most that the tasks of a queue and of all queues below it may hold together; `tasks` limits how
    /// many run at a time. `pending_jobs` limits how many of their jobs may have tasks that wait: a job that is
    /// submitted beyond it is rejected. A queue below another never escapes the limit of that one. What is left out
    /// stays as it is, and tasks that run go on, even where they hold more than a new limit.
    ///
    /// A guarantee is what they get before others get more than is guaranteed to these. Others may use what a queue
    /// leaves of its guarantee, and it gets that back as their tasks end. A queue whose limit is no more than its
    /// guarantee borrows from nobody, and nobody borrows from it: what it does not use is kept free for it, unless
    /// `--hold-back` says otherwise.
    Set(SetArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot queue set research --weight 3
  allot queue set research --limit cpus=64 --limit mem=256GB
  allot queue set research.vision --limit gpus=4,tasks=20
  allot queue set research --limit pending_jobs=10000
  allot queue set research --limit mem=none
  allot queue set research --no-limit
  allot queue set research --guarantee cpus=16,mem=64GB
  allot queue set research --guarantee cpus=16 --hold-back always", group(ArgGroup::new("what").required(true).multiple(true)))]
struct SetArgs {
    /// The queue.
    #[arg(value_name = "QUEUE")]
    queue: QueueName,
    /// Its share beside other queues.
    #[arg(long, value_name = "N", group = "what", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    weight: Option<u32>,
    /// The most that it and those below it may hold of a resource, how many `tasks` may run, or how many `pending_jobs`
    /// there may be; `none` for no limit. Can be given more than once.
    #[arg(long, value_name = "NAME=AMOUNT", group = "what")]
    limit: Vec<LimitChange>,
    /// Take away every limit of it that `--limit` does not set.
    #[arg(long, group = "what")]
    no_limit: bool,
    /// What it and those below it get of a resource, or how many `tasks` may run, before others get more than theirs;
    /// `none` for no guarantee. Can be given more than once.
    #[arg(long, value_name = "NAME=AMOUNT", group = "what")]
    guarantee: Vec<LimitChange>,
    /// Take away every guarantee of it that `--guarantee` does not set.
    #[arg(long, group = "what")]
    no_guarantee: bool,
    /// When what they do not use of the guarantee is kept free for them: `fixed` where the limit is no more than the
    /// guarantee, which is the default, `always`, or `never`.
    #[arg(long, value_name = "WHEN", group = "what")]
    hold_back: Option<HoldBack>,
}

impl SetArgs {
    /// The resources of which something is to be held, or kept.
    fn resources(&self) -> BTreeSet<ResourceName> {
        let changes = self.limit.iter().chain(&self.guarantee);
        changes.flat_map(|change| change.applied_to(QueueLimit::default()).resources.into_keys()).collect()
    }

    fn command(self) -> Result<QueueSetCommand, Failure> {
        let Self { queue, weight, limit, no_limit, guarantee, no_guarantee, hold_back } = self;
        let (limit, guarantee) = (in_one("--limit", limit)?, in_one("--guarantee", guarantee)?);
        Ok(QueueSetCommand { queue, weight, no_limit, limit, no_guarantee, guarantee, hold_back })
    }
}

/// What all uses of a flag say together.
fn in_one(flag: &str, changes: Vec<LimitChange>) -> Result<LimitChange, Failure> {
    let change = changes.into_iter().try_fold(LimitChange::default(), LimitChange::and);
    change.map_err(|error| Failure::Usage(format!("{flag} {error}")))
}

/// Lists queues.
///
/// # Errors
/// Where the offers service does not answer.
pub async fn list(_: QueuesArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let queues: Vec<QueueView> = client.ask(&Subject::QueuesList, &json!({})).await?;
    output.print(&queues, |queues| table(queues, output))?;
    if queues.is_empty() && !output.is_json() {
        note("no queue has jobs, and none was ever set");
    }
    if queues.iter().any(|queue| !queue.guarantee.is_none()) && !output.is_json() {
        // Who may not ask for agents goes without the warning.
        let agents = client.usage().await.unwrap_or_default();
        overcommitted(&queues, &agents).iter().for_each(|warning| note(warning));
    }
    Ok(())
}

/// Of which resources more is guaranteed than all agents that take tasks have. A guarantee below another counts within
/// that.
fn overcommitted(queues: &[QueueView], agents: &[AgentUse]) -> Vec<String> {
    let guaranteed: Vec<&QueueView> = queues.iter().filter(|queue| !queue.guarantee.is_none()).collect();
    let is_below = |queue: &QueueView, other: &QueueView| {
        queue.queue != other.queue && queue.queue.is_within(other.queue.as_str())
    };
    let mut sums = Holding::default();
    for queue in guaranteed.iter().filter(|queue| !guaranteed.iter().any(|other| is_below(queue, other))) {
        sums.add_all(&Holding { tasks: 0, resources: queue.guarantee.resources.clone() });
    }
    let mut pool = Holding::default();
    for agent in agents.iter().filter(|agent| agent.available) {
        Resources::from_json(&agent.total).into_iter().for_each(|total| pool.add(&total, 1));
    }
    let more = sums.resources.iter().filter(|(name, sum)| **sum > pool.of(name) && !agents.is_empty());
    let words = |(name, sum): (&ResourceName, &u64)| {
        let (sum, has) = (Amount::scalar_text(name, *sum), Amount::scalar_text(name, pool.of(name)));
        format!("{name}: queues are guaranteed {sum} in all, and the agents that take tasks have {has}")
    };
    more.map(words).collect()
}

/// Changes a queue.
///
/// # Errors
/// Where what is to be set contradicts itself, or the dispatcher refuses or does not answer.
pub async fn run(args: QueueArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let QueueVerb::Set(set) = args.verb;
    let named = set.resources();
    let done: Done = client.ask(&Subject::QueuesSet, &set.command()?).await?;
    output.print(&done, |done| done.message.clone())?;
    if !named.is_empty() && !output.is_json() {
        // Who may not ask for agents goes without the warning.
        let agents = client.usage().await.unwrap_or_default();
        unheard_of(&named, &agents).iter().for_each(|warning| note(warning));
    }
    Ok(())
}

/// Which of these resources no agent has, where there are agents.
fn unheard_of(named: &BTreeSet<ResourceName>, agents: &[AgentUse]) -> Vec<String> {
    let has = |name: &ResourceName, agent: &AgentUse| agent.total.get(name.as_str()).is_some();
    let unheard_of = |name: &&ResourceName| !agents.iter().any(|agent| has(name, agent));
    let words = |name| format!("warning: no agent has {name}; it is set for when one that has joins");
    named.iter().filter(unheard_of).filter(|_| !agents.is_empty()).map(words).collect()
}

fn table(queues: &[QueueView], output: &Output) -> String {
    let mut columns = vec!["QUEUE", "WEIGHT#", "JOBS#", "RUNNING#", "PENDING#", "SHARE#", "OF", "ALLOCATED"];
    let are_limited = queues.iter().any(|queue| !queue.limit.is_none());
    columns.extend(are_limited.then_some("OF LIMIT"));
    let are_guaranteed = queues.iter().any(|queue| !queue.guarantee.is_none());
    columns.extend(are_guaranteed.then_some("OF GUARANTEE"));
    let preempted = queues.iter().any(|queue| queue.preempting + queue.preempted > 0);
    columns.extend(preempted.then_some("PREEMPTION"));
    let mut table = Table::new(&columns);
    for queue in queues {
        let mut row = vec![
            (&queue.queue).into(),
            queue.weight.into(),
            queue.jobs.into(),
            queue.running.into(),
            queue.pending.into(),
            percent(queue.dominant_share).into(),
            queue.dominant_resource.as_deref().unwrap_or("-").into(),
            resources(&queue.allocated).into(),
        ];
        row.extend(are_limited.then(|| of_limit(queue).into()));
        row.extend(are_guaranteed.then(|| of_guarantee(queue).into()));
        row.extend(preempted.then(|| preemption(queue).into()));
        table.row(row);
    }
    if table.is_empty() { String::new() } else { output.draw(&table) }
}

/// `tasks 3/10, cpus 2.5/4`: what a queue and those below it hold of what is limited, and its limit; `-` where it has
/// none.
pub(crate) fn of_limit(queue: &QueueView) -> String {
    beside(&queue.held, &queue.limit)
}

/// The same of what is guaranteed, and where it is `held back` for it.
pub(crate) fn of_guarantee(queue: &QueueView) -> String {
    let guarantee = QueueGuarantee { least: queue.guarantee.clone(), hold_back: queue.hold_back };
    let held_back = !guarantee.is_none() && guarantee.is_held_back(&queue.limit);
    beside(&queue.held, &queue.guarantee) + if held_back { ", held back" } else { "" }
}

/// `3 stopping for it, 1 of it stopping`: what is under way of preemption; `-` where nothing is.
fn preemption(queue: &QueueView) -> String {
    let words = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let parts = [words(queue.preempting, "stopping for it"), words(queue.preempted, "of it stopping")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

fn beside(held: &QueueLimit, amounts: &QueueLimit) -> String {
    let part = |(what, amount): (Limited, u64)| match what {
        // What is held is told by the offers service, which knows of tasks alone.
        Limited::PendingJobs => format!("{what} {amount}"),
        _ => format!("{what} {}/{}", what.text(held.most(&what).unwrap_or(0)), what.text(amount)),
    };
    let parts: Vec<String> = amounts.iter().map(part).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

/// An exact fraction as a percentage with one digit, rounded down; `0.0%` of nothing. Of what is not there any more,
/// whatever is held is more than all.
pub(crate) fn percent([numerator, denominator]: [u64; 2]) -> String {
    if denominator == 0 && numerator > 0 {
        return "over 100%".to_owned();
    }
    let tenths = u128::from(numerator) * 1_000 / u128::from(denominator.max(1));
    format!("{}.{}%", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::NOW;
    use crate::output::Format;
    use clap::Parser;

    /// The command line of `allot queue`.
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        queue: QueueArgs,
    }

    fn command(line: &str) -> Result<serde_json::Value, String> {
        let line = Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let QueueVerb::Set(set) = line.queue.verb;
        let command = set.command().map_err(|failure| failure.to_string())?;
        Ok(serde_json::to_value(command).unwrap())
    }

    fn limit(text: &str) -> QueueLimit {
        text.parse::<LimitChange>().unwrap().applied_to(QueueLimit::default())
    }

    #[test]
    fn only_what_is_given_is_set() {
        let cases = [
            ("queue set a --weight 3", json!({"queue": "a", "weight": 3})),
            (
                "queue set a.b --limit cpus=4 --limit tasks=10,mem=none",
                json!({"queue": "a.b", "limit": {"cpus": 4, "mem": "none", "tasks": 10}}),
            ),
            ("queue set a --no-limit", json!({"queue": "a", "no_limit": true})),
            (
                "queue set a --no-limit --limit gpus=0 --weight 2",
                json!({"queue": "a", "weight": 2, "no_limit": true, "limit": {"gpus": 0}}),
            ),
            (
                "queue set a --guarantee cpus=8 --guarantee mem=64GiB --hold-back never",
                json!({"queue": "a", "guarantee": {"cpus": 8, "mem": "64GiB"}, "hold_back": "never"}),
            ),
            ("queue set a --no-guarantee", json!({"queue": "a", "no_guarantee": true})),
        ];
        for (line, expected) in cases {
            assert_eq!(command(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_said_with_what_can() {
        let cases = [
            (
                "queue set a",
                "--weight <N>|--limit <NAME=AMOUNT>|--no-limit|--guarantee <NAME=AMOUNT>|--no-guarantee|--hold-back <WHEN>",
            ),
            ("queue set a --weight 0", "0 is not in 1..=1000000"),
            ("queue set a --limit cpus", "such as `cpus=4`, `mem=16GB` or `tasks=10`"),
            ("queue set a --limit cpu=4", "did you mean `cpus`"),
            ("queue set a --hold-back yes", "choose one of `fixed`, `always`, `never`"),
            ("queue set a --guarantee cpus=4,cpus=5", "`cpus`: it is named twice"),
            ("queue set a --limit cpus=4 --limit cpus=5", "--limit `cpus`: it is named twice"),
        ];
        for (line, part) in cases {
            let message = command(line).unwrap_err();
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    fn queue(name: &str, weight: u32, share: [u64; 2], resource: Option<&str>) -> QueueView {
        QueueView {
            queue: QueueName::new(name).unwrap(),
            weight,
            limit: QueueLimit::default(),
            guarantee: QueueLimit::default(),
            hold_back: HoldBack::default(),
            held: QueueLimit::default(),
            jobs: 2,
            running: 10,
            pending: 1_200,
            preempting: 0,
            preempted: 0,
            allocated: json!({"cpus": 12}),
            dominant_resource: resource.map(str::to_owned),
            dominant_share: share,
        }
    }

    #[test]
    fn more_guaranteed_than_there_is_is_warned_of() {
        let agent = |available| AgentUse {
            agent: "a".parse().unwrap(),
            total: json!({"cpus": 8, "mem": "4GB", "gpus": ["0", "1"]}),
            allocated: json!({}),
            free: json!({}),
            available,
        };
        let with = |name: &str, guarantee: &str| QueueView {
            guarantee: limit(guarantee),
            ..queue(name, 1, [0, 1], None)
        };
        let queues = [with("a", "cpus=6,gpus=2"), with("a.b", "cpus=6"), with("ab", "cpus=2,mem=4GB")];
        assert_eq!(overcommitted(&queues, &[agent(true)]), Vec::<String>::new(), "a.b is within a");
        let queues = [&queues[..], &[with("c", "cpus=.5")]].concat();
        assert_eq!(
            overcommitted(&queues, &[agent(true), agent(false)]),
            ["cpus: queues are guaranteed 8.5 in all, and the agents that take tasks have 8"]
        );
        assert_eq!(overcommitted(&queues, &[]), Vec::<String>::new(), "nothing is known of agents");
    }

    #[test]
    fn a_resource_that_no_agent_has_is_warned_of_and_not_refused() {
        let agent = AgentUse {
            agent: "a".parse().unwrap(),
            total: json!({"cpus": 8, "mem": "4GB"}),
            allocated: json!({}),
            free: json!({}),
            available: true,
        };
        let line = "queue set a --limit gpuz=4,mem=1GB,cpus=none --guarantee cpus=2";
        let QueueVerb::Set(set) = Line::try_parse_from(line.split_whitespace()).unwrap().queue.verb;
        assert_eq!(
            unheard_of(&set.resources(), &[agent]),
            ["warning: no agent has gpuz; it is set for when one that has joins"]
        );
        assert_eq!(unheard_of(&set.resources(), &[]), Vec::<String>::new(), "nothing is known of agents");
    }

    #[test]
    fn queues_are_listed_with_their_shares() {
        let mut queues = [queue("research", 3, [3, 8], Some("cpus")), queue("web", 1, [0, 0], None)];
        assert_eq!(
            table(&queues, &Output::plain(Format::Text, false, NOW)),
            "\
QUEUE     WEIGHT  JOBS  RUNNING  PENDING  SHARE  OF    ALLOCATED
research       3     2       10     1200  37.5%  cpus  cpus 12
web            1     2       10     1200   0.0%  -     cpus 12"
        );
        queues[0].limit = limit("cpus=16,mem=64GB,tasks=20");
        queues[0].held = limit("cpus=12,mem=0,tasks=10");
        assert_eq!(
            table(&queues, &Output::plain(Format::Text, false, NOW)),
            "\
QUEUE     WEIGHT  JOBS  RUNNING  PENDING  SHARE  OF    ALLOCATED  OF LIMIT
research       3     2       10     1200  37.5%  cpus  cpus 12    tasks 10/20, cpus 12/16, mem 0/64GB
web            1     2       10     1200   0.0%  -     cpus 12    -"
        );
        queues[0].limit = QueueLimit::default();
        queues[1].guarantee = limit("cpus=12");
        queues[1].hold_back = HoldBack::Always;
        queues[1].held = limit("cpus=8");
        assert_eq!(
            table(&queues, &Output::plain(Format::Text, false, NOW)),
            "\
QUEUE     WEIGHT  JOBS  RUNNING  PENDING  SHARE  OF    ALLOCATED  OF GUARANTEE
research       3     2       10     1200  37.5%  cpus  cpus 12    -
web            1     2       10     1200   0.0%  -     cpus 12    cpus 8/12, held back"
        );
        queues[1].guarantee = QueueLimit::default();
        queues[1].preempting = 4;
        (queues[0].preempting, queues[0].preempted) = (1, 3);
        assert_eq!(
            table(&queues, &Output::plain(Format::Text, false, NOW)),
            "\
QUEUE     WEIGHT  JOBS  RUNNING  PENDING  SHARE  OF    ALLOCATED  PREEMPTION
research       3     2       10     1200  37.5%  cpus  cpus 12    1 stopping for it, 3 of it stopping
web            1     2       10     1200   0.0%  -     cpus 12    4 stopping for it"
        );
    }

    #[test]
    fn the_largest_fractions_do_not_overflow() {
        assert_eq!(percent([u64::MAX, u64::MAX]), "100.0%");
        assert_eq!(percent([1, 3]), "33.3%");
        assert_eq!((percent([0, 0]), percent([1, 0])), ("0.0%".to_owned(), "over 100%".to_owned()));
    }
}
