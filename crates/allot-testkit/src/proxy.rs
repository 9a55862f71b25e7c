//! A connection that can be cut, held up, or made to lose what either side says.

use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::nats::NatsServer;

/// Whose words do not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What the one says that made the connection.
    Client,
    /// What the one says that was connected to.
    Server,
    /// What either says.
    Both,
}

/// What the proxy does with what is said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    /// Passes it on.
    Pass,
    /// Keeps it until healed, as a network does that comes back.
    Hold(Side),
    /// Loses it.
    Lose(Side),
    /// Passes everything on until the client says something in which these bytes stand, and then loses what the server says.
    LoseAfter(Vec<u8>),
    /// Ends the connection, and every new one.
    Cut,
}

/// What is done with the words of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Pass,
    Hold,
    Lose,
}

impl Mode {
    fn of(&self, speaker: Side) -> Treatment {
        let concerns = |side: Side| side == speaker || side == Side::Both;
        match self {
            Self::Hold(side) if concerns(*side) => Treatment::Hold,
            Self::Lose(side) if concerns(*side) => Treatment::Lose,
            _ => Treatment::Pass,
        }
    }
}

/// Stands between a client and a server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    mode: Arc<watch::Sender<Mode>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts one before the server.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn before(server: &NatsServer) -> anyhow::Result<Self> {
        Self::to(server.port()).await
    }

    /// Starts one before whoever listens at this port of the loopback interface, now or later.
    pub(crate) async fn to(server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let accepting = tokio::spawn(accept(listener, server, mode.clone()));
        Ok(Self { port, mode, accepting })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Once the client says something in which `words` stand, nothing that the server says arrives any more; what the
    /// client says still does.
    pub fn mute_after(&self, words: &str) {
        self.mode.send_replace(Mode::LoseAfter(words.as_bytes().to_vec()));
    }

    /// From here on what this side says is lost.
    pub fn lose(&self, side: Side) {
        self.mode.send_replace(Mode::Lose(side));
    }

    /// From here on what this side says arrives only once this is healed.
    pub fn hold(&self, side: Side) {
        self.mode.send_replace(Mode::Hold(side));
    }

    /// Cuts all connections, and lets no new one come about.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Lets everything pass. Connections on which something was lost end; new ones work.
    pub fn heal(&self) {
        self.mode.send_replace(Mode::Pass);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: u16, mode: Arc<watch::Sender<Mode>>) {
    while let Ok((client, _)) = listener.accept().await {
        if *mode.borrow() == Mode::Cut {
            continue;
        }
        let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = upstream.into_split();
        let ways = [(Side::Client, from_client, to_server), (Side::Server, from_server, to_client)];
        for (speaker, from, to) in ways {
            tokio::spawn(until_cut(mode.subscribe(), pass(speaker, from, to, mode.clone())));
        }
    }
}

/// Goes on with `passing`, which is dropped, and the connection with it, once that is cut.
async fn until_cut(mut mode: watch::Receiver<Mode>, passing: impl Future<Output = ()>) {
    tokio::select! {
        () = passing => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Passes on what one side says, as the mode has it. Ends where something was lost and nothing more is: half a message is
/// worse than none.
async fn pass(
    speaker: Side,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mode: Arc<watch::Sender<Mode>>,
) {
    let mut changes = mode.subscribe();
    let mut buffer = vec![0; 1 << 16];
    let mut has_lost = false;
    loop {
        let treatment = changes.borrow_and_update().of(speaker);
        if has_lost && treatment == Treatment::Pass {
            return;
        }
        let read = tokio::select! {
            biased;
            changed = changes.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            read = from.read(&mut buffer), if treatment != Treatment::Hold => read,
        };
        let Ok(count @ 1..) = read else { return };
        if speaker == Side::Client {
            mute_where_due(&mode, &buffer[..count]);
        }
        match changes.borrow().of(speaker) {
            Treatment::Lose => has_lost = true,
            Treatment::Pass | Treatment::Hold => {}
        }
        if !has_lost && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn mute_where_due(mode: &watch::Sender<Mode>, said: &[u8]) {
    mode.send_if_modified(|mode| {
        let due = matches!(mode, Mode::LoseAfter(words) if contains(said, words));
        if due {
            *mode = Mode::Lose(Side::Server);
        }
        due
    });
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}
