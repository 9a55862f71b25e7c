//! A connection that can be cut, or made to lose what the server says.

use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::nats::NatsServer;

/// What the proxy does with what the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    /// Passes it on.
    Pass,
    /// Passes it on until the client says something in which these bytes stand.
    MuteAfter(Vec<u8>),
    /// Loses it; what the client says still arrives.
    Mute,
    /// Ends it, and every new one.
    Cut,
}

/// Stands between a client and a [`NatsServer`].
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
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let accepting = tokio::spawn(accept(listener, server.port(), mode.clone()));
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
        self.mode.send_replace(Mode::MuteAfter(words.as_bytes().to_vec()));
    }

    /// From here on nothing that the server says arrives; what the client says still does.
    pub fn mute(&self) {
        self.mode.send_replace(Mode::Mute);
    }

    /// Cuts all connections, and lets no new one come about.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Cuts all connections that were muted; new ones work.
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
        tokio::spawn(until_cut(mode.subscribe(), pass(from_client, to_server, mode.clone())));
        tokio::spawn(until_cut(mode.subscribe(), pass_until_muted(from_server, to_client, mode.subscribe())));
    }
}

/// Goes on with `passing`, which is dropped, and the connection with it, once that is cut.
async fn until_cut(mut mode: watch::Receiver<Mode>, passing: impl Future<Output = ()>) {
    tokio::select! {
        () = passing => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Passes on what the client says, having muted the server first where that is due.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: Arc<watch::Sender<Mode>>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        mode.send_if_modified(|mode| {
            let due = matches!(mode, Mode::MuteAfter(words) if contains(&buffer[..count], words));
            if due {
                *mode = Mode::Mute;
            }
            due
        });
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

/// Passes on what the server says until muted, then loses it until healed, and then ends: half a message is worse
/// than none.
async fn pass_until_muted(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 1 << 16];
    let mut muted = *mode.borrow_and_update() == Mode::Mute;
    loop {
        tokio::select! {
            biased;
            changed = mode.changed() => {
                let now_muted = *mode.borrow() == Mode::Mute;
                if changed.is_err() || (muted && !now_muted) {
                    return;
                }
                muted = now_muted;
            }
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) if !muted && to.write_all(&buffer[..count]).await.is_err() => return,
                Ok(_) => {}
            },
        }
    }
}
