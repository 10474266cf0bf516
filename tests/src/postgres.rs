//! PostgreSQL servers of a test's own: a primary, and replicas that stream from it, which it may kill, stop and start again.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::ports::Port;
use crate::process::{Process, Signal, Stdout};
use crate::wait::DEADLINE;

/// What is thrown away need not survive a power failure. What an acknowledged write is, is PostgreSQL's default.
const OPTIONS: [&str; 6] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=16MB",
    "max_connections=200",
    "fsync=off",
    "wal_keep_size=256MB",
];

/// Between two looks whether a server answers.
const STEP: Duration = Duration::from_millis(20);

/// A primary and its replicas.
#[derive(Debug)]
pub struct Cluster {
    /// What is written to, unless a replica was promoted.
    pub primary: Postgres,
    /// What streams from it.
    pub replicas: Vec<Postgres>,
    _folder: TempDir,
}

impl Cluster {
    /// Starts all of them, and waits until they answer.
    pub async fn start(replicas: usize) -> Cluster {
        let folder = tempfile::Builder::new()
            .prefix("lb-test-pg-")
            .tempdir_in("/tmp")
            .expect("a temporary folder");
        if let Some((uid, gid)) = other_user() {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("root may give it away");
        }
        let data = folder.path().join("primary");
        let arguments = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"];
        run("initdb", folder.path(), &arguments, &data);
        let mut cluster = Cluster {
            primary: Postgres::start(data).await,
            replicas: Vec::new(),
            _folder: folder,
        };
        let port = cluster.primary.port.number().to_string();
        let from = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        for number in 0..replicas {
            let data = cluster.primary.data.with_file_name(format!("replica{number}"));
            let how = ["-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"];
            run("pg_basebackup", data.parent().unwrap(), &[&from[..], &how].concat(), &data);
            cluster.replicas.push(Postgres::start(data).await);
        }
        cluster
    }

    /// `DATABASE_REPLICA_URLS`.
    pub fn replica_urls(&self) -> String {
        self.replicas.iter().map(Postgres::url).collect::<Vec<_>>().join(",")
    }
}

/// One server, killed when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    data: PathBuf,
    port: Port,
    process: Process,
}

impl Postgres {
    async fn start(data: PathBuf) -> Postgres {
        let port = Port::pick();
        let process = launch(&data, &port);
        let mut server = Postgres { data, port, process };
        server.until_it_answers().await;
        server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port.number())
    }

    /// Executes SQL, each statement in a transaction of its own; gives what the last one does.
    pub fn execute(&self, statements: &[&str]) -> String {
        let mut command = Command::new(program("psql"));
        command.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", &self.url()]);
        for statement in statements {
            command.args(["-c", statement]);
        }
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout);
        said.lines().last().unwrap_or_default().to_owned()
    }

    /// How much of the log has come here, in bytes.
    pub fn received(&self) -> u64 {
        let place = self.execute(&["SELECT (pg_last_wal_receive_lsn() - '0/0')::bigint"]);
        place.parse().expect("a number")
    }

    /// `kill -9`. What it has started ends by itself when it notices.
    pub fn crash(&mut self) {
        self.process.crash();
    }

    /// As `pg_ctl stop -m fast`.
    pub async fn stop(&mut self) {
        self.process.signal(Signal::INT);
        self.process.exit_within(DEADLINE).await;
    }

    /// Starts it again on its old port.
    pub async fn restart(&mut self) {
        self.process = launch(&self.data, &self.port);
        self.until_it_answers().await;
    }

    async fn until_it_answers(&mut self) {
        let (port, begin) = (self.port.number().to_string(), Instant::now());
        loop {
            assert!(begin.elapsed() < DEADLINE, "PostgreSQL does not answer: {}", self.process.stderr());
            if self.process.ended().is_some() {
                // What a killed one has left behind is there for a moment.
                self.process = launch(&self.data, &self.port);
            }
            let mut asking = Command::new(program("pg_isready"));
            asking.args(["-q", "-h", "127.0.0.1", "-p", &port]);
            if asking.status().is_ok_and(|status| status.success()) {
                return;
            }
            sleep(STEP).await;
        }
    }
}

fn launch(data: &Path, port: &Port) -> Process {
    let mut command = Command::new(program("postgres"));
    command.arg("-D").arg(data).arg("-p").arg(port.number().to_string());
    for option in OPTIONS {
        command.args(["-c", option]);
    }
    let folder = data.parent().expect("a folder");
    as_other_user(&mut command, folder);
    let name = data.file_name().expect("a name").to_string_lossy();
    Process::spawn(&name, command, folder, Stdout::File)
}

fn run(name: &str, folder: &Path, arguments: &[&str], data: &Path) {
    let mut command = Command::new(program(name));
    command.args(arguments).arg(data);
    as_other_user(&mut command, folder);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// PostgreSQL refuses to run as root, and complains about a current folder that its user may not read.
fn as_other_user(command: &mut Command, folder: &Path) {
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
    Some(of("postgres").or_else(|| of("nobody")).expect("another user than root"))
}

/// The newest of Debian's packages, else whatever is in PATH.
fn program(name: &str) -> PathBuf {
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = folders.map(|entry| entry.path()).max_by_key(|folder| version(folder));
    let found = newest.map(|folder| folder.join("bin").join(name)).filter(|file| file.exists());
    found.unwrap_or_else(|| name.into())
}
