//! A running `lb`.

mod setup;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
pub use setup::Setup;
use setup::{Wait, with_server};
use tokio::net::TcpStream;

use crate::access_log;
use crate::client::{self, Connection, Failure, Request, Response};
use crate::metrics::Samples;
use crate::process::{Process, Signal};
use crate::wait::{DEADLINE, until, until_some};

/// A running `lb`, killed when this is dropped. When a test fails, its logs are shown.
#[derive(Debug)]
pub struct Lb {
    /// The process.
    pub process: Process,
    setup: Setup,
}

impl Lb {
    /// Starts one with this configuration, and waits until it serves.
    pub async fn start(config: &str) -> Lb {
        Lb::setup(config).start().await
    }

    /// Prepares one.
    pub fn setup(config: &str) -> Setup {
        Setup::new(config)
    }

    async fn of(process: Process, setup: Setup) -> Lb {
        let mut lb = Lb { process, setup };
        lb.wait_until_up().await;
        lb
    }

    async fn wait_until_up(&mut self) {
        let listen = self.listen();
        until("lb listens", async || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "lb ended at once: {ended:?}");
            TcpStream::connect(listen).await.is_ok()
        })
        .await;
        if !self.setup.config.contains("admin = \"off\"") {
            let admin = self.admin_addr();
            until("lb's admin address takes connections", async || {
                TcpStream::connect(admin).await.is_ok()
            })
            .await;
        }
        if self.setup.wait == Wait::Ready {
            until("lb is ready", async || {
                self.try_admin(&Request::get("/readyz"))
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            })
            .await;
        }
    }

    /// The address for clients.
    pub fn listen(&self) -> SocketAddr {
        self.setup.listen()
    }

    /// The second address for clients.
    pub fn listen2(&self) -> SocketAddr {
        self.setup.listen[1].address()
    }

    /// The admin address.
    pub fn admin_addr(&self) -> SocketAddr {
        self.setup.admin.address()
    }

    /// The folder of its configuration.
    pub fn folder(&self) -> &Path {
        self.setup.folder()
    }

    /// The file of its configuration.
    pub fn config_path(&self) -> String {
        self.setup.folder().join("lb.toml").display().to_string()
    }

    /// Opens a connection as a client.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.listen()).await.expect("a connection to lb")
    }

    /// Sends a request on a connection of its own; fails the test when there is no whole answer.
    pub async fn send(&self, request: &Request) -> Response {
        let response = self
            .try_send(request)
            .await
            .unwrap_or_else(|failure| panic!("{failure:?} to {request:?}"));
        assert!(
            !response.cut,
            "the answer to {request:?} was cut after {} bytes",
            response.body.len()
        );
        response
    }

    /// Sends a request on a connection of its own.
    pub async fn try_send(&self, request: &Request) -> Result<Response, Failure> {
        client::send(self.listen(), request).await
    }

    /// `GET`, on a connection of its own.
    pub async fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target)).await
    }

    /// Sends raw bytes on a connection of their own and reads one answer; the connection is given back.
    pub async fn send_raw(&self, bytes: impl AsRef<[u8]>) -> (Response, Connection) {
        let bytes = bytes.as_ref();
        client::send_raw(self.listen(), bytes)
            .await
            .unwrap_or_else(|failure| panic!("{failure:?} to {:?}", String::from_utf8_lossy(bytes)))
    }

    /// Sends a request to the admin address as its own client does: with its `Host` and the token.
    pub async fn try_admin(&self, request: &Request) -> Result<Response, Failure> {
        let mut request = request.clone().header("Host", self.admin_addr().to_string());
        if let Some(token) = &self.setup.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        client::send(self.admin_addr(), &request).await
    }

    /// Sends a request to the admin address; fails the test when there is no answer.
    pub async fn admin(&self, request: &Request) -> Response {
        self.try_admin(request)
            .await
            .unwrap_or_else(|failure| panic!("{failure:?} to {request:?} at the admin address"))
    }

    /// `GET` at the admin address.
    pub async fn admin_get(&self, target: &str) -> Response {
        self.admin(&Request::get(target)).await
    }

    /// `DELETE /api/cache?…`: how many objects were purged.
    pub async fn purge(&self, query: &str) -> u64 {
        let answer = self.admin(&Request::new("DELETE", &format!("/api/cache?{query}"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["purged"].as_u64().expect("a number of purged objects")
    }

    /// `/api/status`.
    pub async fn status(&self) -> Value {
        let answer = self.admin_get("/api/status").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The servers of an upstream in `/api/status`.
    pub async fn servers(&self, upstream: &str) -> Vec<Server> {
        let status = self.status().await;
        let upstreams = status["upstreams"].as_array().expect("a list of upstreams");
        let found = upstreams
            .iter()
            .find(|found| found["name"] == upstream)
            .unwrap_or_else(|| panic!("no upstream {upstream} in {status}"));
        found["servers"]
            .as_array()
            .expect("a list of servers")
            .iter()
            .map(Server::read)
            .collect()
    }

    /// One server of an upstream.
    pub async fn server(&self, upstream: &str, address: SocketAddr) -> Server {
        let (address, all) = (address.to_string(), self.servers(upstream).await);
        all.iter()
            .find(|server| server.address == address)
            .cloned()
            .unwrap_or_else(|| panic!("no server {address} in {all:?}"))
    }

    /// `POST /api/upstreams/…/servers/…` with this body.
    pub async fn order(&self, upstream: &str, address: impl std::fmt::Display, body: &str) -> Response {
        let address: String = address.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/upstreams/{upstream}/servers/{address}");
        self.admin(&Request::post(&path, body.to_owned())).await
    }

    /// Has a server drained, made ready or taken down; fails the test when that fails.
    pub async fn set_state(&self, upstream: &str, address: impl std::fmt::Display, state: &str) {
        let answer = self.order(upstream, address, &format!("{{\"state\": \"{state}\"}}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Waits until a server of an upstream is in that state.
    pub async fn wait_for_state(&self, upstream: &str, address: SocketAddr, state: &str) {
        until(&format!("{address} is {state}"), async || {
            self.server(upstream, address).await.state == state
        })
        .await;
    }

    /// Waits until no server of any upstream has a request under way.
    pub async fn wait_until_idle(&self) {
        until("every count of requests under way is 0 again", async || {
            let status = self.status().await;
            let upstreams = status["upstreams"].as_array().expect("a list of upstreams");
            let mut servers = upstreams
                .iter()
                .flat_map(|upstream| upstream["servers"].as_array().expect("a list of servers"));
            servers.all(|server| server["in_flight"] == 0)
        })
        .await;
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> Samples {
        let answer = self.admin_get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Samples::parse(&answer.text())
    }

    /// `/metrics`, once so many requests are counted: that happens just after their answers have gone.
    pub async fn metrics_after(&self, requests: usize) -> Samples {
        until("the requests are counted", async || {
            self.metrics().await.sum("lb_requests_total", &[]) >= requests as f64
        })
        .await;
        self.metrics().await
    }

    /// How many reloads succeeded and failed so far.
    pub async fn reloads(&self) -> (u64, u64) {
        let metrics = self.metrics().await;
        let count = |result| metrics.sum("lb_config_reloads_total", &[("result", result)]) as u64;
        (count("ok"), count("error"))
    }

    /// Replaces the configuration's text without telling `lb`.
    pub fn write_config(&mut self, config: &str) {
        self.setup.config = with_server(config);
        self.setup.write();
    }

    /// Replaces the configuration's text as it is, without adding a `[server]` or an engine.
    pub fn write_config_exactly(&mut self, config: &str) {
        let before = (
            std::mem::replace(&mut self.setup.config, config.to_owned()),
            self.setup.engine.take(),
        );
        self.setup.write();
        (self.setup.config, self.setup.engine) = before;
    }

    /// Sends SIGHUP and waits until that reload is done; says whether it succeeded.
    pub async fn hang_up(&mut self) -> bool {
        let before = self.reloads().await;
        self.process.signal(Signal::HUP);
        until_some(DEADLINE, "the reload is counted", async || {
            let now = self.reloads().await;
            (now != before).then_some(now.0 > before.0)
        })
        .await
    }

    /// Changes the configuration, sends SIGHUP and waits until that is done; fails the test when it fails.
    pub async fn reload(&mut self, config: &str) {
        self.write_config(config);
        assert!(self.hang_up().await, "the reload failed: {}", self.process.stderr());
    }

    /// `POST /api/reload`.
    pub async fn reload_by_api(&self) -> Response {
        self.admin(&Request::new("POST", "/api/reload").body("")).await
    }

    /// Sends SIGTERM.
    pub fn terminate(&mut self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits until it has ended by itself.
    pub async fn exit_within(&mut self, deadline: Duration) -> ExitStatus {
        self.process.exit_within(deadline).await
    }

    /// Its own log.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Waits until the access log on standard output has so many lines.
    pub async fn log_lines(&self, count: usize) -> Vec<Value> {
        access_log::wait_for(count, async || self.process.stdout()).await
    }
}

/// A server in `/api/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: String,
    /// `healthy`, `unhealthy`, `unchecked`, `ejected`, `draining` or `down`.
    pub state: String,
    /// Its share.
    pub weight: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests so far.
    pub requests: u64,
    /// Passive ejections so far.
    pub ejections: u64,
}

impl Server {
    fn read(server: &Value) -> Server {
        let text = |key: &str| server[key].as_str().unwrap_or_else(|| panic!("no {key} in {server}")).to_owned();
        let number = |key: &str| server[key].as_u64().unwrap_or_else(|| panic!("no {key} in {server}"));
        Server {
            address: text("address"),
            state: text("state"),
            weight: number("weight"),
            in_flight: number("in_flight"),
            requests: number("requests"),
            ejections: number("ejections"),
        }
    }
}
