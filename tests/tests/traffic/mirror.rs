//! `mirror`: what the other upstream gets.

use bytes::Bytes;
use lb_tests::client::Request;
use lb_tests::h2c;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Seen};
use lb_tests::tls::{Authority, ServerTls};
use lb_tests::wait::until;

use super::{upstream, upstream_with};

/// All to `app`, and copies to `next`.
pub(super) fn config(app: &Origin, next: &Origin, percent: &str) -> String {
    format!("{}{}{}", upstream("app", app), upstream("next", next), route(percent))
}

pub(super) fn route(percent: &str) -> String {
    format!("[[routes]]\nname = \"copied\"\nupstream = \"app\"\nmirror = {{ upstream = \"next\", percent = {percent} }}\n")
}

/// Waits until so many copies have had this result.
pub(super) async fn wait_for(lb: &Lb, result: &str, count: usize) {
    until(&format!("{count} copies are {result}"), async || counted(lb, result).await >= count).await;
    assert_eq!(counted(lb, result).await, count, "{result}");
}

pub(super) async fn counted(lb: &Lb, result: &str) -> usize {
    let labels = [("route", "copied"), ("result", result)];
    lb.metrics().await.sum("lb_mirrored_total", &labels) as usize
}

/// What must be the same in a request and its copy.
fn content(seen: &Seen) -> (String, String, Vec<u8>, Vec<(String, String)>) {
    let but = ["x-lb-mirror", "content-length", "transfer-encoding", "connection"];
    let mut fields: Vec<_> = seen
        .headers
        .0
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .filter(|(name, _)| !but.contains(&name.as_str()))
        .collect();
    fields.sort();
    (seen.method.clone(), seen.target.clone(), seen.body.clone(), fields)
}

#[tokio::test]
async fn a_copy_is_the_same_request_and_says_that_it_is_one() {
    let (app, next) = (Origin::start(|_| Reply::echo()).await, Origin::named("next").await);
    let lb = Lb::start(&format!(
        "{}rewrite = {{ strip_prefix = \"/api\" }}\nrequest_headers = {{ set = {{ x-api = \"1\" }} }}\n",
        config(&app, &next, "100")
    ))
    .await;
    let chunks = || vec![Bytes::from_static(b"in "), Bytes::from_static(b"pieces")];
    let requests = [
        Request::get("/api/a?b=%20c")
            .header("X-Request-ID", "mine")
            .header("Cookie", "a=b; c=d"),
        Request::head("/api/"),
        Request::post("/api/users", "a body"),
        Request::post("/api/users", vec![b'x'; 60_000]),
        Request::new("PUT", "/api/users/7").chunks(chunks()),
        Request::new("DELETE", "/api/users/7"),
        Request::post("/api/empty", ""),
        Request::post("/api/later", "told to go on").header("Expect", "100-continue"),
    ];
    let mut connection = lb.connect().await;
    for (number, request) in (1..).zip(&requests) {
        assert_eq!(connection.send(request).await.unwrap().status, 200);
        next.wait_for(number).await;
        until("both have come whole", async || app.last().whole && next.last().whole).await;
        let (original, copy) = (app.last(), next.last());
        assert_eq!(content(&copy), content(&original));
        assert_eq!((copy.header("x-lb-mirror"), copy.header("host")), ("1", "lb.test"));
        assert_eq!(original.headers.get("x-lb-mirror"), None);
        assert_eq!(copy.headers.get("expect"), None);
    }
    wait_for(&lb, "sent", requests.len()).await;
    assert_eq!(counted(&lb, "failed").await + counted(&lb, "dropped").await, 0);
    let metrics = lb.metrics().await;
    assert_eq!(metrics.sum("lb_upstream_requests_total", &[("upstream", "next")]), 8.0);
    assert_eq!(metrics.sum("lb_requests_total", &[]), 8.0, "a copy is no request of a client");
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn requests_over_http_2_are_copied_as_well() {
    let (app, next) = (Origin::start(|_| Reply::echo()).await, Origin::named("next").await);
    let lb = Lb::start(&config(&app, &next, "100")).await;
    let mut client = h2c::Client::connect(lb.listen()).await;
    for (number, body) in [(1, &b""[..]), (2, b"a body")] {
        assert_eq!(client.request("POST", "/a?b", body).await.body.as_ref(), body);
        next.wait_for(number).await;
        until("it has come whole", async || next.last().whole).await;
        assert_eq!(content(&next.last()), content(&app.last()));
    }
    wait_for(&lb, "sent", 2).await;
}

#[tokio::test]
async fn copies_share_connections_and_the_upstream_s_own_host_is_used() {
    let (app, next) = (Origin::named("app").await, Origin::named("next").await);
    let lb = Lb::start(&format!(
        "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\nthreads = 1\n\n{}{}{}",
        upstream("app", &app),
        upstream_with("next", &next, "host = \"next.internal\""),
        route("100")
    ))
    .await;
    for number in 1..=20 {
        assert_eq!(lb.get("/").await.text(), "app");
        wait_for(&lb, "sent", number).await;
    }
    assert_eq!(next.last().header("host"), "next.internal");
    assert!(
        next.connections() <= 2,
        "{} connections for twenty copies one after the other",
        next.connections()
    );
}

#[tokio::test]
async fn a_mirror_is_met_by_tls_where_its_upstream_says_so() {
    let authority = Authority::new("servers");
    let app = Origin::named("app").await;
    let next = Origin::tls(ServerTls::showing(authority.issue(&["next.internal"])), |_| Reply::text("next")).await;
    let tls = "protocol = \"https\"\ntls = { ca = \"ca.pem\", sni = \"next.internal\" }";
    let config = format!("{}{}{}", upstream("app", &app), upstream_with("next", &next, tls), route("100"));
    let lb = Lb::setup(&config).file("ca.pem", authority.pem()).start().await;
    for number in 1..=3 {
        assert_eq!(lb.send(&Request::post("/", "secret")).await.text(), "app");
        wait_for(&lb, "sent", number).await;
    }
    assert_eq!(
        (next.last().sni.as_deref(), next.last().body.as_slice()),
        (Some("next.internal"), &b"secret"[..])
    );
}

#[tokio::test]
async fn so_many_percent_are_copied_and_a_reload_changes_that() {
    let (app, next) = (Origin::named("app").await, Origin::named("next").await);
    let mut lb = Lb::start(&config(&app, &next, "25.5")).await;
    let mut connection = lb.connect().await;
    for _ in 0..200 {
        connection.send(&Request::get("/")).await.unwrap();
    }
    until("every copy is over", async || counted(&lb, "sent").await == next.count()).await;
    let copies = next.count();
    // 51, give or take five standard deviations.
    assert!((20..=82).contains(&copies), "{copies} of 200");
    lb.reload(&config(&app, &next, "0")).await;
    for _ in 0..50 {
        lb.get("/").await;
    }
    assert_eq!(next.count(), copies);
}

#[tokio::test]
async fn answers_of_the_store_and_of_lb_and_upgrades_are_not_copied() {
    let app = Origin::start(|seen| match seen.headers.get("upgrade") {
        Some(protocol) => Reply::tunnel(protocol),
        None => Reply::text("fresh").header("Cache-Control", "max-age=60"),
    })
    .await;
    let next = Origin::named("next").await;
    let lb = Lb::start(&format!(
        "{}cache = {{}}\n\n[[routes]]\npath = \"/own\"\nrespond = {{ body = \"own\" }}\n",
        config(&app, &next, "100")
    ))
    .await;
    until("it is stored", async || lb.get("/").await.is_hit()).await;
    let asked = app.count();
    wait_for(&lb, "sent", asked).await;
    for _ in 0..10 {
        assert!(lb.get("/").await.is_hit());
        lb.get("/own").await;
    }
    let upgrade = Request::get("/tunnel").header("Connection", "Upgrade").header("Upgrade", "echo");
    let (answer, connection) = lb.send_raw(upgrade.bytes()).await;
    assert_eq!(answer.status, 101);
    drop(connection);
    lb.wait_until_idle().await;
    assert_eq!(next.count(), asked);
    assert_eq!(counted(&lb, "dropped").await, 0);
}

#[tokio::test]
async fn a_request_that_is_tried_again_is_copied_once() {
    let app = Origin::start(|_| Reply::new(503)).await;
    let (spare, next) = (Origin::named("spare").await, Origin::named("next").await);
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [\"{}\", {{ address = \"{}\", backup = true }}]\npassive_health = \"off\"\n\n{}{}",
        app.addr(),
        spare.addr(),
        upstream("next", &next),
        route("100")
    ))
    .await;
    for number in 1..=5 {
        assert_eq!(lb.send(&Request::new("PUT", "/").body("a body")).await.text(), "spare");
        wait_for(&lb, "sent", number).await;
    }
    assert_eq!((app.count(), next.count()), (5, 5));
    assert_eq!(next.last().body, b"a body");
}
