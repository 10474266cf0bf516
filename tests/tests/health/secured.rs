//! Checks of servers that speak TLS verify what requests verify.

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::tls::{Authority, ServerTls};

async fn before(origin: &Origin, trusted: &Authority, name: &str) -> Lb {
    let config = format!(
        "[upstreams.app]\nservers = [\"{}\"]\nprotocol = \"https\"\n\n[upstreams.app.tls]\nca = \"ca.pem\"\nsni = \"{name}\"\n\n[upstreams.app.health_check]\ntype = \"http\"\npath = \"/check\"\ninterval = \"100ms\"\ntimeout = \"5s\"\nrise = 1\nfall = 1\n",
        origin.addr()
    );
    Lb::setup(&config).unready().file("ca.pem", trusted.pem()).start().await
}

async fn last_check(lb: &Lb) -> String {
    let status = lb.status().await;
    status["upstreams"][0]["servers"][0]["last_check"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn an_https_server_is_asked_over_tls() {
    let authority = Authority::new("servers");
    let tls = ServerTls::showing(authority.issue(&["app.internal"]));
    let origin = Origin::tls(tls, |_| Reply::text("secure")).await;
    let lb = before(&origin, &authority, "app.internal").await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    assert_eq!(origin.checks()[0].sni.as_deref(), Some("app.internal"));
    assert_eq!(lb.get("/").await.text(), "secure");
    origin.set_check(Reply::new(503));
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;
    assert_eq!(last_check(&lb).await, "status 503, expected 200-299");
}

#[tokio::test]
async fn one_that_cannot_be_verified_is_unhealthy() {
    let (authority, other) = (Authority::new("servers"), Authority::new("others"));
    let tls = || ServerTls::showing(authority.issue(&["app.internal"]));
    let origin = Origin::tls(tls(), |_| Reply::text("secure")).await;
    for lb in [
        before(&origin, &other, "app.internal").await,
        before(&origin, &authority, "users.internal").await,
    ] {
        lb.wait_for_state("app", origin.addr(), "unhealthy").await;
        let why = last_check(&lb).await;
        assert!(why.starts_with("TLS handshake failed: "), "{why}");
    }
    assert_eq!(origin.checks().len(), 0);
}
