//! Which servers are met.

use rustls::version::{TLS12, TLS13};

use super::*;
use crate::observe::Metrics;
use crate::upstream::{Discovery, Registry, ResolvedAddress, Server, resolve};

const ADDRESS: &str = "127.0.0.1:4001";

/// An upstream with this address of its only server, and these keys.
pub(super) fn upstream(servers: &str, tls: &str) -> String {
    format!("[server]\nlisten = ['127.0.0.1:8080']\n[upstreams.u]\nservers = [{servers}]\nprotocol = 'https'\ntls = {{ {tls} }}\n")
}

fn address() -> ResolvedAddress {
    ResolvedAddress::Ip(ADDRESS.parse().unwrap())
}

/// Has the upstream of `ours` meet a server by a name, and gives the kind of handshake that it was.
async fn meet(ours: &Tls, server: &ServerTls, name: &str) -> Result<HandshakeKind, String> {
    let (near, far) = tokio::io::duplex(64 << 10);
    let server = async {
        let mut stream = server.accept(far).await.map_err(|error| format!("server: {error}"))?;
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        Ok(stream)
    };
    let client = async {
        let upstream = ours.upstream(0).unwrap();
        let mut stream = upstream
            .meet(&address(), Some(name), near)
            .await
            .map_err(|error| format!("client: {error}"))?;
        stream.read_u8().await.map_err(|error| format!("client: {error}"))?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok(stream.get_ref().1.handshake_kind().unwrap())
    };
    let (server, client): (Result<_, String>, Result<_, String>) = tokio::join!(server, client);
    match (server, client) {
        (_, Err(why)) if why.contains("invalid peer certificate") => Err(why),
        (Err(why), _) => Err(why),
        (Ok(_), result) => result,
    }
}

/// A server with one certificate.
fn server(folder: &Path, issued: &Issued, client_ca: Option<&str>) -> Tls {
    issued.write(folder, "server");
    loaded(folder, &[("server", client_ca)])
}

fn ours(folder: &Path, tls: &str) -> Tls {
    load(&config(folder, &upstream(&format!("'{ADDRESS}'"), tls)), None).unwrap_or_else(|problems| panic!("{problems}"))
}

#[tokio::test]
async fn a_server_is_met_only_if_it_is_who_it_has_to_be() {
    let (folder, authority, others) = (tempfile::tempdir().unwrap(), Authority::new("a"), Authority::new("others"));
    authority.write(&folder.path().join("ca.pem"));
    let ours = ours(folder.path(), "ca = 'ca.pem'");
    let names = ["u.internal", "127.0.0.1", "::1"];
    let right = server(folder.path(), &authority.issue(&names), None);
    for name in names {
        assert!(meet(&ours, only(&right), name).await.is_ok(), "{name}");
    }
    for name in ["v.internal", "127.0.0.2", "::2", "x.u.internal"] {
        let why = meet(&ours, only(&right), name).await.unwrap_err();
        assert!(why.contains("not valid for name"), "{name}: {why}");
    }
    let expired = authority.issue_with(&names, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = authority.issue_with(&names, |params| params.not_before = rcgen::date_time_ymd(3000, 1, 1));
    for (issued, expected) in [
        (expired, "expired"),
        (early, "not valid yet"),
        (others.issue(&names), "UnknownIssuer"),
    ] {
        let wrong = server(folder.path(), &issued, None);
        for name in names {
            let why = meet(&ours, only(&wrong), name).await.unwrap_err();
            assert!(why.contains(expected), "{name}: {why}");
        }
    }
}

#[tokio::test]
async fn a_server_without_a_name_is_not_met() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    authority.write(&folder.path().join("ca.pem"));
    let ours = ours(folder.path(), "ca = 'ca.pem'");
    for name in [None, Some(""), Some("not a name")] {
        let (near, _far) = tokio::io::duplex(1024);
        let met = ours.upstream(0).unwrap().meet(&address(), name, near).await;
        assert_eq!(met.unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{name:?}");
    }
}

#[tokio::test]
async fn a_server_that_asks_gets_the_certificate() {
    let (folder, authority, people) = (tempfile::tempdir().unwrap(), Authority::new("a"), Authority::new("people"));
    authority.write(&folder.path().join("ca.pem"));
    people.write(&folder.path().join("people.pem"));
    people.issue(&["lb"]).write(folder.path(), "lb");
    let server = server(folder.path(), &authority.issue(&["u.internal"]), Some("people"));
    let with = ours(folder.path(), "ca = 'ca.pem', certificate = 'lb.pem', key = 'lb.key'");
    assert_eq!(meet(&with, only(&server), "u.internal").await, Ok(HandshakeKind::Full));
    assert_eq!(meet(&with, only(&server), "u.internal").await, Ok(HandshakeKind::Resumed));
    let without = ours(folder.path(), "ca = 'ca.pem'");
    assert!(meet(&without, only(&server), "u.internal").await.is_err());
}

#[tokio::test]
async fn sessions_are_resumed_also_after_a_reload_that_changes_nothing() {
    let (folder, authority, other) = (tempfile::tempdir().unwrap(), Authority::new("a"), Authority::new("other"));
    let ca = folder.path().join("ca.pem");
    authority.write(&ca);
    let server = server(folder.path(), &authority.issue(&["u.internal"]), None);
    let text = upstream(&format!("'{ADDRESS}'"), "ca = 'ca.pem'");
    let first = load(&config(folder.path(), &text), None).unwrap();
    assert_eq!(meet(&first, only(&server), "u.internal").await, Ok(HandshakeKind::Full));
    let second = load(&config(folder.path(), &text), Some(&first)).unwrap();
    assert_eq!(meet(&second, only(&server), "u.internal").await, Ok(HandshakeKind::Resumed));
    other.write(&ca);
    let third = load(&config(folder.path(), &text), Some(&second)).unwrap();
    assert!(meet(&third, only(&server), "u.internal").await.is_err());
}

#[test]
fn both_versions_are_offered() {
    assert!([&TLS12, &TLS13].iter().all(|version| rustls::DEFAULT_VERSIONS.contains(version)));
}

/// The servers of the upstream that this configuration has.
pub(super) async fn servers(config: &Config) -> Vec<Arc<Server>> {
    let resolved = resolve(&config.upstreams[0], &Discovery::new(Metrics::new()))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    Registry::new().build(&config.upstreams[0], &resolved, None).servers().to_vec()
}

#[tokio::test]
async fn connections_of_other_trust_have_another_identity() {
    let (folder, one, two) = (tempfile::tempdir().unwrap(), Authority::new("one"), Authority::new("two"));
    one.write(&folder.path().join("one.pem"));
    one.write(&folder.path().join("same.pem"));
    two.write(&folder.path().join("two.pem"));
    one.issue(&["lb"]).write(folder.path(), "lb");
    let identity = async |servers_: &str, tls: &str| {
        let config = config(folder.path(), &upstream(servers_, tls));
        let loaded = load(&config, None).unwrap();
        loaded.upstream(0).unwrap().identity(&servers(&config).await[0])
    };
    let ip = format!("'{ADDRESS}'");
    let base = identity(&ip, "ca = 'one.pem'").await;
    assert_eq!(base, identity(&ip, "ca = 'same.pem'").await);
    let differing = [
        identity(&ip, "ca = 'two.pem'").await,
        identity(&ip, "ca = 'one.pem', sni = 'u.internal'").await,
        identity(&ip, "ca = 'one.pem', certificate = 'lb.pem', key = 'lb.key'").await,
        identity("'localhost:4001'", "ca = 'one.pem'").await,
    ];
    for (index, identity) in differing.iter().enumerate() {
        assert!(*identity != base && !differing[..index].contains(identity), "{index}");
    }
}

#[tokio::test]
async fn a_peer_of_pingoras_is_verified_by_the_same_name_and_authorities() {
    use ::pingora::upstreams::peer::{HttpPeer, Peer, Scheme};
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    authority.write(&folder.path().join("ca.pem"));
    authority.issue(&["lb"]).write(folder.path(), "lb");
    let text = upstream(&format!("'{ADDRESS}'"), "ca = 'ca.pem', certificate = 'lb.pem', key = 'lb.key'");
    let config = config(folder.path(), &text);
    let loaded = load(&config, None).unwrap();
    let server = servers(&config).await[0].clone();
    let mut peer = HttpPeer::new(ADDRESS, false, String::new());
    loaded.upstream(0).unwrap().prepare(&server, &mut peer).unwrap();
    assert_eq!((&peer.scheme, peer.sni.as_str()), (&Scheme::HTTPS, "127.0.0.1"));
    assert!(peer.verify_cert() && peer.verify_hostname());
    assert_eq!(peer.group_key, loaded.upstream(0).unwrap().identity(&server));
    assert_eq!(peer.options.ca.unwrap()[0].borrow_raw_cert().as_slice(), authority.0.der().as_ref());
    assert!(peer.client_cert_key.is_some());
}

/// What the first check of a server that answers over TLS says, by this trust: nothing, or what is wrong.
async fn checked(folder: &Path, server: Tls, tls: &str) -> Option<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = only(&server).accept(stream).await {
                let _ = stream.read_u8().await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let text = upstream(&format!("'{address}'"), tls) + "health_check = { interval = '50ms', timeout = '5s' }\n";
    let config = config(folder, &text);
    let loaded = load(&config, None).unwrap();
    let (registry, resolved) = (
        Registry::new(),
        resolve(&config.upstreams[0], &Discovery::new(Metrics::new()))
            .await
            .unwrap_or_else(|error| panic!("{error}")),
    );
    let built = registry.build(&config.upstreams[0], &resolved, loaded.upstream(0));
    registry.commit(std::slice::from_ref(&built), &tokio::runtime::Handle::current());
    let last = async {
        loop {
            if let Some(last) = built.servers()[0].status().check.and_then(|check| check.last) {
                return last;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let last = tokio::time::timeout(std::time::Duration::from_secs(10), last)
        .await
        .expect("a check");
    serving.abort();
    last.error
}

#[tokio::test]
async fn a_check_of_a_server_verifies_what_requests_verify() {
    let (folder, authority, others) = (tempfile::tempdir().unwrap(), Authority::new("a"), Authority::new("others"));
    authority.write(&folder.path().join("ca.pem"));
    others.write(&folder.path().join("others.pem"));
    let issued = authority.issue(&["127.0.0.1"]);
    let server = || server(folder.path(), &issued, None);
    assert_eq!(checked(folder.path(), server(), "ca = 'ca.pem'").await, None);
    for (tls, why) in [
        ("ca = 'others.pem'", "UnknownIssuer"),
        ("ca = 'ca.pem', sni = 'u.internal'", "not valid for name"),
    ] {
        let error = checked(folder.path(), server(), tls).await.unwrap();
        assert!(error.starts_with("TLS handshake failed: ") && error.contains(why), "{error}");
    }
}
