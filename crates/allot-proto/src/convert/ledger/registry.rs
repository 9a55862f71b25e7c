//! What the registry writes.

use std::sync::Arc;

use allot_model::{AgentId, RegistryRecord};

use crate::WireError;
use crate::convert::read;
use crate::v1::{self, entry};

impl From<&RegistryRecord> for entry::Record {
    fn from(record: &RegistryRecord) -> Self {
        let named = |agent: &AgentId| v1::AgentNamed { agent: agent.to_string() };
        match record {
            RegistryRecord::AgentJoined { facts } => {
                Self::AgentJoined(v1::AgentJoined { facts: Some((&**facts).into()) })
            }
            RegistryRecord::AgentUnreachable { agent } => Self::AgentUnreachable(named(agent)),
            RegistryRecord::AgentReturned { agent } => Self::AgentReturned(named(agent)),
            RegistryRecord::AgentDraining { agent, kill } => {
                Self::AgentDraining(v1::AgentDraining { agent: agent.to_string(), kill: *kill })
            }
            RegistryRecord::AgentDrained { agent } => Self::AgentDrained(named(agent)),
            RegistryRecord::AgentUndrained { agent } => Self::AgentUndrained(named(agent)),
            RegistryRecord::AgentGone { agent } => Self::AgentGone(named(agent)),
        }
    }
}

impl TryFrom<v1::AgentJoined> for RegistryRecord {
    type Error = WireError;

    fn try_from(message: v1::AgentJoined) -> Result<Self, WireError> {
        Ok(Self::AgentJoined { facts: Arc::new(read::part(message.facts, "facts")?) })
    }
}

impl TryFrom<v1::AgentDraining> for RegistryRecord {
    type Error = WireError;

    fn try_from(message: v1::AgentDraining) -> Result<Self, WireError> {
        Ok(Self::AgentDraining { agent: read::id(&message.agent, "agent")?, kill: message.kill })
    }
}
