//! TLS to servers: verified, always.

use lb_tests::client::{Request, Response};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::tls::{Authority, ServerTls};
use lb_tests::wait::until;

use super::with_files;

async fn secure(tls: ServerTls) -> Origin {
    Origin::tls(tls, |_| Reply::echo()).await
}

/// An `lb` before this server, which it speaks TLS to with these settings; the authority to trust is in `ca.pem`.
async fn before(origin: &Origin, authority: &Authority, address: &str, tls: &str) -> Lb {
    let address = address.replace("PORT", &origin.addr().port().to_string());
    let config = format!(
        "[upstreams.app]\nservers = [\"{address}\"]\nprotocol = \"https\"\npassive_health = \"off\"\nretry = \"off\"\n\n[upstreams.app.tls]\n{tls}\n"
    );
    let client = authority.issue_client("lb");
    let setup = Lb::setup(&config).unready().file("ca.pem", authority.pem());
    with_files(setup, "client", &client).start().await
}

const BY_NAME: &str = "ca = \"ca.pem\"\nsni = \"app.internal\"";

async fn post(lb: &Lb) -> Response {
    lb.send(&Request::post("/", "body")).await
}

#[tokio::test]
async fn a_server_with_a_certificate_of_that_authority_for_that_name_is_spoken_to() {
    let authority = Authority::new("servers");
    let origin = secure(ServerTls::showing(authority.issue(&["app.internal"]))).await;
    let lb = before(&origin, &authority, "127.0.0.1:PORT", BY_NAME).await;
    for _ in 0..5 {
        let answer = post(&lb).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    }
    let seen = origin.last();
    assert_eq!((seen.sni.as_deref(), seen.header("host")), (Some("app.internal"), "lb.test"));
    assert_eq!(seen.header("x-forwarded-proto"), "http", "that is about the client");
    assert!(
        origin.connections() <= 2,
        "{} connections for five requests one after the other",
        origin.connections()
    );
}

#[tokio::test]
async fn a_server_that_is_named_by_its_host_is_asked_for_that_name() {
    let authority = Authority::new("servers");
    let origin = secure(ServerTls::showing(authority.issue(&["localhost"]))).await;
    let lb = before(&origin, &authority, "localhost:PORT", "ca = \"ca.pem\"").await;
    // it may have more addresses than the one that the server listens on
    until("it is served", async || post(&lb).await.status == 200).await;
    assert_eq!(origin.last().sni.as_deref(), Some("localhost"));
}

#[tokio::test]
async fn a_server_without_a_name_is_verified_by_its_address() {
    let authority = Authority::new("servers");
    let origin = secure(ServerTls::showing(authority.issue(&["127.0.0.1"]))).await;
    let lb = before(&origin, &authority, "127.0.0.1:PORT", "ca = \"ca.pem\"").await;
    assert_eq!(post(&lb).await.text(), "body");
    assert_eq!(origin.last().sni, None, "an address is no name to ask for");
    // an address is in no certificate for names, and then nothing is sent
    let other = secure(ServerTls::showing(authority.issue(&["app.internal"]))).await;
    let lb = before(&other, &authority, "127.0.0.1:PORT", "ca = \"ca.pem\"").await;
    post(&lb).await.assert_problem(502);
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_does_not_prove_who_it_is() {
    let (authority, stranger) = (Authority::new("servers"), Authority::new("stranger"));
    for (what, pair) in [
        ("another authority's certificate", stranger.issue(&["app.internal"])),
        ("a certificate for another name", authority.issue(&["other.internal"])),
        ("an expired certificate", authority.issue_expired(&["app.internal"])),
        ("a certificate for clients", authority.issue_client("app.internal")),
    ] {
        let origin = secure(ServerTls::showing(pair)).await;
        let lb = before(&origin, &authority, "127.0.0.1:PORT", BY_NAME).await;
        let answer = post(&lb).await;
        assert_eq!(answer.status, 502, "{what}: {}", answer.text());
        answer.assert_problem(502);
        assert_eq!(origin.count(), 0, "{what}");
    }
}

#[tokio::test]
async fn without_a_ca_of_its_own_those_of_the_system_are_trusted_and_no_other() {
    let authority = Authority::new("servers");
    let origin = secure(ServerTls::showing(authority.issue(&["app.internal"]))).await;
    let lb = before(&origin, &authority, "127.0.0.1:PORT", "sni = \"app.internal\"").await;
    post(&lb).await.assert_problem(502);
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_502() {
    let (authority, origin) = (Authority::new("servers"), Origin::named("plain").await);
    let lb = before(&origin, &authority, "127.0.0.1:PORT", BY_NAME).await;
    post(&lb).await.assert_problem(502);
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let authority = Authority::new("servers");
    let asking = |names: &[&str]| ServerTls::showing(authority.issue(names)).asking(&authority);
    let origin = secure(asking(&["app.internal"])).await;
    let with = format!("{BY_NAME}\ncertificate = \"client.pem\"\nkey = \"client.key\"");
    let lb = before(&origin, &authority, "127.0.0.1:PORT", &with).await;
    assert_eq!(post(&lb).await.text(), "body");
    let shown = origin.last().client_certificate.expect("a certificate");
    assert_eq!(
        shown,
        std::fs::read_to_string(lb.folder().join("client.pem"))
            .map(|pem| der(&pem))
            .unwrap()
    );
    let without = before(&origin, &authority, "127.0.0.1:PORT", BY_NAME).await;
    post(&without).await.assert_problem(502);
    assert_eq!(origin.count(), 1);
}

/// The bytes of a certificate in a file.
fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_failed_handshake_is_a_failed_connection_and_another_server_is_tried() {
    let (authority, stranger) = (Authority::new("servers"), Authority::new("stranger"));
    let good = secure(ServerTls::showing(authority.issue(&["app.internal"]))).await;
    let bad = secure(ServerTls::showing(stranger.issue(&["app.internal"]))).await;
    let config = format!(
        "[upstreams.app]\nbalance = \"round_robin\"\nservers = [\"{}\", \"{}\"]\nprotocol = \"https\"\npassive_health = \"off\"\nretry = {{ budget_percent = 100 }}\n\n[upstreams.app.tls]\n{BY_NAME}\n",
        bad.addr(),
        good.addr()
    );
    let lb = Lb::setup(&config).unready().file("ca.pem", authority.pem()).start().await;
    for _ in 0..6 {
        // not idempotent, but nothing was sent
        assert_eq!(post(&lb).await.text(), "body");
    }
    assert_eq!((good.count(), bad.count()), (6, 0));
}

#[tokio::test]
async fn upstreams_of_different_trust_share_no_connection() {
    let (authority, stranger) = (Authority::new("servers"), Authority::new("stranger"));
    let origin = secure(ServerTls::showing(authority.issue(&["app.internal", "other.internal"]))).await;
    let upstream = |name: &str, tls: &str| {
        format!(
            "[upstreams.{name}]\nservers = [\"{}\"]\nprotocol = \"https\"\npassive_health = \"off\"\nretry = \"off\"\n\n[upstreams.{name}.tls]\n{tls}\n\n[[routes]]\npath = \"/{name}\"\nupstream = \"{name}\"\n\n",
            origin.addr()
        )
    };
    let config = [
        upstream("good", BY_NAME),
        upstream("other", "ca = \"ca.pem\"\nsni = \"other.internal\""),
        upstream("bad", "ca = \"stranger.pem\"\nsni = \"app.internal\""),
    ]
    .concat();
    let setup = Lb::setup(&config).unready().file("ca.pem", authority.pem());
    let lb = setup.file("stranger.pem", stranger.pem()).start().await;
    for _ in 0..5 {
        assert_eq!(lb.get("/good").await.status, 200);
        assert_eq!(origin.last().sni.as_deref(), Some("app.internal"));
        assert_eq!(lb.get("/other").await.status, 200);
        assert_eq!(origin.last().sni.as_deref(), Some("other.internal"));
        // the kept connection is to a server that this upstream does not trust
        lb.get("/bad").await.assert_problem(502);
    }
    assert_eq!(origin.count_of("/bad"), 0);
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole_only_after_a_goodbye() {
    let authority = Authority::new("servers");
    for goodbye in [true, false] {
        let tls = ServerTls::showing(authority.issue(&["app.internal"]));
        let tls = if goodbye { tls } else { tls.without_goodbye() };
        let origin = Origin::tls(tls, |_| Reply::new(200).until_close("all of it?")).await;
        let lb = before(&origin, &authority, "127.0.0.1:PORT", BY_NAME).await;
        match lb.try_send(&Request::get("/")).await {
            Ok(answer) if answer.status == 200 => {
                assert_eq!((answer.text().as_str(), answer.cut), ("all of it?", !goodbye));
            }
            Ok(answer) => assert!(!goodbye && answer.status == 502, "{answer:?}"),
            Err(failure) => assert!(!goodbye, "{failure:?}"),
        }
    }
}
