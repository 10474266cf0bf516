//! `type = "grpc"`, against tonic's health server.

use futures::stream;
use lb_tests::lb::Lb;
use lb_tests::origin::{Deaf, Origin};
use lb_tests::ports::Port;
use lb_tests::tls::{Authority, ServerTls};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// A health server on a port of its own.
struct Health {
    port: Port,
    reporter: HealthReporter,
}

impl Health {
    async fn start(tls: Option<ServerTlsConfig>) -> Health {
        let (reporter, service) = tonic_health::server::health_reporter();
        let port = Port::pick();
        let listener = port.listen().await.unwrap();
        let incoming = stream::unfold(listener, async |listener| {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
        Health { port, reporter }
    }

    async fn say(&self, service: &str, status: ServingStatus) {
        self.reporter.set_service_status(service, status).await;
    }
}

/// An upstream of one server whose health is asked on another port.
fn checked(origin: &Origin, port: u16, more: &str) -> String {
    format!(
        "[upstreams.app]\nservers = [\"{}\"]\n\n[upstreams.app.health_check]\ntype = \"grpc\"\nport = {port}\ninterval = \"100ms\"\ntimeout = \"2s\"\nrise = 1\nfall = 1\n{more}\n",
        origin.addr()
    )
}

async fn last_check(lb: &Lb) -> String {
    let status = lb.status().await;
    status["upstreams"][0]["servers"][0]["last_check"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_server_is_used_while_its_service_is_serving() {
    let (origin, health) = (Origin::named("a").await, Health::start(None).await);
    health.say("users.v1.Users", ServingStatus::Serving).await;
    let lb = Lb::start(&checked(&origin, health.port.number(), "service = \"users.v1.Users\"")).await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    assert_eq!(lb.get("/").await.text(), "a");
    health.say("users.v1.Users", ServingStatus::NotServing).await;
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;
    assert_eq!(last_check(&lb).await, "status NOT_SERVING, expected SERVING");
    lb.get("/").await.assert_problem(503);
    health.say("users.v1.Users", ServingStatus::Serving).await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    assert_eq!(lb.get("/").await.text(), "a");
}

#[tokio::test]
async fn without_a_service_the_server_as_a_whole_is_asked_about() {
    let (origin, health) = (Origin::named("a").await, Health::start(None).await);
    let lb = Lb::start(&checked(&origin, health.port.number(), "")).await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    health.say("", ServingStatus::NotServing).await;
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;
}

#[tokio::test]
async fn a_service_that_nobody_knows_is_not_serving() {
    let (origin, health) = (Origin::named("a").await, Health::start(None).await);
    let config = checked(&origin, health.port.number(), "service = \"orders\"");
    let lb = Lb::setup(&config).unready().start().await;
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;
    let why = last_check(&lb).await;
    assert!(why.starts_with("SERVICE_UNKNOWN"), "{why}");
}

#[tokio::test]
async fn servers_that_hang_or_speak_no_http2_fail() {
    let origin = Origin::named("a").await;
    let deaf = Deaf::start().await.unwrap();
    for port in [deaf.addr().port(), origin.addr().port()] {
        let config = checked(&origin, port, "").replace("\"2s\"", "\"500ms\"");
        let lb = Lb::setup(&config).unready().start().await;
        lb.wait_for_state("app", origin.addr(), "unhealthy").await;
    }
}

#[tokio::test]
async fn a_server_that_is_met_by_tls_is_asked_by_tls() {
    let authority = Authority::new("servers");
    let pair = || authority.issue(&["app.internal"]);
    let origin = Origin::tls(ServerTls::showing(pair()), |_| lb_tests::origin::Reply::text("secure")).await;
    let pair = pair();
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&pair.certificate, &pair.key));
    let health = Health::start(Some(tls)).await;
    let secured = |sni: &str| {
        checked(&origin, health.port.number(), "").replace(
            "\n\n[upstreams.app.health_check]",
            &format!("\nprotocol = \"https\"\ntls = {{ ca = \"ca.pem\", sni = \"{sni}\" }}\n\n[upstreams.app.health_check]"),
        )
    };
    let lb = Lb::setup(&secured("app.internal")).file("ca.pem", authority.pem()).start().await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    assert_eq!(lb.get("/").await.text(), "secure");
    health.say("", ServingStatus::NotServing).await;
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;

    let stranger = Lb::setup(&secured("users.internal"))
        .unready()
        .file("ca.pem", authority.pem())
        .start()
        .await;
    stranger.wait_for_state("app", origin.addr(), "unhealthy").await;
    let why = last_check(&stranger).await;
    assert!(why.starts_with("TLS handshake failed"), "{why}");
}
