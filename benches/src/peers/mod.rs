//! Those that are compared, each configured for the same job and at its best for it: proxies, and servers of the users API.

mod api;
mod haproxy;
mod lb;
mod nginx;
mod varnish;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

pub use nginx::Nginx;

use crate::api::Api;
use crate::case::Case;
use crate::certificate::Certificate;
use crate::machine::{PROXY_CORE, pause};

/// One of the proxies.
pub trait Peer {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What its version command says.
    fn version(&self) -> String;
    /// How it is configured, and why that is fair.
    fn note(&self) -> &'static str;
    /// Whether it does this case at all.
    fn can(&self, case: Case) -> bool;
    /// Writes its configuration into the job's folder and gives the command that runs it in the foreground.
    fn prepare(&self, job: &Job<'_>) -> anyhow::Result<Prepared>;
}

/// What a proxy is to do.
pub struct Job<'a> {
    /// For which case.
    pub case: Case,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Where its servers are.
    pub servers: &'a [SocketAddrV4],
    /// What it shows to clients that speak TLS.
    pub certificate: &'a Certificate,
    /// Its own folder.
    pub dir: &'a Path,
}

/// A peer's answer to a job.
pub enum Prepared {
    /// Runs it.
    Ready(Command),
    /// It does not know a key of its configuration, yet or any more; with its words.
    Refused(String),
}

/// Those that are compared.
pub type Peers = Vec<Box<dyn Peer>>;

/// A proxy that runs.
pub struct Running {
    /// Where it listens.
    pub port: u16,
    /// Its files.
    pub dir: TempDir,
    child: Child,
}

impl Running {
    /// Its first process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gracefully, so that a master takes its workers along.
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            pause(BETWEEN_LOOKS);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Those of the peers that are installed (and, where `wanted` names some, wanted), and the names of those that are not.
pub fn installed(lb: &Path, api: Option<&Api>, wanted: &[String]) -> anyhow::Result<(Peers, Vec<&'static str>)> {
    let lb_binary: PathBuf = lb
        .canonicalize()
        .with_context(|| format!("no lb at {}: make build", lb.display()))?;
    let mut peers: Peers = vec![Box::new(Nginx)];
    let mut absent = Vec::new();
    let others: [(&'static str, Box<dyn Peer>); 2] = [("haproxy", Box::new(haproxy::Haproxy)), ("varnishd", Box::new(varnish::Varnish))];
    for (program, peer) in others {
        if on_path(program) {
            peers.push(peer)
        } else {
            absent.push(peer.name())
        }
    }
    absent.extend(["envoy", "pingap"].into_iter().filter(|program| !on_path(program)));
    for engine in [None, Some("pingora")] {
        peers.push(Box::new(lb::Lb {
            binary: lb_binary.clone(),
            engine,
        }));
    }
    if let Some(api) = api {
        let (servers, missing) = api::installed(api, |name| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name));
        peers.extend(servers);
        absent.extend(missing);
    }
    for name in wanted {
        if !peers.iter().any(|peer| peer.name() == name) {
            let known: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
            bail!("unknown peer {name:?}: expected one of {}", known.join(", "));
        }
    }
    if ["nginx", "wrk", "taskset", "setpriv"].iter().any(|program| !on_path(program)) {
        bail!("expected nginx, wrk, taskset and setpriv to be installed: make bench installs them");
    }
    peers.retain(|peer| wanted.is_empty() || wanted.iter().any(|name| name == peer.name()));
    Ok((peers, absent))
}

fn on_path(program: &str) -> bool {
    path().split(':').any(|folder| Path::new(folder).join(program).is_file())
}

/// Starts a peer on its core and waits until it accepts. `None`, with a word about it, when its configuration is refused.
pub fn start(peer: &dyn Peer, case: Case, servers: &[SocketAddrV4], certificate: &Certificate) -> anyhow::Result<Option<Running>> {
    let dir = folder()?;
    let port = free_port()?;
    let job = Job {
        case,
        port,
        servers,
        certificate,
        dir: dir.path(),
    };
    let command = match peer.prepare(&job)? {
        Prepared::Ready(command) => command,
        Prepared::Refused(why) => {
            println!("  {}: left out, its configuration is refused: {why}", peer.name());
            return Ok(None);
        }
    };
    // Where this program is stopped by force, the proxy ends with it.
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "taskset", "-c", &PROXY_CORE.to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .env("PATH", path())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(dir.path().join("stdout"))?)
        .stderr(std::fs::File::create(dir.path().join("stderr"))?)
        .spawn()
        .with_context(|| format!("cannot start {}", peer.name()))?;
    println!("  {}: process {}, port {port}", peer.name(), child.id());
    let running = Running { port, dir, child };
    wait_for(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).with_context(|| {
        let said = std::fs::read_to_string(running.dir.path().join("stderr")).unwrap_or_default();
        format!("{} did not start:\n{said}", peer.name())
    })?;
    Ok(Some(running))
}

/// Where programs are; some systems keep proxies out of sight of ordinary users.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// A new folder, in memory where there is such a place: a peer that stores its cache in files must not wait for a disk.
pub fn folder() -> anyhow::Result<TempDir> {
    let place = memory_folder();
    Ok(tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(place)?)
}

/// How the names of folders begin, before the number of the process that they belong to.
const PREFIX: &str = "compare-";

fn memory_folder() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { std::env::temp_dir() }
}

/// Removes what runs that were stopped by force have left behind: caches and logs in memory.
pub fn sweep() -> anyhow::Result<()> {
    for entry in std::fs::read_dir(memory_folder())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// A port that nobody listens on, below those that the kernel gives to outgoing connections.
pub fn free_port() -> anyhow::Result<u16> {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
    for step in 0..1000 {
        let port = 12_000 + ((seed / 1000).wrapping_add(step * 7919) % 18_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 12000 and 30000")
}

/// Waits until somebody accepts there, for thirty seconds at most.
pub fn wait_for(address: SocketAddrV4) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            bail!("nobody listens on {address} after 30 s");
        }
        pause(BETWEEN_LOOKS);
    }
    Ok(())
}

/// Between two looks whether something has happened.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What a version command prints first, on either stream.
fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).env("PATH", path()).output();
    let Ok(output) = output else { return String::from("unknown") };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_string()
}
