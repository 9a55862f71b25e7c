//! `allot queues` and `allot queue set`: who shares, and how.

use allot_bus::Subject;
use allot_model::view::{Done, QueueSetCommand, QueueView};
use allot_model::{LimitChange, Limited, QueueName};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Table, note, resources};

/// List queues with their weights, what they run, their shares and their limits.
///
/// The share is a queue's dominant share: the largest part that its tasks hold of any one resource of the pool, and
/// which resource that is. Where a queue has a limit, what it and all queues below it hold together stands beside it.
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
  allot queue set research --limit cpus=64 --limit tasks=200")]
pub struct QueueArgs {
    #[command(subcommand)]
    verb: QueueVerb,
}

#[derive(Debug, Subcommand)]
enum QueueVerb {
    /// Set what a queue is entitled to beside others, and the most that it may have.
    ///
    /// A queue of weight 3 gets three times the share of a queue of weight 1 where both want more than there is. A
    /// queue that was never set has weight 1.
    ///
    /// A limit is the most that the tasks of a queue and of all queues below it may hold together; `tasks` limits how
    /// many run at a time. A queue below another never escapes the limit of that one. What is left out stays as it is,
    /// and tasks that run go on, even where they hold more than a new limit.
    Set(SetArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot queue set research --weight 3
  allot queue set research --limit cpus=64 --limit mem=256GB
  allot queue set research.vision --limit gpus=4,tasks=20
  allot queue set research --limit mem=none
  allot queue set research --no-limit", group(ArgGroup::new("what").required(true).multiple(true)))]
struct SetArgs {
    /// The queue.
    #[arg(value_name = "QUEUE")]
    queue: QueueName,
    /// Its share beside other queues.
    #[arg(long, value_name = "N", group = "what", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    weight: Option<u32>,
    /// The most that it and those below it may hold of a resource, or how many `tasks` may run; `none` for no limit. Can
    /// be given more than once.
    #[arg(long, value_name = "NAME=AMOUNT", group = "what")]
    limit: Vec<LimitChange>,
    /// Take away every limit of it that `--limit` does not set.
    #[arg(long, group = "what")]
    no_limit: bool,
}

impl SetArgs {
    fn command(self) -> Result<QueueSetCommand, Failure> {
        let Self { queue, weight, limit, no_limit } = self;
        let limit = limit.into_iter().try_fold(LimitChange::default(), LimitChange::and);
        let limit = limit.map_err(|error| Failure::Usage(format!("--limit {error}")))?;
        Ok(QueueSetCommand { queue, weight, no_limit, limit })
    }
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
    Ok(())
}

/// Changes a queue.
///
/// # Errors
/// Where what is to be set contradicts itself, or the dispatcher refuses or does not answer.
pub async fn run(args: QueueArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let QueueVerb::Set(set) = args.verb;
    let done: Done = client.ask(&Subject::QueuesSet, &set.command()?).await?;
    output.print(&done, |done| done.message.clone())
}

fn table(queues: &[QueueView], output: &Output) -> String {
    let mut columns = vec!["QUEUE", "WEIGHT#", "JOBS#", "RUNNING#", "PENDING#", "SHARE#", "OF", "ALLOCATED"];
    let are_limited = queues.iter().any(|queue| !queue.limit.is_none());
    columns.extend(are_limited.then_some("OF LIMIT"));
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
        table.row(row);
    }
    if table.is_empty() { String::new() } else { output.draw(&table) }
}

/// `tasks 3/10, cpus 2.5/4`: what a queue and those below it hold of what is limited, and its limit; `-` where it has
/// none.
pub(crate) fn of_limit(queue: &QueueView) -> String {
    let part = |(what, most): (Limited, u64)| {
        format!("{what} {}/{}", what.text(queue.held.most(&what).unwrap_or(0)), what.text(most))
    };
    let parts: Vec<String> = queue.limit.iter().map(part).collect();
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
    use allot_model::QueueLimit;
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
        ];
        for (line, expected) in cases {
            assert_eq!(command(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_said_with_what_can() {
        let cases = [
            ("queue set a", "--weight <N>|--limit <NAME=AMOUNT>|--no-limit"),
            ("queue set a --weight 0", "0 is not in 1..=1000000"),
            ("queue set a --limit cpus", "such as `cpus=4`, `mem=16GB` or `tasks=10`"),
            ("queue set a --limit cpu=4", "did you mean `cpus`"),
            ("queue set a --limit cpus=4 --limit cpus=5", "--limit `cpus`: it is named twice"),
        ];
        for (line, part) in cases {
            let message = command(line).unwrap_err();
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn queues_are_listed_with_their_shares() {
        let queue = |name: &str, weight, share, resource: Option<&str>| QueueView {
            queue: QueueName::new(name).unwrap(),
            weight,
            limit: QueueLimit::default(),
            held: QueueLimit::default(),
            jobs: 2,
            running: 10,
            pending: 1_200,
            allocated: json!({"cpus": 12}),
            dominant_resource: resource.map(str::to_owned),
            dominant_share: share,
        };
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
    }

    #[test]
    fn the_largest_fractions_do_not_overflow() {
        assert_eq!(percent([u64::MAX, u64::MAX]), "100.0%");
        assert_eq!(percent([1, 3]), "33.3%");
        assert_eq!((percent([0, 0]), percent([1, 0])), ("0.0%".to_owned(), "over 100%".to_owned()));
    }
}
