//! Which certificate clients get, and which clients get in.

use rustls::version::{TLS12, TLS13};

use super::*;

/// What a client without a name says, and what it takes then.
const NAMELESS: &str = "127.0.0.1";

#[tokio::test]
async fn a_certificate_is_chosen_by_name_then_by_wildcard_and_else_is_the_first() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let first = authority.issue(&["first.test", "other.test", NAMELESS]);
    let wild = authority.issue(&["*.example.test"]);
    let exact = authority.issue(&["api.example.test", "example.test"]);
    for (issued, name) in [(&first, "first"), (&wild, "wild"), (&exact, "exact")] {
        issued.write(folder.path(), name);
    }
    let tls = loaded(folder.path(), &[("first", None), ("wild", None), ("exact", None)]);
    let client = Client::new(&authority);
    for (name, expected) in [
        ("first.test", &first),
        ("api.example.test", &exact),
        ("API.Example.TEST", &exact),
        ("example.test", &exact),
        ("www.example.test", &wild),
        (NAMELESS, &first),
    ] {
        assert_eq!(client.serial(only(&tls), name).await, expected.serial(), "{name}");
    }
    // What nobody is for gets the first, and is the client's to refuse.
    let refused = client.shake(only(&tls), "a.b.example.test").await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn versions_1_2_and_1_3_are_spoken_and_http_2_is_preferred() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    authority.issue(&["a.test"]).write(folder.path(), "a");
    let tls = loaded(folder.path(), &[("a", None)]);
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let client = Client::with(&authority, &[version], None);
        let shaken = client.shake(only(&tls), "a.test").await.unwrap();
        assert_eq!((shaken.version, shaken.protocol.as_deref()), (expected, Some("http/1.1")));
    }
    let mut config = (*Client::new(&authority).0).clone();
    for (offered, expected) in [
        (vec![&b"http/1.1"[..], b"h2"], Ok(Some("h2"))),
        (vec![], Ok(None)),
        (vec![b"h3"], Err(())),
    ] {
        config.alpn_protocols = offered.into_iter().map(<[u8]>::to_vec).collect();
        let shaken = Client(Arc::new(config.clone())).shake(only(&tls), "a.test").await;
        let protocol = shaken.as_ref().map(|shaken| shaken.protocol.as_deref()).map_err(|_| ());
        assert_eq!(protocol, expected, "{shaken:?}");
    }
}

#[tokio::test]
async fn a_session_is_resumed_in_both_versions() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    authority.issue(&["a.test", "b.test"]).write(folder.path(), "a");
    let tls = loaded(folder.path(), &[("a", None)]);
    for version in [&TLS12, &TLS13] {
        let client = Client::with(&authority, &[version], None);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            assert_eq!(client.shake(only(&tls), "a.test").await.unwrap().kind, expected);
        }
        assert_eq!(client.shake(only(&tls), "b.test").await.unwrap().kind, HandshakeKind::Full);
    }
}

#[tokio::test]
async fn clients_need_a_certificate_where_one_is_asked_for() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let (people, strangers) = (Authority::new("people"), Authority::new("strangers"));
    authority.issue(&["a.test"]).write(folder.path(), "a");
    people.write(&folder.path().join("people.pem"));
    let tls = loaded(folder.path(), &[("a", Some("people"))]);
    let (known, unknown) = (people.issue(&["me"]), strangers.issue(&["me"]));
    let expired = people.issue_with(&["me"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for version in [&TLS12, &TLS13] {
        let shake = async |shows| {
            let client = Client::with(&authority, &[version], shows);
            client.shake(only(&tls), "a.test").await.map(|shaken| shaken.kind)
        };
        assert_eq!(shake(Some(&known)).await, Ok(HandshakeKind::Full));
        for (shows, why) in [
            (None, "no certificates"),
            (Some(&unknown), "UnknownIssuer"),
            (Some(&expired), "expired"),
        ] {
            let error = shake(shows).await.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}

/// Were it not so, whoever is let in without a certificate at one name could come back as somebody at another.
#[tokio::test]
async fn a_session_is_worth_nothing_where_other_clients_are_let_in() {
    let (folder, authority, people) = (tempfile::tempdir().unwrap(), Authority::new("a"), Authority::new("people"));
    authority.issue(&["open.test", "both.test"]).write(folder.path(), "open");
    authority.issue(&["closed.test"]).write(folder.path(), "closed");
    authority.issue(&["too.test"]).write(folder.path(), "too");
    people.write(&folder.path().join("people.pem"));
    let apart = loaded(folder.path(), &[("open", None), ("closed", Some("people")), ("too", None)]);
    let listener = only(&apart);
    let anybody = Client::new(&authority);
    assert_eq!(anybody.shake(listener, "open.test").await.unwrap().kind, HandshakeKind::Full);
    assert_eq!(anybody.shake(listener, "open.test").await.unwrap().kind, HandshakeKind::Resumed);
    assert_eq!(anybody.shake(listener, "too.test").await.unwrap().kind, HandshakeKind::Full);
    assert!(anybody.shake(listener, "closed.test").await.is_err());
    let somebody = Client::with(&authority, rustls::ALL_VERSIONS, Some(&people.issue(&["me"])));
    assert_eq!(somebody.shake(listener, "closed.test").await.unwrap().kind, HandshakeKind::Full);
    assert_eq!(somebody.shake(listener, "closed.test").await.unwrap().kind, HandshakeKind::Resumed);

    // The same names, all open at first and then all closed: sessions from before the reload end.
    let open = load(&config(folder.path(), &listener_of("open", None)), None).unwrap();
    let client = Client::new(&authority);
    client.shake(only(&open), "both.test").await.unwrap();
    let closed = load(&config(folder.path(), &listener_of("open", Some("people"))), Some(&open)).unwrap();
    assert!(client.shake(only(&closed), "both.test").await.is_err());
    let again = load(&config(folder.path(), &listener_of("open", None)), Some(&open)).unwrap();
    assert_eq!(client.shake(only(&again), "both.test").await.unwrap().kind, HandshakeKind::Resumed);
}

fn listener_of(name: &str, client_ca: Option<&str>) -> String {
    listener(&[(name, client_ca)])
}

#[tokio::test]
async fn a_request_for_a_host_with_other_rules_for_clients_is_misdirected() {
    let (folder, authority, people) = (tempfile::tempdir().unwrap(), Authority::new("a"), Authority::new("people"));
    authority.issue(&["open.test", "*.open.test"]).write(folder.path(), "open");
    authority.issue(&["closed.test"]).write(folder.path(), "closed");
    people.write(&folder.path().join("people.pem"));
    let tls = loaded(folder.path(), &[("open", None), ("closed", Some("people"))]);
    for (name, host, expected) in [
        (Some("open.test"), "open.test:8443", false),
        (Some("open.test"), "x.open.test", false),
        (Some("open.test"), "closed.test", true),
        (Some("open.test"), "CLOSED.test.:8443", true),
        (None, "closed.test:8443", true),
        (None, "elsewhere.test", false),
        (None, "[::1]:8443", false),
        (Some("closed.test"), "closed.test", false),
        (Some("closed.test"), "open.test", true),
    ] {
        assert_eq!(only(&tls).is_misdirected(name, host.as_bytes()), expected, "{name:?} {host}");
    }
    let alike = loaded(folder.path(), &[("open", Some("people")), ("closed", Some("people"))]);
    assert!(!only(&alike).is_misdirected(Some("open.test"), b"closed.test"));
}

#[tokio::test]
async fn a_handshake_may_be_given_up_at_any_moment() {
    let (folder, authority, people) = (tempfile::tempdir().unwrap(), Authority::new("a"), Authority::new("people"));
    authority.issue(&["a.test"]).write(folder.path(), "a");
    authority.issue(&["b.test"]).write(folder.path(), "b");
    people.write(&folder.path().join("people.pem"));
    for entries in [&[("a", None)][..], &[("a", None), ("b", Some("people"))]] {
        let tls = loaded(folder.path(), entries);
        let (_near, far) = tokio::io::duplex(1024);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), only(&tls).accept(far)).await;
        assert!(waited.is_err(), "a client that says nothing is waited for");
        assert!(Client::new(&authority).shake(only(&tls), "a.test").await.is_ok());
    }
}
