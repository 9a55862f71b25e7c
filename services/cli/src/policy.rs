//! `allot policy`: who decides, and who is to.

use std::time::Duration;

use allot_bus::Subject;
use allot_model::view::{AllocatorView, Done, PolicyUseCommand, PolicyView};
use allot_model::{PolicyName, PoolName};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::time::interval;

use crate::client::Client;
use crate::completions;
use crate::failure::Failure;
use crate::output::{Cell, Output, Table, Tone, note};

/// How often it is looked whether a policy has taken over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Show which policy decides, or choose another.
///
/// Every allocator that is heard from is listed: one is active and decides, the others stand by and take over within
/// seconds of it falling silent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot policy
  allot policy use fair
  allot policy -o json | jq -r '.allocators[] | select(.active) | .policy'")]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Option<PolicyVerb>,
}

#[derive(Debug, Subcommand)]
enum PolicyVerb {
    /// Choose the policy that is to decide; running tasks never notice.
    ///
    /// An allocator that runs it has to be there, or to be started later: until then the present one goes on.
    #[command(after_help = "Examples:\n  allot policy use drf\n  allot policy use fifo --wait")]
    Use {
        /// The policy, such as fifo, priority, fair or drf.
        #[arg(value_name = "POLICY", add = completions::policies())]
        policy: PolicyName,
        /// Return once it decides; fail where no allocator that runs it is heard from.
        #[arg(long)]
        wait: bool,
    },
}

/// Shows which policy decides, or chooses another.
///
/// # Errors
/// Where the offers service refuses or does not answer.
pub async fn run(args: PolicyArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let pool = PoolName::default_pool();
    if let Some(PolicyVerb::Use { policy, wait }) = args.verb {
        let command = PolicyUseCommand { policy: policy.clone() };
        let done: Done = client.ask(&Subject::PoolUse(pool), &command).await?;
        let done = if wait { decides(&policy, client, output).await? } else { done };
        return output.print(&done, |done| done.message.clone());
    }
    let view: PolicyView = client.ask(&Subject::PoolPolicy(pool), &json!({})).await?;
    output.print(&view, |view| table(&view.allocators, output))?;
    if !output.is_json() {
        remarks(&view).iter().for_each(|remark| note(remark));
    }
    Ok(())
}

/// Waits until an allocator of the policy decides.
async fn decides(policy: &PolicyName, client: &Client, output: &Output) -> Result<Done, Failure> {
    let spinner = output.spinner();
    spinner.set_message(format!("waiting for {policy} to take over"));
    let mut look = interval(LOOK_EVERY);
    loop {
        look.tick().await;
        spinner.tick();
        let view: PolicyView = client.ask(&Subject::PoolPolicy(PoolName::default_pool()), &json!({})).await?;
        let mut of_policy = view.allocators.iter().filter(|one| one.policy == *policy).peekable();
        if of_policy.peek().is_none() {
            return Err(Failure::failed(format!(
                "policy {policy} is chosen, but no allocator that runs it is heard from: start allot-allocator-{policy}"
            )));
        }
        if let Some(active) = of_policy.find(|one| one.active) {
            spinner.finish_and_clear();
            return Ok(Done {
                message: format!("allocator {} decides with policy {policy}", active.instance),
            });
        }
    }
}

fn table(allocators: &[AllocatorView], output: &Output) -> String {
    let mut table = Table::new(&["POLICY", "ROLE", "ALLOCATOR", "SINCE", "HEARD"]);
    for allocator in allocators {
        let role = if allocator.active { Cell::new("active", Tone::Good) } else { "standby".into() };
        table.row([
            (&allocator.policy).into(),
            role,
            (&allocator.instance).into(),
            output.clock.show(allocator.since).into(),
            output.clock.show(allocator.heard_at).into(),
        ]);
    }
    if table.is_empty() { String::new() } else { output.draw(&table) }
}

/// What a person should know beside the table.
fn remarks(view: &PolicyView) -> Vec<String> {
    let mut remarks = Vec::new();
    if !view.allocators.iter().any(|allocator| allocator.active) {
        remarks.push("no allocator is active: nothing is placed until one is started".to_owned());
    }
    if let Some(chosen) = &view.chosen {
        let runs = view.allocators.iter().any(|allocator| allocator.policy == *chosen);
        let state = if runs { "" } else { ", but no allocator that runs it is heard from" };
        remarks.push(format!("chosen: {chosen}{state}"));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::NOW;
    use crate::output::Format;
    use allot_model::{Epoch, InstanceId, Span};

    fn view(chosen: &str, active: bool) -> PolicyView {
        let allocator = |policy: &str, instance: &str, active| AllocatorView {
            instance: InstanceId::new(instance).unwrap(),
            policy: PolicyName::new(policy).unwrap(),
            active,
            since: NOW - Span::from_secs(7200),
            heard_at: NOW,
        };
        PolicyView {
            chosen: PolicyName::new(chosen).ok(),
            epoch: Epoch(3),
            allocators: vec![allocator("drf", "drf-1", active), allocator("fifo", "fifo-1", false)],
        }
    }

    #[test]
    fn allocators_are_listed_with_their_roles() {
        assert_eq!(
            table(&view("drf", true).allocators, &Output::plain(Format::Text, false, NOW)),
            "\
POLICY  ROLE     ALLOCATOR  SINCE   HEARD
drf     active   drf-1      2h ago  now
fifo    standby  fifo-1     2h ago  now"
        );
    }

    #[test]
    fn a_policy_that_nobody_runs_is_remarked_on() {
        assert_eq!(remarks(&view("drf", true)), ["chosen: drf"]);
        let fair = remarks(&view("fair", false));
        assert!(fair[0].contains("no allocator is active"), "{fair:?}");
        assert_eq!(fair[1], "chosen: fair, but no allocator that runs it is heard from");
    }
}
