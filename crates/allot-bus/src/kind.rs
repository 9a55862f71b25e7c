//! The table of subjects: for each kind its form, who publishes, who subscribes, and what is said.

use crate::stream::Stream;

/// The kinds of subject, one for each row of [`TABLE`], which says what each is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is documented by its row")]
pub enum Kind {
    Submit,
    Ledger,
    Output,
    Lease,
    AgentHello,
    AgentBeat,
    AgentOrders,
    AgentReports,
    AgentLogs,
    AgentDrain,
    AgentUndrain,
    AgentGone,
    RegistryEcho,
    AgentsList,
    AgentsUsage,
    JobsList,
    JobShow,
    JobCancel,
    QueuesList,
    QueuesSet,
    PoolOffers,
    PoolGrants,
    PoolPolicy,
    PoolUse,
    PoolWhy,
    PoolAccount,
    PoolCompare,
}

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// A person, or a program that acts for one: the CLI, the console, anything that submits jobs.
    User,
    /// An agent, on its own subjects only.
    Agent,
    /// The registry.
    Registry,
    /// The offers service.
    Offers,
    /// The dispatcher.
    Dispatcher,
    /// An allocator, active or not.
    Allocator,
    /// The three services that write to the ledger, each to the subject of its name; all of them read all of it.
    Writers,
}

/// How the two sides talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exchange {
    /// Kept in a stream.
    Stored(Stream),
    /// Heard by whoever listens at that moment, and repaired by repetition.
    Published,
    /// Published with a reply subject, and answered only where there is something to say.
    PublishedWithReply,
    /// Answered always.
    Request,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whose row it is.
    pub kind: Kind,
    /// The subject's form, with its variable parts in angle brackets. `<queue>` stands for one or more tokens,
    /// every other part for one.
    pub form: &'static str,
    /// Who may publish to it.
    pub from: Party,
    /// Who subscribes to it.
    pub to: Party,
    /// How they talk.
    pub exchange: Exchange,
    /// The message, by the name of its type, as Markdown.
    pub message: &'static str,
    /// The answer, where there is one, as Markdown.
    pub answer: Option<&'static str>,
    /// What it is for, as Markdown.
    pub about: &'static str,
}

impl Kind {
    /// What the table says of this kind.
    #[must_use]
    pub const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The pattern that the subjects of this kind, and no others, match: `allot.v1.agent.*.hello`.
    #[must_use]
    pub fn pattern(self) -> String {
        let wild = |token: &'static str| match token {
            "<queue>" => ">",
            _ if token.starts_with('<') => "*",
            _ => token,
        };
        self.row().form.split('.').map(wild).collect::<Vec<_>>().join(".")
    }
}

impl Party {
    /// The name used in the documentation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Registry => "registry",
            Self::Offers => "offers",
            Self::Dispatcher => "dispatcher",
            Self::Allocator => "allocator",
            Self::Writers => "ledger writers",
        }
    }
}

/// All rows, in the order of [`Kind`].
pub const TABLE: [Row; 27] = [
    Row {
        kind: Kind::Submit,
        form: "allot.v1.submit.<queue>",
        from: Party::User,
        to: Party::Dispatcher,
        exchange: Exchange::Stored(Stream::Inbox),
        message: "`JobSpec`, as JSON or protobuf",
        answer: None,
        about: "Submits a job to a queue. Its sequence number in the stream, which the publish acknowledgement carries, is the job's id.",
    },
    Row {
        kind: Kind::Ledger,
        form: "allot.v1.ledger.<writer>",
        from: Party::Writers,
        to: Party::Writers,
        exchange: Exchange::Stored(Stream::Ledger),
        message: "`Batch`",
        answer: None,
        about: "What happened, in order. Each writer appends to the subject of its name and expects its own last sequence there.",
    },
    Row {
        kind: Kind::Output,
        form: "allot.v1.output.<job>.<task>.<attempt>.<stream>",
        from: Party::Agent,
        to: Party::User,
        exchange: Exchange::Stored(Stream::Output),
        message: "raw bytes",
        answer: None,
        about: "The last 64 KiB that an ended attempt wrote to `stdout` or `stderr`.",
    },
    Row {
        kind: Kind::Lease,
        form: "$KV.ALLOT_LEASES.<writer>",
        from: Party::Writers,
        to: Party::Writers,
        exchange: Exchange::Stored(Stream::Leases),
        message: "JSON: `instance`, `since`, `takeover_after`",
        answer: None,
        about: "Which instance of a writer is active, renewed several times a second. Standbys try to take over where it is not. It keeps no writer from writing: the ledger does.",
    },
    Row {
        kind: Kind::AgentHello,
        form: "allot.v1.agent.<agent>.hello",
        from: Party::Agent,
        to: Party::Registry,
        exchange: Exchange::Request,
        message: "`Hello`",
        answer: Some("`Welcome`"),
        about: "Asks to be admitted, and says what the agent has.",
    },
    Row {
        kind: Kind::AgentBeat,
        form: "allot.v1.agent.<agent>.beat",
        from: Party::Agent,
        to: Party::Registry,
        exchange: Exchange::PublishedWithReply,
        message: "`Beat`",
        answer: Some("`Welcome`"),
        about: "A sign of life. Answered only where the agent has to say hello again.",
    },
    Row {
        kind: Kind::AgentOrders,
        form: "allot.v1.agent.<agent>.orders",
        from: Party::Dispatcher,
        to: Party::Agent,
        exchange: Exchange::Published,
        message: "`OrderBatch`",
        answer: None,
        about: "What the agent is to launch and kill.",
    },
    Row {
        kind: Kind::AgentReports,
        form: "allot.v1.agent.<agent>.reports",
        from: Party::Agent,
        to: Party::Dispatcher,
        exchange: Exchange::Published,
        message: "`ReportBatch`",
        answer: None,
        about: "What became of attempts; repeated until an order acknowledges it.",
    },
    Row {
        kind: Kind::AgentLogs,
        form: "allot.v1.agent.<agent>.logs",
        from: Party::User,
        to: Party::Agent,
        exchange: Exchange::Request,
        message: "`LogQuery`, as JSON",
        answer: Some("raw bytes with headers `Allot-Offset`, `Allot-Size` and `Allot-Ended`"),
        about: "Reads the output of an attempt that the agent has.",
    },
    Row {
        kind: Kind::AgentDrain,
        form: "allot.v1.agent.<agent>.drain",
        from: Party::User,
        to: Party::Registry,
        exchange: Exchange::Request,
        message: "`DrainCommand`, as JSON",
        answer: Some("`Answer<Done>`"),
        about: "Wants nothing new on the agent.",
    },
    Row {
        kind: Kind::AgentUndrain,
        form: "allot.v1.agent.<agent>.undrain",
        from: Party::User,
        to: Party::Registry,
        exchange: Exchange::Request,
        message: "`{}`",
        answer: Some("`Answer<Done>`"),
        about: "Lets a draining or drained agent work again, unless its tasks are being killed.",
    },
    Row {
        kind: Kind::AgentGone,
        form: "allot.v1.agent.<agent>.gone",
        from: Party::User,
        to: Party::Registry,
        exchange: Exchange::Request,
        message: "`{}`",
        answer: Some("`Answer<Done>`"),
        about: "Declares the agent gone for good, with all its attempts.",
    },
    Row {
        kind: Kind::RegistryEcho,
        form: "allot.v1.registry.echo",
        from: Party::Registry,
        to: Party::Registry,
        exchange: Exchange::Published,
        message: "JSON: `epoch`, `at`",
        answer: None,
        about: "What the active registry says to itself. While it does not hear that, the silence of agents says nothing of them.",
    },
    Row {
        kind: Kind::AgentsList,
        form: "allot.v1.agents.list",
        from: Party::User,
        to: Party::Registry,
        exchange: Exchange::Request,
        message: "`AgentsQuery`, as JSON",
        answer: Some("`Answer<Vec<AgentView>>`"),
        about: "Which agents there are, 1,000 at a time.",
    },
    Row {
        kind: Kind::AgentsUsage,
        form: "allot.v1.agents.usage",
        from: Party::User,
        to: Party::Offers,
        exchange: Exchange::Request,
        message: "`AgentsQuery`, as JSON",
        answer: Some("`Answer<Vec<AgentUse>>`"),
        about: "What is allocated and free on each agent, 1,000 at a time.",
    },
    Row {
        kind: Kind::JobsList,
        form: "allot.v1.jobs.list",
        from: Party::User,
        to: Party::Dispatcher,
        exchange: Exchange::Request,
        message: "`JobsQuery`, as JSON",
        answer: Some("`Answer<JobList>`"),
        about: "Which jobs there are, newest first.",
    },
    Row {
        kind: Kind::JobShow,
        form: "allot.v1.job.<job>.show",
        from: Party::User,
        to: Party::Dispatcher,
        exchange: Exchange::Request,
        message: "`JobQuery`, as JSON",
        answer: Some("`Answer<JobView>`"),
        about: "All about a job and its tasks.",
    },
    Row {
        kind: Kind::JobCancel,
        form: "allot.v1.job.<job>.cancel",
        from: Party::User,
        to: Party::Dispatcher,
        exchange: Exchange::Request,
        message: "`{}`",
        answer: Some("`Answer<Done>`"),
        about: "Cancels a job.",
    },
    Row {
        kind: Kind::QueuesList,
        form: "allot.v1.queues.list",
        from: Party::User,
        to: Party::Offers,
        exchange: Exchange::Request,
        message: "`{}`",
        answer: Some("`Answer<Vec<QueueView>>`"),
        about: "What each queue is entitled to, has and wants.",
    },
    Row {
        kind: Kind::QueuesSet,
        form: "allot.v1.queues.set",
        from: Party::User,
        to: Party::Dispatcher,
        exchange: Exchange::Request,
        message: "`QueueSetCommand`, as JSON",
        answer: Some("`Answer<Done>`"),
        about: "Sets what a queue is entitled to, and how much it may have.",
    },
    Row {
        kind: Kind::PoolOffers,
        form: "allot.v1.pool.<pool>.offers",
        from: Party::Offers,
        to: Party::Allocator,
        exchange: Exchange::Published,
        message: "`Feed`",
        answer: None,
        about: "What is free and what is wanted, and what became of grants.",
    },
    Row {
        kind: Kind::PoolGrants,
        form: "allot.v1.pool.<pool>.grants",
        from: Party::Allocator,
        to: Party::Offers,
        exchange: Exchange::PublishedWithReply,
        message: "`FromAllocator`",
        answer: Some("`Feed`"),
        about: "Grants and declines. A hello in it is a request: the answer is the whole state, as one or more `Feed` parts.",
    },
    Row {
        kind: Kind::PoolPolicy,
        form: "allot.v1.pool.<pool>.policy",
        from: Party::User,
        to: Party::Offers,
        exchange: Exchange::Request,
        message: "`{}`",
        answer: Some("`Answer<PolicyView>`"),
        about: "Which policy decides, and which allocators there are.",
    },
    Row {
        kind: Kind::PoolUse,
        form: "allot.v1.pool.<pool>.use",
        from: Party::User,
        to: Party::Offers,
        exchange: Exchange::Request,
        message: "`PolicyUseCommand`, as JSON",
        answer: Some("`Answer<Done>`"),
        about: "Chooses the policy that is to decide.",
    },
    Row {
        kind: Kind::PoolWhy,
        form: "allot.v1.pool.<pool>.why",
        from: Party::User,
        to: Party::Allocator,
        exchange: Exchange::Request,
        message: "`WhyQuery`, as JSON",
        answer: Some("`Answer<WhyView>`"),
        about: "Why tasks of a job have no place. Only the allocator that decides listens; one that cannot tell need not.",
    },
    Row {
        kind: Kind::PoolAccount,
        form: "allot.v1.pool.<pool>.account",
        from: Party::User,
        to: Party::Offers,
        exchange: Exchange::Request,
        message: "`AccountQuery`, as JSON",
        answer: Some("`Feed`, or `Answer` where it is refused"),
        about: "The whole state of the pool, as one or more `Feed` parts: what an allocator is told that says hello, for one that only looks.",
    },
    Row {
        kind: Kind::PoolCompare,
        form: "allot.v1.pool.<pool>.compare.<instance>",
        from: Party::User,
        to: Party::Allocator,
        exchange: Exchange::Request,
        message: "`CompareQuery`, as JSON",
        answer: Some("`Answer<CompareView>`"),
        about: "How what a shadow would have granted compares with what was granted. Only that shadow listens.",
    },
];
