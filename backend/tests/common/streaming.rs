//! PostgreSQL servers of a test's own: a primary, and replicas that stream from it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::settings::{Database as Where, DatabaseSettings};
use backend::store::{self, Store};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tempfile::TempDir;
use tokio::time::sleep;

use super::{PATIENCE, database_settings, until};

/// What is thrown away need not survive a power failure. What an acknowledged write is, is PostgreSQL's default.
const OPTIONS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=16MB",
    "max_connections=200",
    "fsync=off",
    "wal_keep_size=256MB",
    "wal_retrieve_retry_interval=100ms",
];

/// A primary and its replicas.
pub struct Streaming {
    pub primary: PgServer,
    pub replicas: Vec<PgServer>,
    folder: TempDir,
}

impl Streaming {
    pub async fn start(replicas: usize) -> Self {
        // The path of a socket may have 107 bytes only, and the user who runs the servers must be let in.
        let folder = tempfile::Builder::new()
            .prefix("lb-pg.")
            .tempdir_in("/tmp")
            .expect("a temporary folder");
        if let Some((uid, gid)) = other_user() {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("root may give it away");
        }
        let data = folder.path().join("primary");
        let arguments = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"];
        run("initdb", folder.path(), &[&arguments[..], &[text(&data)]].concat()).await;
        let primary = PgServer::start(data).await;
        let mut cluster = Self {
            primary,
            replicas: Vec::new(),
            folder,
        };
        for n in 0..replicas {
            let data = cluster.folder.path().join(format!("replica{n}"));
            cluster.primary.backup(&data).await;
            cluster.replicas.push(PgServer::start(data).await);
        }
        cluster
    }

    /// A script of `docker/postgres`, to be run by who runs the servers, with their programs at hand.
    pub fn script(&self, name: &str) -> Command {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/postgres").join(name);
        // Whoever runs the servers need not be able to read the sources.
        let script = self.folder(name);
        std::fs::copy(source, &script).expect("the script is there");
        let programs = program("postgres").parent().map(Path::to_owned).unwrap_or_default();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command.arg(&script).env("PATH", format!("{}:{path}", programs.display()));
        as_other_user(&mut command, self.folder.path());
        command
    }

    /// A folder beside those of the servers.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn settings(&self) -> DatabaseSettings {
        DatabaseSettings {
            replicas: self.replicas.iter().map(PgServer::options).collect(),
            ..database_settings(Where::Postgres(self.primary.options()))
        }
    }

    /// What a backend has, with connections of its own.
    pub fn store(&self) -> Arc<dyn Store> {
        store::open(&self.settings())
    }

    /// The same, when the schema is there and all replicas are in use.
    pub async fn ready(&self) -> Arc<dyn Store> {
        let store = self.store();
        store.migrate().await.expect("an empty database can be migrated");
        until("all servers to be used", async || {
            store.servers().iter().all(|server| server.healthy)
        })
        .await;
        store
    }
}

/// One server, killed when this is dropped.
pub struct PgServer {
    data: PathBuf,
    port: u16,
    process: Child,
}

impl PgServer {
    /// Starts one on a free port.
    pub async fn start(data: PathBuf) -> Self {
        for _ in 0..5 {
            let port = free_port();
            let process = launch(&data, port);
            let mut server = Self {
                data: data.clone(),
                port,
                process,
            };
            if server.wait().await {
                return server;
            }
        }
        panic!("PostgreSQL did not start in {}", data.display());
    }

    /// Starts it again, on the same port.
    pub async fn restart(&mut self) {
        let started = Instant::now();
        loop {
            self.process = launch(&self.data, self.port);
            if self.wait().await {
                return;
            }
            // What a killed one left behind may take a moment to go.
            assert!(started.elapsed() < PATIENCE, "PostgreSQL did not start again");
        }
    }

    /// The same address with another folder behind it.
    pub async fn replace(&mut self, data: PathBuf) {
        self.kill();
        self.data = data;
        self.restart().await;
    }

    /// Whether it answers soon; `false` if it ended.
    async fn wait(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.process.try_wait().expect("it was started").is_some() {
                return false;
            }
            if self.options().connect().await.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("PostgreSQL does not answer in {}", self.data.display());
    }

    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database("postgres")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Under which it stands in the metrics.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}/postgres", self.port)
    }

    async fn connect(&self) -> PgConnection {
        self.options().connect().await.expect("it answers")
    }

    /// Runs SQL on it.
    pub async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        self.connect().await.execute(sql).await.expect("the SQL is right");
    }

    /// One number that SQL gives.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.connect().await)
            .await
            .expect("the SQL is right")
    }

    /// How far the log goes here, or has been replayed.
    pub async fn place(&self) -> i64 {
        let sql =
            "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint";
        self.number(sql).await
    }

    /// Makes a copy of it that will stream from it.
    pub async fn backup(&self, data: &Path) {
        let port = self.port.to_string();
        let arguments = [
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
            "-p",
        ];
        let parent = data.parent().expect("it is in a folder");
        run("pg_basebackup", parent, &[&arguments[..], &[&port, "-D", text(data)]].concat()).await;
    }

    /// Kills it at once, with everything that belongs to it.
    pub fn kill(&mut self) {
        let parts = self.parts();
        let _ = self.process.kill();
        signal("KILL", &parts);
        let _ = self.process.wait();
    }

    /// As `pg_ctl stop -m fast`.
    pub async fn stop(&mut self) {
        signal("INT", &[self.process.id()]);
        until("PostgreSQL to stop", async || {
            self.process.try_wait().expect("it was started").is_some()
        })
        .await;
    }

    /// Everything in it stands still: the system accepts connections, and nobody answers.
    pub fn freeze(&self) {
        signal("STOP", &[self.process.id()]);
        signal("STOP", &self.parts());
    }

    pub fn thaw(&self) {
        signal("CONT", &self.parts());
        signal("CONT", &[self.process.id()]);
    }

    /// The processes that it has started.
    fn parts(&self) -> Vec<u32> {
        let parent = self.process.id().to_string();
        let pids = std::fs::read_dir("/proc").expect("there is /proc").filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name may have anything in it; behind it stand the state and the parent.
            let (_, behind) = stat.rsplit_once(')')?;
            (behind.split_whitespace().nth(1)? == parent).then_some(pid)
        });
        pids.collect()
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Some of them may be gone already.
pub fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let mut command = Command::new("kill");
    command.arg(format!("-{name}")).args(pids.iter().map(u32::to_string));
    let _ = command.stderr(Stdio::null()).status().expect("kill exists");
}

fn launch(data: &Path, port: u16) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(data.with_extension("log"))
        .expect("the folder is there");
    let mut command = Command::new(program("postgres"));
    command.arg("-D").arg(data).arg("-p").arg(port.to_string());
    for option in OPTIONS {
        command.args(["-c", option]);
    }
    as_other_user(&mut command, data.parent().expect("it is in a folder"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("PostgreSQL starts")
}

async fn run(name: &str, folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(program(name));
    command.args(arguments);
    as_other_user(&mut command, folder);
    let output = tokio::process::Command::from(command).output().await.expect("it starts");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// PostgreSQL refuses to run as root.
fn as_other_user(command: &mut Command, folder: &Path) {
    use std::os::unix::process::CommandExt;
    // It complains about a current folder that its user may not read.
    command.current_dir(folder);
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
}

/// Who runs the servers, if it cannot be who runs the tests.
fn other_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("id exists");
        String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let of = |user: &str| Some((id(&["-u", user])?, id(&["-g", user])?));
    Some(of("postgres").or_else(|| of("nobody")).expect("there is another user than root"))
}

/// The newest of Debian's packages, else whatever is in PATH.
fn program(name: &str) -> PathBuf {
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = folders.map(|entry| entry.path()).max_by_key(|folder| version(folder));
    let found = newest.map(|folder| folder.join("bin").join(name)).filter(|file| file.exists());
    found.unwrap_or_else(|| name.into())
}

/// Below the range from which the system takes the ports of outgoing connections, so that nothing else comes upon it by chance.
pub fn free_port() -> u16 {
    loop {
        let [.., high, low] = uuid::Uuid::now_v7().into_bytes();
        let port = 10_000 + u16::from_be_bytes([high, low]) % 22_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is ASCII")
}
