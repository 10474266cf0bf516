//! A Redis of a test's own, which it may kill, stop and start again.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{PATIENCE, until};

/// A `redis-server` on a port of its own, killed when this is dropped.
pub struct OwnRedis {
    port: u16,
    folder: TempDir,
    process: Option<Child>,
    options: &'static [&'static str],
}

impl OwnRedis {
    /// Starts one that forgets all when it ends.
    pub async fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"]).await
    }

    /// Starts one with these options.
    pub async fn with(options: &'static [&'static str]) -> Self {
        let folder = tempfile::Builder::new().prefix("backend-test-redis-").tempdir();
        let mut redis = Self {
            port: 0,
            folder: folder.expect("a temporary folder"),
            process: None,
            options,
        };
        // Below the range from which the system takes the ports of outgoing connections.
        for _ in 0..20 {
            let [.., high, low] = uuid::Uuid::now_v7().into_bytes();
            redis.port = 10_000 + u16::from_be_bytes([high, low]) % 20_000;
            if redis.try_start().await {
                return redis;
            }
        }
        panic!("Redis did not start on any of 20 ports");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).expect("a Redis URL")
    }

    async fn try_start(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(self.options).arg("--dir").arg(self.folder.path());
        let child = command.stdout(Stdio::null()).spawn().expect("redis-server is installed");
        self.process = Some(child);
        let started = std::time::Instant::now();
        while started.elapsed() < PATIENCE {
            let ended = self.process.as_mut().expect("it was started").try_wait().expect("it is ours");
            if ended.is_some() {
                return false;
            }
            if self.ask::<String>(&["PING"]).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on its port, with what it has on disk.
    pub async fn restart(&mut self) {
        self.kill();
        let started = std::time::Instant::now();
        while !self.try_start().await {
            assert!(started.elapsed() < PATIENCE, "Redis does not come back");
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .expect("kill exists");
        assert!(sent.success());
    }

    /// What it answers to a command.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut connection = self.client().get_multiplexed_async_connection().await?;
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        cmd.query_async(&mut connection).await
    }

    /// The keys of the cache whose names end so.
    pub async fn keys(&self, end: &str) -> Vec<String> {
        self.ask(&["KEYS", &format!("backend:cache:*{end}")]).await.expect("Redis answers")
    }

    /// Waits until it has such a key.
    pub async fn until_key(&self, end: &str) {
        until(&format!("a key {end}"), async || !self.keys(end).await.is_empty()).await;
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
