//! A real DNS server (`dnsmasq`) on loopback, whose records a test changes while it runs.
//!
//! It knows names below `internal`, each with the addresses that the test gave it last and a TTL of one second; of any other name below
//! `internal` it says that there is none (NXDOMAIN). Nothing of the machine's own settings comes in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::ports::Port;
use crate::process::{Process, Signal, Stdout};
use crate::wait::until;

/// A record of `SRV`: one server of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name of the server, which must have addresses of its own.
    pub target: String,
    /// Where it listens.
    pub port: u16,
    /// The lower, the sooner it is used.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
}

/// The server. It may be down: [`Dns::stop`] and [`Dns::start_again`].
#[derive(Debug)]
pub struct Dns {
    port: Port,
    folder: TempDir,
    process: Option<Process>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
    services: BTreeMap<String, Vec<Service>>,
}

impl Dns {
    /// Starts one that knows nothing.
    pub async fn start() -> Dns {
        let folder = tempfile::Builder::new()
            .prefix("lb-test-dns-")
            .tempdir()
            .expect("a temporary folder");
        let mut dns = Dns {
            port: Port::pick(),
            folder,
            process: None,
            hosts: BTreeMap::new(),
            services: BTreeMap::new(),
        };
        dns.start_again().await;
        dns
    }

    /// Where it listens, over UDP and TCP: what `nameserver` says in a configuration.
    pub fn addr(&self) -> SocketAddr {
        self.port.address()
    }

    /// From now on this name has these addresses; none: there is no such name. A server that is down learns of it when it starts again.
    pub fn set(&mut self, name: &str, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            self.hosts.remove(name);
        } else {
            self.hosts.insert(name.to_owned(), addresses.to_vec());
        }
        self.write_hosts();
        if let Some(process) = &mut self.process {
            process.signal(Signal::HUP);
        }
    }

    /// From now on this service (`_http._tcp.users.internal`) has these servers. A running server is restarted: it reads such records
    /// only then.
    pub async fn set_services(&mut self, name: &str, services: &[Service]) {
        self.services.insert(name.to_owned(), services.to_vec());
        if self.process.is_some() {
            self.stop();
            self.start_again().await;
        }
    }

    /// `kill -9`: nobody answers any more.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Hangs (`SIGSTOP`): questions are taken and never answered, until [`Dns::go_on`].
    pub fn hang(&mut self) {
        self.process.iter_mut().for_each(|process| process.signal(Signal::STOP));
    }

    /// The end of [`Dns::hang`].
    pub fn go_on(&mut self) {
        self.process.iter_mut().for_each(|process| process.signal(Signal::CONT));
    }

    /// Starts again on the same port, with the records as they were last set, and waits until it listens.
    pub async fn start_again(&mut self) {
        self.write_hosts();
        let settings = self.folder.path().join("dnsmasq.conf");
        fs::write(&settings, self.settings()).expect("the settings of dnsmasq");
        let mut command = Command::new(program());
        command
            .arg("--keep-in-foreground")
            .arg(format!("--conf-file={}", settings.display()));
        let mut process = Process::spawn("dnsmasq", command, self.folder.path(), Stdout::File);
        let address = self.addr();
        until("dnsmasq listens", async || {
            let ended = process.ended();
            assert!(ended.is_none(), "dnsmasq ended at once: {ended:?}");
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        self.process = Some(process);
    }

    fn write_hosts(&self) {
        let mut text = String::new();
        for (name, addresses) in &self.hosts {
            for address in addresses {
                let _ = writeln!(text, "{address} {name}");
            }
        }
        // At once, so that it is never read half written.
        let (new, file) = (self.folder.path().join("hosts.new"), self.folder.path().join("hosts"));
        fs::write(&new, text).expect("the records of dnsmasq");
        fs::rename(&new, file).expect("the records of dnsmasq");
    }

    fn settings(&self) -> String {
        let mut text = format!(
            "port={}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\npid-file\nlocal-ttl=1\nlocal=/internal/\n\
             addn-hosts={}\nlog-facility=-\nlog-queries\n",
            self.port.number(),
            self.folder.path().join("hosts").display(),
        );
        if rustix::process::geteuid().is_root() {
            // It would become somebody else, who may not read our files.
            text.push_str("user=root\n");
        }
        for (name, services) in &self.services {
            for Service {
                target,
                port,
                priority,
                weight,
            } in services
            {
                let _ = writeln!(text, "srv-host={name},{target},{port},{priority},{weight}");
            }
        }
        text
    }
}

/// It is installed where only root looks.
fn program() -> &'static str {
    const USUAL: &str = "/usr/sbin/dnsmasq";
    if Path::new(USUAL).exists() { USUAL } else { "dnsmasq" }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::net::UdpSocket;
    use tokio::time::timeout;

    use super::*;

    /// Asks for A records: the code of the answer and how many there are; `None` where nobody answers.
    async fn ask(dns: &Dns, name: &str) -> Option<(u8, usize)> {
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(dns.addr()).await.unwrap();
        socket.send(&question).await.ok()?;
        let mut answer = [0; 512];
        timeout(Duration::from_millis(500), socket.recv(&mut answer)).await.ok()?.ok()?;
        Some((answer[3] & 15, usize::from(answer[7])))
    }

    #[tokio::test]
    async fn records_change_while_it_runs_and_stay_when_it_does_not() {
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut dns = Dns::start().await;
        assert_eq!(ask(&dns, "users.internal").await, Some((3, 0)));
        dns.set("users.internal", &[one]);
        until("one address", async || ask(&dns, "users.internal").await == Some((0, 1))).await;
        dns.set("users.internal", &[one, other]);
        until("two addresses", async || ask(&dns, "users.internal").await == Some((0, 2))).await;
        dns.stop();
        assert_eq!(ask(&dns, "users.internal").await, None);
        dns.start_again().await;
        until("two addresses again", async || ask(&dns, "users.internal").await == Some((0, 2))).await;
        dns.hang();
        assert_eq!(ask(&dns, "users.internal").await, None);
        dns.go_on();
        dns.set("users.internal", &[]);
        until("none", async || ask(&dns, "users.internal").await == Some((3, 0))).await;
    }
}
