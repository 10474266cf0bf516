//! Running `backend`s, over one SQLite file, or whatever database they are told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::access_log;
use crate::client::{self, Request, Response};
use crate::ports::Port;
use crate::process::{Process, Signal, Stdout, binary};
use crate::wait::{DEADLINE, until};

/// Three backends on one database, and the folder that holds it.
#[derive(Debug)]
pub struct Backends {
    /// The backends.
    pub all: Vec<Backend>,
    _folder: TempDir,
}

impl Backends {
    /// Starts so many at once on an empty database.
    pub async fn start(count: usize) -> Backends {
        Backends::start_with(count, &[]).await
    }

    /// The same, with these settings in their environment.
    pub async fn start_with(count: usize, environment: &[(&str, &str)]) -> Backends {
        let folder = tempfile::Builder::new()
            .prefix("lb-test-db-")
            .tempdir()
            .expect("a temporary folder");
        let mut all: Vec<Backend> = (0..count)
            .map(|number| Backend::spawn(&format!("backend{number}"), folder.path(), environment))
            .collect();
        for backend in &mut all {
            backend.wait_until_ready().await;
        }
        Backends { all, _folder: folder }
    }

    /// Their addresses.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.all.iter().map(Backend::addr).collect()
    }

    /// Creates so many users, past the proxy, and gives them as they were answered.
    pub async fn seed(&self, count: usize) -> Vec<Value> {
        let mut users = Vec::new();
        for number in 0..count {
            let answer = create_user(self.all[0].addr(), &format!("seed{number}")).await;
            users.push(answer.json());
        }
        users
    }
}

/// A running `backend`.
#[derive(Debug)]
pub struct Backend {
    name: String,
    port: Port,
    process: Process,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

impl Backend {
    fn spawn(name: &str, folder: &Path, environment: &[(&str, &str)]) -> Backend {
        let port = Port::pick();
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let environment: Vec<_> = environment.iter().map(owned).collect();
        let process = launch(name, &port, folder, &environment);
        Backend {
            name: name.into(),
            port,
            process,
            folder: folder.to_owned(),
            environment,
        }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.address()
    }

    /// What it has logged so far.
    pub fn log_lines(&self) -> Vec<Value> {
        access_log::parse(&self.process.stdout())
    }

    /// `kill -9`.
    pub fn crash(&mut self) {
        self.process.crash();
    }

    /// SIGTERM; fails the test when it does not end by itself, in order.
    pub async fn end(&mut self) {
        self.process.signal(Signal::TERM);
        let status = self.process.exit_within(DEADLINE).await;
        assert_eq!(status.code(), Some(0), "{} ended: {status:?}", self.name);
    }

    /// Stops it where it stands, by SIGSTOP: the kernel goes on to accept connections for it, and nothing is ever answered on them.
    pub fn hang(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on after [`Backend::hang`].
    pub fn go_on(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Starts it again on its old port, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.process = launch(&self.name, &self.port, &self.folder, &self.environment);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        let address = self.addr();
        until(&format!("{} is ready", self.name), async || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "{} ended at once: {ended:?}", self.name);
            client::send(address, &Request::get("/ready"))
                .await
                .is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }
}

fn launch(name: &str, port: &Port, folder: &Path, environment: &[(String, String)]) -> Process {
    let mut command = Command::new(binary("backend"));
    command.arg("serve").current_dir(folder);
    for variable in [
        "REDIS_URL",
        "DATABASE_REPLICA_URLS",
        "HOST",
        "DRAIN_DELAY",
        "CACHE_TTL",
        "GRPC_PORT",
        "EVENTS_URL",
        "JWT_SECRET",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ] {
        command.env_remove(variable);
    }
    command.env("PORT", port.number().to_string()).env("AUTH", "off");
    command.env("DATABASE_URL", format!("sqlite:{}", folder.join("users.db").display()));
    command.envs(environment.iter().map(|(key, value)| (key, value)));
    Process::spawn(name, command, folder, Stdout::File)
}

/// Creates a user of that name at `to`, a backend or a proxy before it; fails the test when that fails.
pub async fn create_user(to: SocketAddr, name: &str) -> Response {
    let user = json!({ "name": name, "email": format!("{name}@example.com") }).to_string();
    let request = Request::post("/users", user).header("Content-Type", "application/json");
    let answer = client::send(to, &request)
        .await
        .unwrap_or_else(|failure| panic!("{failure:?} when {name} was created"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer
}
