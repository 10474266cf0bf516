//! The proxies that are compared, each configured for the same job and at its best for it.

mod haproxy;
mod lb;
mod nginx;
mod varnish;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::case::Case;

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
    /// Writes its configuration into `dir` and gives the command that runs it in the foreground.
    fn command(&self, case: Case, port: u16, origins: &[u16], dir: &Path) -> anyhow::Result<Command>;
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
            pause();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Those of the peers that are installed (and, where `wanted` names some, wanted), and the names of those that are not.
pub fn installed(lb: &Path, wanted: &[String]) -> anyhow::Result<(Peers, Vec<&'static str>)> {
    let lb_binary: PathBuf = lb
        .canonicalize()
        .with_context(|| format!("no lb at {}: make build", lb.display()))?;
    let mut peers: Peers = vec![Box::new(nginx::Nginx)];
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
    peers.push(Box::new(lb::Lb { binary: lb_binary }));
    if !on_path("nginx") || !on_path("wrk") || !on_path("taskset") {
        bail!("expected nginx, wrk and taskset to be installed: make bench installs them");
    }
    peers.retain(|peer| wanted.is_empty() || wanted.iter().any(|name| name == peer.name()));
    Ok((peers, absent))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|folder| Path::new(folder).join(program).is_file())
}

/// Starts a peer on `core` and waits until it accepts.
pub fn start(peer: &dyn Peer, case: Case, origins: &[u16], core: usize) -> anyhow::Result<Running> {
    let dir = tempfile::Builder::new().prefix("compare-").tempdir_in(memory_folder())?;
    let port = free_port()?;
    let command = peer.command(case, port, origins, dir.path())?;
    let child = Command::new("taskset")
        .args(["-c", &core.to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.path().join("stderr"))?)
        .spawn()
        .with_context(|| format!("cannot start {}", peer.name()))?;
    let running = Running { port, dir, child };
    wait_for_port(port).with_context(|| {
        let said = std::fs::read_to_string(running.dir.path().join("stderr")).unwrap_or_default();
        format!("{} did not start:\n{said}", peer.name())
    })?;
    Ok(running)
}

/// A folder in memory where there is one: a peer that stores its cache in files must not wait for a disk.
fn memory_folder() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { std::env::temp_dir() }
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

/// Waits until somebody accepts on `port`, for ten seconds at most.
pub fn wait_for_port(port: u16) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            bail!("nobody listens on 127.0.0.1:{port} after 10 s");
        }
        pause();
    }
    Ok(())
}

/// Between two looks. There is nothing else to do in this program meanwhile.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// What a version command prints first, on either stream.
fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program)
        .arg(argument)
        .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
        .output();
    let Ok(output) = output else { return String::from("unknown") };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_string()
}
