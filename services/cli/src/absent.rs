//! Agents that would suit a job and take nothing: drained, being drained, or unreachable. Allocators do not hear of them.

use allot_model::view::{AgentState, AgentView};
use allot_model::{AgentId, Candidate, Constraint};
use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::states::word;

/// So many agents are named; more are counted.
const MOST_NAMED: usize = 5;
/// The states in which an agent takes nothing now and may take tasks again.
const STATES: [AgentState; 3] = [AgentState::Draining, AgentState::Drained, AgentState::Unreachable];

/// Agents that take nothing, all for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Absent {
    /// Where they stand.
    pub(crate) state: AgentState,
    /// Which they are.
    pub(crate) agents: Vec<AgentId>,
}

impl Absent {
    /// Those that are as the constraints want them; none where this user may not see agents.
    pub(crate) async fn suiting(constraints: &[Constraint], client: &Client) -> Vec<Self> {
        Self::among(&client.agents().await.unwrap_or_default(), constraints)
    }

    fn among(agents: &[AgentView], constraints: &[Constraint]) -> Vec<Self> {
        let suits = |agent: &&AgentView| {
            let AgentView { agent: id, host, attributes, .. } = agent;
            constraints.iter().all(|constraint| constraint.holds(Candidate { id, host, attributes }))
        };
        let in_state = |state| {
            let agents = agents.iter().filter(|agent| agent.state == state).filter(suits);
            Self { state, agents: agents.map(|agent| agent.agent.clone()).collect() }
        };
        STATES.map(in_state).into_iter().filter(|absent| !absent.agents.is_empty()).collect()
    }

    /// `drained: a1, a2`.
    pub(crate) fn in_words(&self) -> String {
        let mut names: Vec<String> = self.agents.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        if let Some(more) = self.agents.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
            names.push(format!("and {more} more"));
        }
        format!("{}: {}", word(self.state), names.join(", "))
    }
}

/// `2 agents drained: a1, a2; 1 agent unreachable: a7`.
pub(crate) fn in_a_line(absent: &[Absent]) -> String {
    let words = |absent: &Absent| {
        let noun = if absent.agents.len() == 1 { "agent" } else { "agents" };
        format!("{} {noun} {}", absent.agents.len(), absent.in_words())
    };
    absent.iter().map(words).collect::<Vec<_>>().join("; ")
}

/// What a job that was submitted asks of agents.
pub(crate) fn constraints(spec: Option<&Value>) -> Vec<Constraint> {
    let texts = spec.and_then(|spec| spec.get("constraints")?.as_array());
    texts.into_iter().flatten().filter_map(|text| Constraint::parse(text.as_str()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::NOW;
    use serde_json::json;

    fn agent(id: &str, state: AgentState) -> AgentView {
        AgentView {
            agent: AgentId::new(id).unwrap(),
            host: "h".into(),
            state,
            total: json!({}),
            attributes: std::collections::BTreeMap::default(),
            attempts: 0,
            joined_at: NOW,
            heard_at: NOW,
            program_version: "0.1.0".into(),
            trouble: None,
        }
    }

    #[test]
    fn agents_that_take_nothing_are_named_where_they_suit_the_job() {
        let agents = [
            agent("a1", AgentState::Ready),
            agent("a2", AgentState::Drained),
            agent("a3", AgentState::Unreachable),
            agent("a4", AgentState::Gone),
            agent("a5", AgentState::Drained),
        ];
        let told = |spec: Value| in_a_line(&Absent::among(&agents, &constraints(Some(&spec))));
        assert_eq!(told(json!({"constraints": ["agent.id == a2"]})), "1 agent drained: a2");
        assert_eq!(told(json!({})), "2 agents drained: a2, a5; 1 agent unreachable: a3");
        assert_eq!(told(json!({"constraints": ["agent.id == a1"]})), "");
        let many: Vec<AgentView> = (0..7).map(|n| agent(&format!("a{n}"), AgentState::Draining)).collect();
        assert_eq!(
            in_a_line(&Absent::among(&many, &[])),
            "7 agents draining: a0, a1, a2, a3, a4, and 2 more"
        );
    }
}
