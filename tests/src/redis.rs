//! A Redis of a test's own, which it may stop, kill and start again.

use std::process::Command;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ports::Port;
use crate::process::{Process, Signal, Stdout};
use crate::wait::until;

/// A running `redis-server`, without persistence: what it has is gone when it ends.
#[derive(Debug)]
pub struct Redis {
    port: Port,
    folder: TempDir,
    process: Option<Process>,
}

impl Redis {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Redis {
        let mut redis = Redis::stopped();
        redis.restart().await;
        redis
    }

    /// Only has its port, on which nobody listens.
    pub fn stopped() -> Redis {
        Redis {
            port: Port::pick(),
            folder: tempfile::Builder::new()
                .prefix("lb-test-redis-")
                .tempdir()
                .expect("a temporary folder"),
            process: None,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    /// Starts it, empty, on its old port.
    pub async fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        let port = self.port.number().to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
        command.arg(self.folder.path());
        self.process = Some(Process::spawn("redis", command, self.folder.path(), Stdout::File));
        until("Redis answers", async || {
            self.try_ask(&["PING"]).await.is_some_and(|answer| answer == "+PONG\r\n")
        })
        .await;
    }

    /// Kills it.
    pub fn crash(&mut self) {
        self.process = None;
    }

    /// Stops it as it is: connections stay open, and nothing is answered until [`Redis::go_on`].
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// The end of [`Redis::pause`].
    pub fn go_on(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("a running Redis").signal(signal);
    }

    /// Sends a command and gives what comes back, as it is on the wire.
    pub async fn ask(&self, command: &[&str]) -> String {
        self.try_ask(command).await.expect("an answer from Redis")
    }

    async fn try_ask(&self, command: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(self.port.address()).await.ok()?;
        let mut message = format!("*{}\r\n", command.len());
        for part in command {
            message += &format!("${}\r\n{part}\r\n", part.len());
        }
        stream.write_all(message.as_bytes()).await.ok()?;
        let mut answer = vec![0; 64 << 10];
        let length = stream.read(&mut answer).await.ok().filter(|length| *length > 0)?;
        answer.truncate(length);
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}
