//! Options that one kind of input uses, and that would change nothing about another.

use super::SimulateArgs;
use crate::failure::Failure;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scenario,
    Log,
    /// The lists of a GPU cluster.
    Lists,
}

impl Kind {
    fn in_words(self) -> &'static str {
        match self {
            Self::Scenario => "scenarios",
            Self::Log => "logs (`.swf`, `.swf.gz`)",
            Self::Lists => "the lists of a GPU cluster (`--nodes` and `--pods`)",
        }
    }
}

/// Refuses options that are not for this kind of input.
pub(super) fn refuse(args: &SimulateArgs, kind: Kind, name: &str) -> Result<(), Failure> {
    let options = [
        ("--agents", !args.agents.is_empty(), Kind::Log),
        ("--filter", args.filter.is_some(), Kind::Log),
        ("--estimates", args.estimates.is_some(), Kind::Log),
        ("--queue-by", args.queue_by.is_some(), Kind::Log),
        ("--demand", args.demand.is_some(), Kind::Lists),
        ("--seed", args.seed.is_some(), Kind::Lists),
    ];
    let foreign = options.into_iter().find(|(_, is_given, of)| *is_given && *of != kind);
    let Some((option, _, of)) = foreign else { return Ok(()) };
    let why = why(option, kind, name);
    Err(Failure::Usage(format!("{option} is for {}: {why}", of.in_words())))
}

/// Why the option is of no use, and what is instead.
fn why(option: &str, kind: Kind, name: &str) -> String {
    match (option, kind) {
        ("--agents", Kind::Scenario) => format!("the agents of a scenario are events of {name}"),
        ("--estimates", Kind::Scenario) => format!("the jobs of {name} say their `estimate` themselves"),
        ("--queue-by", Kind::Scenario) => format!("the jobs of {name} say their `queue` themselves"),
        ("--agents", _) => "the agents are those of the list of nodes".to_owned(),
        ("--estimates", Kind::Lists) => "pods never leave".to_owned(),
        ("--queue-by", Kind::Lists) => "all pods go to the queue `openb`".to_owned(),
        ("--seed", _) => format!(
            "nothing of {name} is drawn; policies that draw have a seed of their own, such as `lottery:seed=7` or \
             `drf:placement=random:seed=7`"
        ),
        ("--demand", _) => format!("{name} says itself which jobs there are: leave it out"),
        _ => format!("{name} is used as it is: leave it out"),
    }
}
