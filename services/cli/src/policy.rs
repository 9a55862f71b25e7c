//! `allot policy`: who decides, and who is to.

use std::time::Duration;

use allot_bus::Subject;
use allot_engine::Policy;
use allot_model::view::{AllocatorView, Done, PolicyUseCommand, PolicyView};
use allot_model::{AllocatorMode, PolicyName, PoolName, Preempt, PreemptRules};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::time::interval;

use crate::client::Client;
use crate::compare;
use crate::completions;
use crate::failure::Failure;
use crate::output::{Cell, Output, Table, Tone, note};

/// How often it is looked whether a policy has taken over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Show which policy decides, or choose another.
///
/// Every allocator that is heard from is listed: one is active and decides, those that stand by take over within seconds
/// of it falling silent, and shadows never decide: they are there to be compared.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot policy
  allot policy use fair
  allot policy show fair
  allot policy -o json | jq -r '.allocators[] | select(.active) | .policy'
  allot policy -o json | jq .counts            what became of offers and grants")]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Option<PolicyVerb>,
}

#[derive(Debug, Subcommand)]
enum PolicyVerb {
    /// List the allocators that are heard from; the same as `allot policy`.
    #[command(after_help = "Examples:\n  allot policy list\n  allot policy list -o json")]
    List,
    /// Show all about the allocators of a policy.
    #[command(after_help = "Examples:\n  allot policy show fair\n  allot policy show fair -o json")]
    Show {
        /// The policy, or one allocator by its name.
        #[arg(value_name = "POLICY|ALLOCATOR", add = completions::policies())]
        which: String,
    },
    /// Show how shadows compare with the allocator that decides.
    ///
    /// Of what was granted over the last five to ten minutes it tells how much a shadow would have given to the same job, and on
    /// the same agent, from the state just before; and how each queue would have fared, had the shadow decided all that
    /// time: its share, how long its tasks waited. docs/policies.md says how that is found, and what it leaves out.
    #[command(after_help = "\
Examples:
  allot policy compare              all shadows
  allot policy compare fair
  allot policy compare fair -o json")]
    Compare {
        /// Only the shadows of this policy, or the one of this name.
        #[arg(value_name = "POLICY|ALLOCATOR", add = completions::policies())]
        which: Option<String>,
    },
    /// Choose the policy that is to decide; running tasks never notice.
    ///
    /// An allocator that runs it has to be there, or to be started later: until then nothing decides by it, and the present
    /// one goes on.
    #[command(after_help = "Examples:\n  allot policy use drf\n  allot policy use fifo --wait")]
    Use {
        /// The policy, such as fifo, priority, fair or drf.
        #[arg(value_name = "POLICY", add = completions::policies())]
        policy: PolicyName,
        /// Return once it decides; where no allocator that runs it is heard from, fail and change nothing.
        #[arg(long)]
        wait: bool,
    },
}

/// Shows which policy decides, or chooses another.
///
/// # Errors
/// Where the offers service refuses or does not answer.
pub async fn run(args: PolicyArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    match args.verb {
        Some(PolicyVerb::Use { policy, wait }) => choose(&policy, wait, client, output).await,
        Some(PolicyVerb::Compare { which }) => compare::run(which.as_deref(), client, output).await,
        Some(PolicyVerb::Show { which }) => show(&which, client, output).await,
        Some(PolicyVerb::List) | None => list(client, output).await,
    }
}

/// Who is there, and what they are there for.
pub(crate) async fn view(client: &Client) -> Result<PolicyView, Failure> {
    client.ask(&Subject::PoolPolicy(PoolName::default_pool()), &json!({})).await
}

async fn choose(policy: &PolicyName, wait: bool, client: &Client, output: &Output) -> Result<(), Failure> {
    if wait && !view(client).await?.allocators.iter().any(|one| can_decide(one, policy)) {
        return Err(Failure::failed(format!(
            "no allocator that runs policy {policy} is heard from, and nothing was changed: start allot-allocator-{policy} \
             (`systemctl start allot@allocator-{policy}`, or `allot up --policy {policy}`); without --wait it is chosen for \
             when one runs"
        )));
    }
    let command = PolicyUseCommand { policy: policy.clone() };
    let done: Done = client.ask(&Subject::PoolUse(PoolName::default_pool()), &command).await?;
    let done = if wait { decides(policy, client, output).await? } else { done };
    output.print(&done, |done| done.message.clone())
}

/// True where it runs the policy and is there to decide.
fn can_decide(one: &AllocatorView, policy: &PolicyName) -> bool {
    one.policy == *policy && one.mode == AllocatorMode::Standby
}

async fn show(which: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    let view = view(client).await?;
    let meant = |one: &&AllocatorView| one.policy.as_str() == which || one.instance.as_str() == which;
    let found: Vec<&AllocatorView> = view.allocators.iter().filter(meant).collect();
    if found.is_empty() {
        return Err(Failure::failed(format!(
            "no allocator of policy {which}, nor one of that name, is heard from: `allot policy` lists all that are"
        )));
    }
    output.print(&found, |found| {
        let facts = |one: &&AllocatorView| facts(one, &view.preemption, output);
        found.iter().map(facts).collect::<Vec<_>>().join("\n\n")
    })
}

fn facts(one: &AllocatorView, rules: &PreemptRules, output: &Output) -> String {
    let role = match (one.active, one.mode) {
        (true, _) => "active: it decides",
        (false, AllocatorMode::Standby) => {
            "standby: it decides when it is chosen, or the active one falls silent"
        }
        (false, AllocatorMode::Shadow) => "shadow: it never decides, and is there to be compared",
    };
    let options = one.described.as_deref().unwrap_or("not told");
    [
        ("allocator", one.instance.as_str()),
        ("policy", one.policy.as_str()),
        ("options", options),
        ("preempts", &preempts(one, rules)),
        ("role", role),
        ("since", &output.clock.show(one.since)),
        ("heard", &output.clock.show(one.heard_at)),
    ]
    .map(|(name, value)| format!("{name:<11}{value}"))
    .join("\n")
}

/// What an allocator has tasks stopped for, where it tells.
fn wanted(one: &AllocatorView) -> Option<Preempt> {
    Policy::parse(one.described.as_deref()?).ok().map(|policy| policy.preempt.preempt)
}

fn preempts(one: &AllocatorView, PreemptRules { preempt, min_run, rate }: &PreemptRules) -> String {
    match wanted(one) {
        None => format!("not told; the offers service allows `{preempt}`"),
        Some(Preempt::None) => "nothing".to_owned(),
        Some(wanted) if wanted.and(*preempt) == wanted => {
            format!(
                "for `{wanted}`: what has run for {min_run} at least, {rate} tasks within a minute at most"
            )
        }
        Some(wanted) => format!("for `{wanted}`, and the offers service allows `{preempt}`"),
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let view = view(client).await?;
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
        let view = view(client).await?;
        let mut of_policy = view.allocators.iter().filter(|one| can_decide(one, policy)).peekable();
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
        let role = match (allocator.active, allocator.mode) {
            (true, _) => Cell::new("active", Tone::Good),
            (false, AllocatorMode::Standby) => "standby".into(),
            (false, AllocatorMode::Shadow) => Cell::new("shadow", Tone::Faint),
        };
        let policy = allocator.described.as_deref().unwrap_or(allocator.policy.as_str());
        table.row([
            policy.into(),
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
    let allowed = view.preemption.preempt;
    for one in view.allocators.iter().filter(|one| one.active) {
        if let Some(wanted) = wanted(one).filter(|wanted| wanted.and(allowed) != *wanted) {
            remarks.push(format!(
                "{} is set to stop tasks for others (preempt={wanted}), and the offers service allows \
                 `{allowed}`: set `preempt` there as well",
                one.instance
            ));
        }
    }
    if let Some(chosen) = &view.chosen {
        let of_policy = view.allocators.iter().filter(|allocator| allocator.policy == *chosen);
        let state = match of_policy.map(|allocator| allocator.mode == AllocatorMode::Standby).max() {
            Some(true) => "",
            Some(false) => ", but no allocator that runs it is heard from, other than as a shadow",
            None => ", but no allocator that runs it is heard from",
        };
        remarks.push(format!("chosen: {chosen}{state}"));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::NOW;
    use crate::output::Format;
    use allot_model::{Epoch, InstanceId, OfferCounts, Span};

    fn view(chosen: &str, active: bool) -> PolicyView {
        let allocator = |policy: &str, instance: &str, active| AllocatorView {
            instance: InstanceId::new(instance).unwrap(),
            policy: PolicyName::new(policy).unwrap(),
            described: None,
            mode: AllocatorMode::Standby,
            active,
            since: NOW - Span::from_secs(7200),
            heard_at: NOW,
        };
        PolicyView {
            chosen: PolicyName::new(chosen).ok(),
            epoch: Epoch(3),
            allocators: vec![
                allocator("drf", "drf-1", active),
                allocator("fifo", "fifo-1", false),
                AllocatorView {
                    described: Some("fair:resource=mem".to_owned()),
                    mode: AllocatorMode::Shadow,
                    ..allocator("fair", "fair-1", false)
                },
            ],
            counts: OfferCounts::default(),
            preemption: PreemptRules::default(),
        }
    }

    #[test]
    fn allocators_are_listed_with_their_roles() {
        assert_eq!(
            table(&view("drf", true).allocators, &Output::plain(Format::Text, false, NOW)),
            "\
POLICY             ROLE     ALLOCATOR  SINCE   HEARD
drf                active   drf-1      2h ago  now
fifo               standby  fifo-1     2h ago  now
fair:resource=mem  shadow   fair-1     2h ago  now"
        );
    }

    #[test]
    fn an_allocator_is_shown_with_its_options_and_what_it_is_there_for() {
        let shadow = &view("drf", true).allocators[2];
        assert_eq!(
            facts(shadow, &PreemptRules::default(), &Output::plain(Format::Text, false, NOW)),
            "\
allocator  fair-1
policy     fair
options    fair:resource=mem
preempts   nothing
role       shadow: it never decides, and is there to be compared
since      2h ago
heard      now"
        );
    }

    #[test]
    fn what_an_allocator_has_stopped_is_told_with_what_is_allowed_of_it() {
        let told = |wanted: &str, preempt| {
            let mut view = view("priority", true);
            view.preemption = PreemptRules { preempt, ..PreemptRules::default() };
            view.allocators[0].described = Some(format!("priority:preempt={wanted}"));
            let remarks = remarks(&view).into_iter().filter(|remark| remark.contains("preempt"));
            (preempts(&view.allocators[0], &view.preemption), remarks.collect::<Vec<_>>())
        };
        assert_eq!(told("none", Preempt::Both), ("nothing".to_owned(), Vec::new()));
        let allowed = "for `priority`: what has run for 0s at least, 600 tasks within a minute at most";
        assert_eq!(told("priority", Preempt::Both), (allowed.to_owned(), Vec::new()));
        let (fact, remarks) = told("both", Preempt::Guarantee);
        assert_eq!(fact, "for `both`, and the offers service allows `guarantee`");
        let remark =
            "drf-1 is set to stop tasks for others (preempt=both), and the offers service allows `guarantee`";
        assert!(remarks[0].starts_with(remark), "{remarks:?}");
    }

    #[test]
    fn a_policy_that_nobody_runs_is_remarked_on() {
        assert_eq!(remarks(&view("drf", true)), ["chosen: drf"]);
        let fair = remarks(&view("hdrf", false));
        assert!(fair[0].contains("no allocator is active"), "{fair:?}");
        assert_eq!(fair[1], "chosen: hdrf, but no allocator that runs it is heard from");
        let shadow = remarks(&view("fair", true));
        assert_eq!(
            shadow,
            ["chosen: fair, but no allocator that runs it is heard from, other than as a shadow"]
        );
    }
}
