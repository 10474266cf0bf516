//! Servers of the users API: the backend, and the tutorial's own two as small peers in `benches/peers`, which are installed here when they are
//! missing or have changed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::{Job, Peer, Peers, Prepared, first_line};
use crate::api::Api;
use crate::case::Case;

/// Where the sources of the peers are.
const SOURCES: &str = "benches/peers";

/// All of them, and the names of those that cannot be installed. `wants` says whether one is wanted.
pub fn installed(api: &Api, wants: impl Fn(&str) -> bool) -> (Peers, Vec<&'static str>) {
    let mut peers: Peers = Vec::new();
    let mut absent = Vec::new();
    for kind in [Kind::Express, Kind::FastApi, Kind::Backend, Kind::BackendWithRedis] {
        if !wants(kind.name()) {
            continue;
        }
        match kind.install() {
            Ok(folder) => peers.push(Box::new(Server {
                kind,
                folder,
                backend: api.backend.clone(),
                database_url: api.database_url.clone(),
                redis_url: api.redis_url.clone(),
            })),
            Err(e) => {
                println!("{} is left out, it cannot be installed: {e:#}", kind.name());
                absent.push(kind.name());
            }
        }
    }
    (peers, absent)
}

#[derive(Clone, Copy)]
enum Kind {
    Express,
    FastApi,
    Backend,
    BackendWithRedis,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Express => "express",
            Kind::FastApi => "fastapi",
            Kind::Backend => "backend",
            Kind::BackendWithRedis => "backend-redis",
        }
    }

    /// Gives the folder that it runs from.
    fn install(self) -> anyhow::Result<PathBuf> {
        match self {
            Kind::Express => install("express", "package-lock.json", &["package.json", "server.js"], |folder| {
                let arguments = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
                run("npm", arguments, folder)
            }),
            Kind::FastApi => install("fastapi", "requirements.txt", &["app.py"], |folder| {
                run("python3", ["-m", "venv", "--clear", "venv"], folder)?;
                let arguments = ["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
                run(folder.join("venv/bin/pip"), arguments, folder)
            }),
            Kind::Backend | Kind::BackendWithRedis => Ok(PathBuf::new()),
        }
    }
}

/// Copies a peer to where things are built, and has its packages fetched unless those of the same list are there.
fn install(name: &str, list: &str, others: &[&str], fetch: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let folder = target.join("compare").join(name);
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let source = Path::new(SOURCES).join(name);
    for file in others.iter().chain([&list]) {
        fs::copy(source.join(file), folder.join(file)).with_context(|| format!("cannot copy {}", source.join(file).display()))?;
    }
    let (wanted, ready) = (fs::read(folder.join(list))?, folder.join("ready"));
    if fs::read(&ready).is_ok_and(|fetched| fetched == wanted) {
        return Ok(folder);
    }
    println!("{name}: its packages are fetched");
    // Whatever happens meanwhile, they are fetched again.
    let _ = fs::remove_file(&ready);
    fetch(&folder)?;
    fs::write(ready, wanted)?;
    Ok(folder)
}

fn run<const N: usize>(program: impl AsRef<OsStr>, arguments: [&str; N], folder: &Path) -> anyhow::Result<()> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} {}: {}",
        program.display(),
        arguments.join(" "),
        said.trim_end()
    );
    Ok(())
}

struct Server {
    kind: Kind,
    /// Where it was installed.
    folder: PathBuf,
    backend: PathBuf,
    database_url: String,
    redis_url: String,
}

impl Server {
    fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// The version of a package, as the list that it was installed from has it.
    fn package(&self, list: &str, before: &str) -> String {
        let text = fs::read_to_string(self.folder.join(list)).unwrap_or_default();
        let version = text.lines().find_map(|line| line.trim().strip_prefix(before));
        version.map_or("unknown", |version| version.trim_matches(['"', ','])).to_owned()
    }
}

impl Peer for Server {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn version(&self) -> String {
        match self.kind {
            Kind::Express => {
                let of = |name: &str| self.package("package.json", &format!("\"{name}\": "));
                format!(
                    "Express {}, pg {}, Node.js {}",
                    of("express"),
                    of("pg"),
                    first_line("node", "--version")
                )
            }
            Kind::FastApi => {
                let of = |name: &str| self.package("requirements.txt", &format!("{name}=="));
                let [fastapi, sqlalchemy, asyncpg, uvicorn] = ["fastapi", "SQLAlchemy", "asyncpg", "uvicorn"].map(of);
                let python = first_line(&self.python().to_string_lossy(), "--version");
                format!("FastAPI {fastapi}, SQLAlchemy {sqlalchemy}, asyncpg {asyncpg}, uvicorn {uvicorn}, {python}")
            }
            Kind::Backend | Kind::BackendWithRedis => first_line(&self.backend.to_string_lossy(), "--version"),
        }
    }

    fn note(&self) -> &'static str {
        match self.kind {
            Kind::Express => "production mode, one process, a pool of 20, named prepared statements, one statement a request, no log",
            Kind::FastApi => {
                "uvloop and httptools, one process, a pool of 20, statements of SQLAlchemy's Core that asyncpg prepares, each a transaction \
                 of its own, one statement a request, no log"
            }
            Kind::Backend => "a pool of 20, no cache, `LOG_LEVEL=warn`; its metrics, entity tags and security headers are on",
            Kind::BackendWithRedis => "the same with `REDIS_URL`",
        }
    }

    fn can(&self, case: Case) -> bool {
        case.api()
    }

    fn prepare(&self, job: &Job<'_>) -> anyhow::Result<Prepared> {
        let port = job.port.to_string();
        let mut command = match self.kind {
            Kind::Express => {
                let mut command = Command::new("node");
                command.arg(self.folder.join("server.js")).env("NODE_ENV", "production");
                command
            }
            Kind::FastApi => {
                let mut command = Command::new(self.python());
                command.args(["-m", "uvicorn", "app:app", "--app-dir"]).arg(&self.folder);
                command.args(["--host", "127.0.0.1", "--port", &port, "--loop", "uvloop", "--http", "httptools"]);
                command.args(["--timeout-keep-alive", "75", "--no-access-log", "--log-level", "warning"]);
                command
            }
            Kind::Backend | Kind::BackendWithRedis => {
                let mut command = Command::new(&self.backend);
                command
                    .arg("serve")
                    .envs([("AUTH", "off"), ("LOG_LEVEL", "warn"), ("HOST", "127.0.0.1")]);
                command.envs([("JWT_SECRET", ""), ("REDIS_URL", "")]);
                command
            }
        };
        if matches!(self.kind, Kind::BackendWithRedis) {
            let secret = "nobody logs in here, so anybody may know";
            command.envs([("REDIS_URL", self.redis_url.as_str()), ("JWT_SECRET", secret)]);
        }
        command.env("DATABASE_URL", &self.database_url).env("PORT", port);
        Ok(Prepared::Ready(command))
    }
}
