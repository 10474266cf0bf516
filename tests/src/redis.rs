//! A Redis of a test's own, which it may stop, kill and start again.

use std::process::Command;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ports::Port;
use crate::process::{Process, Signal, Stdout};
use crate::wait::until;

/// A running `redis-server`, without persistence, unless it is a durable one: what it has is gone when it ends.
#[derive(Debug)]
pub struct Redis {
    port: Port,
    folder: TempDir,
    process: Option<Process>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Server,
    /// With an append-only file: what it has acknowledged is there again after it was killed.
    Durable,
    /// A cluster of itself, whose nodes would talk to each other on this port.
    Cluster(Port),
    /// A sentinel that watches the primary on this port.
    Sentinel(u16),
}

impl Redis {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Redis {
        let mut redis = Redis::stopped();
        redis.restart().await;
        redis
    }

    /// Starts one that keeps on disk what it acknowledges.
    pub async fn durable() -> Redis {
        let mut redis = Redis::of(Kind::Durable);
        redis.restart().await;
        redis
    }

    /// Starts a cluster of one node.
    pub async fn cluster() -> Redis {
        let mut redis = Redis::of(Kind::Cluster(Port::pick()));
        redis.restart().await;
        assert_eq!(redis.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await, "+OK\r\n");
        until("the cluster is whole", async || {
            redis.ask(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
        })
        .await;
        redis
    }

    /// Starts a sentinel that knows this one as the primary `main`.
    pub async fn sentinel(&self) -> Redis {
        let mut redis = Redis::of(Kind::Sentinel(self.port.number()));
        redis.restart().await;
        redis
    }

    /// Only has its port, on which nobody listens.
    pub fn stopped() -> Redis {
        Redis::of(Kind::Server)
    }

    fn of(kind: Kind) -> Redis {
        Redis {
            kind,
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
        let address = self.port.address();
        match self.kind {
            Kind::Server | Kind::Durable => format!("redis://{address}"),
            Kind::Cluster(_) => format!("redis-cluster://{address}"),
            Kind::Sentinel(_) => format!("redis-sentinel://{address}/main"),
        }
    }

    /// Starts it on its old port, empty unless it is durable.
    pub async fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        let port = self.port.number().to_string();
        if let Kind::Sentinel(primary) = self.kind {
            let file = self.folder.path().join("sentinel.conf");
            let text = format!("port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary} 1\n");
            std::fs::write(&file, text).expect("a file");
            command.arg(file).arg("--sentinel");
        } else {
            let durable = if matches!(self.kind, Kind::Durable) { "yes" } else { "no" };
            command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", durable]);
            command.args(["--appendfsync", "always", "--dir"]);
            command.arg(self.folder.path());
        }
        if let Kind::Cluster(bus) = &self.kind {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &bus.number().to_string()]);
        }
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
