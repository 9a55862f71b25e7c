//! A client that says to nats-server what no client library would.

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use crate::nats::NatsServer;
use crate::wait::within;

/// A connection over which any bytes can be published: subjects and headers need be neither text nor well-formed.
#[derive(Debug)]
pub struct RawClient {
    stream: BufStream<TcpStream>,
}

impl RawClient {
    /// Connects.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn connect(server: &NatsServer) -> anyhow::Result<Self> {
        let stream = BufStream::new(TcpStream::connect(("127.0.0.1", server.port())).await?);
        let mut client = Self { stream };
        client.line().await.context("the server does not introduce itself")?;
        client.say(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").await?;
        Ok(client)
    }

    /// Publishes a payload, and waits until the server has taken the message.
    ///
    /// # Errors
    /// What the server says where it does not take it.
    pub async fn publish(&mut self, subject: &[u8], payload: &[u8]) -> anyhow::Result<()> {
        let head = [b"PUB ", subject, format!(" {}\r\n", payload.len()).as_bytes()].concat();
        self.message(&head, payload).await
    }

    /// As [`RawClient::publish`], with the subject for an answer.
    ///
    /// # Errors
    /// As [`RawClient::publish`].
    pub async fn ask(&mut self, subject: &[u8], reply: &[u8], payload: &[u8]) -> anyhow::Result<()> {
        let head = [b"PUB ", subject, b" ", reply, format!(" {}\r\n", payload.len()).as_bytes()].concat();
        self.message(&head, payload).await
    }

    /// As [`RawClient::publish`], with these lines as headers, whatever they are; the first follows `NATS/1.0`.
    ///
    /// # Errors
    /// As [`RawClient::publish`].
    pub async fn publish_with(&mut self, subject: &[u8], lines: &[u8], payload: &[u8]) -> anyhow::Result<()> {
        let headers = [b"NATS/1.0".as_slice(), lines, b"\r\n\r\n"].concat();
        let sizes = format!(" {} {}\r\n", headers.len(), headers.len() + payload.len());
        let head = [b"HPUB ", subject, sizes.as_bytes()].concat();
        self.message(&head, &[headers.as_slice(), payload].concat()).await
    }

    async fn message(&mut self, head: &[u8], body: &[u8]) -> anyhow::Result<()> {
        self.say(&[head, body, b"\r\nPING\r\n"].concat()).await?;
        loop {
            match self.line().await?.as_str() {
                "PONG" => return Ok(()),
                "PING" => self.say(b"PONG\r\n").await?,
                refusal if refusal.starts_with("-ERR") => bail!("{refusal}"),
                _ => {}
            }
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = within("the server answers", self.stream.read_line(&mut line)).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}
