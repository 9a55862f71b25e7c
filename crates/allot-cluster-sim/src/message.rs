//! What goes over the modelled bus.

use allot_model::{
    AgentId, Answer, Beat, Done, DrainCommand, Feed, FromAllocator, Hello, JobId, OrderBatch,
    PolicyUseCommand, QueueSetCommand, ReplyTo, ReportBatch, Welcome,
};
use allot_proto::{Wire, WireError};
use allot_registry_core::Echo;
use allot_writer::Weigh;

/// A process on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) usize);

/// A process and which of its lives: what is meant for an earlier one does not reach a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Party {
    pub(crate) node: NodeId,
    pub(crate) life: u64,
}

impl Party {
    pub(crate) fn reply_to(self) -> ReplyTo {
        ReplyTo(format!("{}.{}", self.node.0, self.life).into())
    }

    pub(crate) fn from_reply(to: &ReplyTo) -> Option<Self> {
        let (node, life) = to.0.split_once('.')?;
        Some(Self { node: NodeId(node.parse().ok()?), life: life.parse().ok()? })
    }
}

/// Where a message goes: the subjects of the bus, as far as they are modelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    Party(Party),
    Agent(AgentId),
    Registries,
    Offers,
    Dispatchers,
    Allocators,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Hello(Hello),
    Welcome(Welcome),
    Beat(Beat),
    Echo(Echo),
    Orders(OrderBatch),
    Reports(ReportBatch),
    Feed(Feed),
    Allocator(FromAllocator),
    Command(Command),
    Done(Answer<Done>),
}

/// A command of a person.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Drain(AgentId, DrainCommand),
    Undrain(AgentId),
    Gone(AgentId),
    Cancel(JobId),
    SetQueue(QueueSetCommand),
    UsePolicy(PolicyUseCommand),
}

impl Command {
    /// The service that obeys it.
    pub(crate) fn to(&self) -> To {
        match self {
            Self::Drain(..) | Self::Undrain(_) | Self::Gone(_) => To::Registries,
            Self::Cancel(_) | Self::SetQueue(_) => To::Dispatchers,
            Self::UsePolicy(_) => To::Offers,
        }
    }
}

impl Message {
    /// The message after it has been bytes.
    ///
    /// # Errors
    /// Where these cannot be read.
    pub(crate) fn through_bytes(&self) -> Result<Self, WireError> {
        fn again<M: Wire>(message: &M) -> Result<M, WireError> {
            M::decode(&message.encode())
        }
        Ok(match self {
            Self::Hello(hello) => Self::Hello(again(hello)?),
            Self::Welcome(welcome) => Self::Welcome(again(welcome)?),
            Self::Beat(beat) => Self::Beat(again(beat)?),
            Self::Orders(orders) => Self::Orders(again(orders)?),
            Self::Reports(reports) => Self::Reports(again(reports)?),
            Self::Feed(feed) => Self::Feed(again(feed)?),
            Self::Allocator(said) => Self::Allocator(again(said)?),
            Self::Echo(_) | Self::Command(_) | Self::Done(_) => self.clone(),
        })
    }

    /// Its kind, for transcripts.
    pub(crate) fn kind(&self) -> u64 {
        match self {
            Self::Hello(_) => 1,
            Self::Welcome(_) => 2,
            Self::Beat(_) => 3,
            Self::Orders(_) => 4,
            Self::Reports(_) => 5,
            Self::Feed(_) => 6,
            Self::Allocator(_) => 7,
            Self::Command(_) => 8,
            Self::Done(_) => 9,
            Self::Echo(_) => 10,
        }
    }
}

/// A message and where it goes, as it waits for an append.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) to: To,
    pub(crate) message: Message,
}

impl Weigh for Outgoing {
    fn size_bytes(&self) -> usize {
        size_of::<Self>()
    }
}
