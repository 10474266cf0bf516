//! The real binary.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::{Ask, PATIENCE, until};

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backend"));
    // Nothing of the developer's own settings.
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    run_with_input(arguments, environment, b"").await
}

/// The same, with something on its standard input.
pub async fn run_with_input(arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Output {
    let mut child = command(arguments, environment).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may end without reading.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("it ends by itself")
        .expect("it was started")
}

/// A `backend serve` on a free port, killed when this is dropped.
pub struct Process {
    pub addr: SocketAddr,
    pub first_line: String,
    child: Child,
    log: Option<Lines<BufReader<ChildStdout>>>,
}

impl Process {
    /// Starts one, and waits until it listens.
    pub async fn start(url: &str, environment: &[(&str, &str)]) -> Self {
        let base = [("AUTH", "off"), ("PORT", "0"), ("DATABASE_URL", url)];
        let mut child = command(&["serve"], &[&base, environment].concat()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let first_line = timeout(PATIENCE, log.next_line())
            .await
            .expect("it logs soon")
            .expect("it can be read")
            .expect("a line");
        let json: serde_json::Value = serde_json::from_str(&first_line).expect("the log is JSON");
        let addr = json["addr"]
            .as_str()
            .expect("the first line has the address")
            .parse()
            .expect("an address");
        Self {
            addr,
            first_line,
            child,
            log: Some(log),
        }
    }

    pub fn get(&self, path: &str) -> Ask {
        Ask::new(self.addr, "GET", path)
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(self.addr, method, path)
    }

    pub async fn until_ready(&self) {
        until("/ready to answer 200", async || self.get("/ready").await.status == 200).await;
    }

    /// Reads the log and throws it away, as `make run` would print it.
    pub fn forget_log(&mut self) {
        if let Some(mut log) = self.log.take() {
            tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        }
    }

    /// Closes its standard output, as somebody who reads it does by ending.
    pub fn close_log(&mut self) {
        self.log = None;
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .expect("kill exists");
        assert!(sent.success());
    }

    /// Waits for its end; the exit code.
    pub async fn end(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .expect("it was started")
            .code()
    }

    /// Whether it still runs after a moment too short for any other reason to end.
    pub async fn runs_on(&mut self, moment: Duration) -> bool {
        timeout(moment, self.child.wait()).await.is_err()
    }

    /// The rest of the log. The process must have ended.
    pub async fn log(&mut self) -> Vec<serde_json::Value> {
        let mut log = self.log.take().expect("it was not thrown away");
        let mut lines = Vec::new();
        while let Some(line) = log.next_line().await.expect("it can be read") {
            lines.push(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")));
        }
        lines
    }
}
