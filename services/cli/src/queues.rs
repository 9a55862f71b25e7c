//! `allot queues` and `allot queue set`: who shares, and how.

use allot_bus::Subject;
use allot_model::QueueName;
use allot_model::view::{Done, QueueSetCommand, QueueView};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Table, note, resources};

/// List queues with their weights, what they run, and their shares.
///
/// The share is a queue's dominant share: the largest part that its tasks hold of any one resource of the pool, and
/// which resource that is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot queues
  allot queues -o json | jq '.[] | {queue, pending}'")]
pub struct QueuesArgs {}

/// Change a queue.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  allot queue set research.vision --weight 3")]
pub struct QueueArgs {
    #[command(subcommand)]
    verb: QueueVerb,
}

#[derive(Debug, Subcommand)]
enum QueueVerb {
    /// Set what a queue is entitled to beside its siblings.
    ///
    /// A queue of weight 3 gets three times the share of a sibling of weight 1 where both want more than there is.
    /// A queue that was never set has weight 1.
    #[command(
        after_help = "Examples:\n  allot queue set research --weight 3\n  allot queue set research.vision --weight 2"
    )]
    Set {
        /// The queue.
        #[arg(value_name = "QUEUE")]
        queue: QueueName,
        /// Its share beside its siblings.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        weight: u32,
    },
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
/// Where the dispatcher refuses or does not answer.
pub async fn run(args: QueueArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let QueueVerb::Set { queue, weight } = args.verb;
    let done: Done = client.ask(&Subject::QueuesSet, &QueueSetCommand { queue, weight }).await?;
    output.print(&done, |done| done.message.clone())
}

fn table(queues: &[QueueView], output: &Output) -> String {
    let mut table =
        Table::new(&["QUEUE", "WEIGHT#", "JOBS#", "RUNNING#", "PENDING#", "SHARE#", "OF", "ALLOCATED"]);
    for queue in queues {
        table.row([
            (&queue.queue).into(),
            queue.weight.into(),
            queue.jobs.into(),
            queue.running.into(),
            queue.pending.into(),
            percent(queue.dominant_share).into(),
            queue.dominant_resource.as_deref().unwrap_or("-").into(),
            resources(&queue.allocated).into(),
        ]);
    }
    if table.is_empty() { String::new() } else { output.draw(&table) }
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

    #[test]
    fn queues_are_listed_with_their_shares() {
        let queue = |name: &str, weight, share, resource: Option<&str>| QueueView {
            queue: QueueName::new(name).unwrap(),
            weight,
            jobs: 2,
            running: 10,
            pending: 1_200,
            allocated: json!({"cpus": 12}),
            dominant_resource: resource.map(str::to_owned),
            dominant_share: share,
        };
        let queues = [queue("research", 3, [3, 8], Some("cpus")), queue("web", 1, [0, 0], None)];
        assert_eq!(
            table(&queues, &Output::plain(Format::Text, false, NOW)),
            "\
QUEUE     WEIGHT  JOBS  RUNNING  PENDING  SHARE  OF    ALLOCATED
research       3     2       10     1200  37.5%  cpus  cpus 12
web            1     2       10     1200   0.0%  -     cpus 12"
        );
    }

    #[test]
    fn the_largest_fractions_do_not_overflow() {
        assert_eq!(percent([u64::MAX, u64::MAX]), "100.0%");
        assert_eq!(percent([1, 3]), "33.3%");
        assert_eq!((percent([0, 0]), percent([1, 0])), ("0.0%".to_owned(), "over 100%".to_owned()));
    }
}
