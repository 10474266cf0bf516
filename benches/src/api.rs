//! What the servers of the users API stand on in their cases: one PostgreSQL with the same users for all, and one Redis. Both belong to
//! `tests/with-servers.sh`, which throws them away.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::machine::LOAD_CORE;
use crate::measure::family;

/// Users in the table.
const USERS: usize = 10_000;

/// The database that is made for it.
const DATABASE: &str = "compare";

/// What all servers of the API use.
pub struct Api {
    /// The binary of the backend.
    pub backend: PathBuf,
    /// The database with the users.
    pub database_url: String,
    /// The cache of a server that has one.
    pub redis_url: String,
    /// The first processes of PostgreSQL and of Redis.
    pub processes: [u32; 2],
}

impl Api {
    /// Fills the database, and keeps it and Redis off the core of the server that is measured. `None` where there is neither, unless these cases
    /// were asked for.
    pub fn find(backend: &Path, asked_for: bool) -> anyhow::Result<Option<Api>> {
        let of = |name| std::env::var(name).ok();
        let Some((server, redis_url)) = of("TEST_DATABASE_URL").zip(of("TEST_REDIS_URL")) else {
            let how = "expected TEST_DATABASE_URL and TEST_REDIS_URL, as from: tests/with-servers.sh target/release/compare";
            if asked_for {
                bail!("{how}");
            }
            println!("the API is left out: {how}");
            return Ok(None);
        };
        let backend = backend
            .canonicalize()
            .with_context(|| format!("no backend at {}: make build", backend.display()))?;
        let database_url = match server.rsplit_once('/') {
            Some((host, _)) => format!("{host}/{DATABASE}"),
            None => bail!("TEST_DATABASE_URL: expected postgres://USER@HOST:PORT/NAME; found {server:?}"),
        };
        sql(
            &server,
            &[
                &format!("DROP DATABASE IF EXISTS {DATABASE}"),
                &format!("CREATE DATABASE {DATABASE}"),
            ],
        )?;
        fill(&backend, &database_url)?;
        let postgres = sql(&server, &["SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"])?;
        let postgres = postgres
            .trim()
            .parse()
            .context("expected the number of a process in postmaster.pid")?;
        let redis = redis_process(&redis_url).context("cannot ask Redis for its process")?;
        let processes = [postgres, redis];
        for process in processes {
            keep_away(process)?;
        }
        Ok(Some(Api {
            backend,
            database_url,
            redis_url,
            processes,
        }))
    }
}

fn fill(backend: &Path, url: &str) -> anyhow::Result<()> {
    let migrated = Command::new(backend).arg("migrate").env("DATABASE_URL", url).output();
    let migrated = migrated.context("cannot run backend migrate")?;
    ensure!(
        migrated.status.success(),
        "backend migrate: {}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    let users =
        format!("INSERT INTO users (name, email) SELECT 'User ' || n, 'user' || n || '@example.com' FROM generate_series(1, {USERS}) n");
    sql(url, &[&users, "VACUUM ANALYZE users"]).map(drop)
}

/// Runs each statement, and gives what they have answered.
fn sql(url: &str, statements: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url]);
    for statement in statements {
        command.args(["-c", statement]);
    }
    let output = command.output().context("cannot run psql")?;
    ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn redis_process(url: &str) -> anyhow::Result<u32> {
    let address = url.strip_prefix("redis://").unwrap_or(url).split('/').next().unwrap_or_default();
    let mut stream = TcpStream::connect(address).with_context(|| format!("nobody answers at {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"INFO server\r\nQUIT\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let number = text.lines().find_map(|line| line.strip_prefix("process_id:"));
    number
        .context("expected process_id in INFO")?
        .trim()
        .parse()
        .context("expected a number")
}

/// From now on a process and what it starts run on the core of the load.
fn keep_away(process: u32) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(LOAD_CORE);
    for member in family(process) {
        for task in std::fs::read_dir(format!("/proc/{member}/task")).into_iter().flatten().flatten() {
            let thread = task.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
            // A thread that has ended meanwhile needs no other core.
            if thread.is_some_and(|thread| sched_setaffinity(Some(thread), &cores).is_err()) && task.path().exists() {
                bail!("cannot move process {member} to core {LOAD_CORE}");
            }
        }
    }
    Ok(())
}

/// The body of a server's answer to one request.
pub fn body(port: u16, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    Ok(answer.split_off(end.context("the head does not end")? + 4))
}
