//! Certificates are renewed while clients come.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::tls::{Authority, ClientTls, Pair};
use lb_tests::wait::{throughout, until};
use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{SERVER, to};

/// A handshake each 50 ms, which has to succeed, until it is told to stop.
struct Handshakes {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Handshakes {
    fn start(lb: &Lb, tls: Arc<ClientConfig>) -> Handshakes {
        let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (address, stopped, counted) = (lb.listen2(), stop.clone(), count.clone());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                Connection::open_tls(address, &tls, "lb.test").await.expect("a handshake");
                counted.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(50)).await;
            }
        });
        Handshakes { stop, count, task }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("no handshake failed");
        assert!(self.count.load(Ordering::SeqCst) > 10, "hardly a handshake was made");
    }
}

/// Whether a new connection is shown this certificate.
async fn shows(lb: &Lb, tls: &Arc<ClientConfig>, pair: &Pair) -> bool {
    let connection = Connection::open_tls(lb.listen2(), tls, "lb.test").await.expect("a handshake");
    connection.tls().peer_certificates().unwrap()[0] == pair.der
}

fn write(folder: &Path, pair: &Pair) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
    fs::write(folder.join("tls.key"), &pair.key).unwrap();
}

const LISTENER: &str = "[[server.tls]]\nlisten = \"@LISTEN2@\"\ncertificate = \"certs/tls.crt\"\nkey = \"certs/tls.key\"\n\n";

/// An `lb` whose certificate lies in `certs/`, and what clients trust.
async fn start(origin: &Origin, first: &Pair, links: bool) -> Lb {
    let setup = Lb::setup(&[SERVER, LISTENER, &to(origin)].concat());
    let certs = setup.folder().join("certs");
    if links {
        // as Kubernetes lays out a secret: files link to ..data, which links to the folder of the day
        write(&certs.join("..1"), first);
        symlink("..1", certs.join("..data")).unwrap();
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), certs.join(name)).unwrap();
        }
    } else {
        write(&certs, first);
    }
    setup.start().await
}

#[tokio::test]
async fn c28_a_renewal_by_symlink_is_seen() {
    let (origin, authority) = (Origin::named("origin").await, Authority::new("a"));
    let pairs: Vec<Pair> = (0..4).map(|_| authority.issue(&["lb.test"])).collect();
    let lb = start(&origin, &pairs[0], true).await;
    let tls = ClientTls::trusting(&authority).build();
    assert!(shows(&lb, &tls, &pairs[0]).await);
    let mut open = Connection::open_tls(lb.listen2(), &tls, "lb.test").await.unwrap();
    let handshakes = Handshakes::start(&lb, tls.clone());
    let certs = lb.folder().join("certs");
    for (number, pair) in pairs.iter().enumerate().skip(1) {
        let folder = format!("..{}", number + 1);
        write(&certs.join(&folder), pair);
        symlink(&folder, certs.join("..next")).unwrap();
        fs::rename(certs.join("..next"), certs.join("..data")).unwrap();
        fs::remove_dir_all(certs.join(format!("..{number}"))).unwrap();
        until("the new certificate is shown", async || shows(&lb, &tls, pair).await).await;
    }
    handshakes.stop().await;
    assert_eq!(
        open.send(&Request::get("/")).await.unwrap().text(),
        "origin",
        "an open connection stays"
    );
}

#[tokio::test]
async fn c28_a_renewal_in_two_writes_fails_no_handshake() {
    let (origin, authority) = (Origin::named("origin").await, Authority::new("a"));
    let (old, new) = (authority.issue(&["lb.test"]), authority.issue(&["lb.test"]));
    let lb = start(&origin, &old, false).await;
    let tls = ClientTls::trusting(&authority).build();
    let handshakes = Handshakes::start(&lb, tls.clone());
    let certs = lb.folder().join("certs");
    fs::write(certs.join("tls.crt"), &new.certificate).unwrap();
    // the certificate without its key
    throughout(Duration::from_millis(1500), "the last good pair is shown", async || {
        shows(&lb, &tls, &old).await
    })
    .await;
    fs::write(certs.join("tls.key"), &new.key).unwrap();
    until("the new certificate is shown", async || shows(&lb, &tls, &new).await).await;
    handshakes.stop().await;
}

#[tokio::test]
async fn c28_a_broken_file_leaves_the_last_good_pair_in_use_and_is_logged() {
    let (origin, authority) = (Origin::named("origin").await, Authority::new("a"));
    let (old, new) = (authority.issue(&["lb.test"]), authority.issue(&["lb.test"]));
    let lb = start(&origin, &old, false).await;
    let tls = ClientTls::trusting(&authority).build();
    let handshakes = Handshakes::start(&lb, tls.clone());
    let file = lb.folder().join("certs/tls.crt");
    fs::write(&file, &new.certificate[..new.certificate.len() / 2]).unwrap();
    until("it is logged with the file's name", async || lb.stderr().contains("tls.crt")).await;
    throughout(Duration::from_millis(500), "the last good pair is shown", async || {
        shows(&lb, &tls, &old).await
    })
    .await;
    fs::remove_file(&file).unwrap();
    throughout(Duration::from_millis(1500), "the last good pair is shown", async || {
        shows(&lb, &tls, &old).await
    })
    .await;
    write(&lb.folder().join("certs"), &new);
    until("the new certificate is shown", async || shows(&lb, &tls, &new).await).await;
    handshakes.stop().await;
}

#[tokio::test]
async fn a_reload_with_a_certificate_that_is_none_changes_nothing() {
    let (origin, authority) = (Origin::named("origin").await, Authority::new("a"));
    let (old, other) = (authority.issue(&["lb.test"]), authority.issue(&["lb.test"]));
    let mut lb = start(&origin, &old, false).await;
    let tls = ClientTls::trusting(&authority).build();
    let certs = lb.folder().join("certs");
    fs::write(certs.join("other.crt"), &other.certificate).unwrap();
    fs::write(certs.join("none.crt"), "no certificate\n").unwrap();
    for (certificate, key) in [("other.crt", "tls.key"), ("none.crt", "tls.key"), ("tls.crt", "missing.key")] {
        let listener = LISTENER.replace("tls.crt", certificate).replace("tls.key", key);
        lb.write_config(&[SERVER, &listener, &to(&origin)].concat());
        assert!(!lb.hang_up().await, "{certificate} with {key} was taken");
        assert!(shows(&lb, &tls, &old).await);
    }
    fs::write(certs.join("other.key"), &other.key).unwrap();
    let listener = LISTENER.replace("tls.crt", "other.crt").replace("tls.key", "other.key");
    lb.reload(&[SERVER, &listener, &to(&origin)].concat()).await;
    until("the other one is shown", async || shows(&lb, &tls, &other).await).await;
}
