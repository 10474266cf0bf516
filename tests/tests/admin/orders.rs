//! `POST /api/upstreams/{name}/servers/{address}`: what it takes, and what it answers.

use lb_tests::client::{Request, Response};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use lb_tests::wait::until;

async fn two() -> (Lb, Origin, Origin) {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[a.addr(), b.addr()]))).await;
    (lb, a, b)
}

fn assert_problem(answer: &Response, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["status"], status);
}

#[tokio::test]
async fn it_answers_with_the_servers_new_state_as_the_status_has_it() {
    let (lb, a, _b) = two().await;
    for (body, state, ordered, weight) in [
        (r#"{"state": "drain"}"#, "draining", "drain", 1),
        (r#"{"weight": 7}"#, "draining", "drain", 7),
        (r#"{"state": "down", "weight": 2}"#, "down", "down", 2),
        (r#"{"state": "ready"}"#, "healthy", "ready", 2),
    ] {
        let answer = lb.order("app", a.addr(), body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        assert_eq!(
            (&json["state"], &json["ordered"], &json["weight"]),
            (&state.into(), &ordered.into(), &weight.into()),
            "{json}"
        );
        assert_eq!(lb.status().await["upstreams"][0]["servers"][0], json);
        let labels = [("upstream", "app"), ("server", &a.addr().to_string() as &str)];
        let healthy = lb.metrics().await.value("lb_upstream_healthy", &labels);
        assert_eq!(healthy, Some(f64::from(u8::from(state == "healthy"))), "{state}");
    }
}

#[tokio::test]
async fn what_is_unknown_is_404_and_names_what_there_is() {
    let (lb, a, b) = two().await;
    let answer = lb.order("ap", a.addr(), r#"{"state": "drain"}"#).await;
    assert_problem(&answer, 404);
    assert!(answer.text().contains("there is no upstream ap; there is app"), "{}", answer.text());
    let answer = lb.order("app", "127.0.0.1:1", r#"{"state": "drain"}"#).await;
    assert_problem(&answer, 404);
    for part in ["127.0.0.1:1", &a.addr().to_string(), &b.addr().to_string()] {
        assert!(answer.text().contains(part), "{part} is not in {}", answer.text());
    }
}

#[tokio::test]
async fn a_wrong_body_is_400_and_changes_nothing() {
    let (lb, a, _b) = two().await;
    let before = lb.servers("app").await;
    for body in [
        "",
        "drain",
        "[]",
        "{}",
        r#"["drain", 3]"#,
        r#"{"state": "off"}"#,
        r#"{"state": 1}"#,
        r#"{"weight": -1}"#,
        r#"{"weight": "3"}"#,
        r#"{"weight": 1.5}"#,
        r#"{"weight": 65536}"#,
        r#"{"state": "drain", "wait": true}"#,
        r#"{"state": "drain", "weight": 70000}"#,
    ] {
        let answer = lb.order("app", a.addr(), body).await;
        assert_problem(&answer, 400);
        assert!(answer.text().contains("expected"), "{body}: {}", answer.text());
    }
    let path = "/api/upstreams/app/servers/%FF";
    let answer = lb.admin(&Request::post(path, r#"{"state": "drain"}"#)).await;
    assert_problem(&answer, 400);
    assert_eq!(lb.servers("app").await, before);
}

#[tokio::test]
async fn a_page_from_elsewhere_cannot_drain_a_server() {
    let (lb, a, _b) = two().await;
    let path = format!("/api/upstreams/app/servers/{}", a.addr().to_string().replace(':', "%3A"));
    let foreign = Request::post(&path, r#"{"state": "drain"}"#).header("Origin", "http://evil.example");
    assert_eq!(lb.admin(&foreign).await.status, 403);
    assert_eq!(lb.server("app", a.addr()).await.state, "healthy");
}

#[tokio::test]
async fn unix_sockets_and_ipv6_have_addresses_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b.sock");
    let socket = Origin::unix(&path, |_| Reply::text("socket")).await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [\"unix:{}\", \"[::1]:1\"]\npassive_health = \"off\"\n",
        path.display()
    ))
    .await;
    let address = format!("unix:{}", path.display());
    lb.set_state("app", "[0:0::1]:1", "down").await;
    assert_eq!(lb.get("/").await.text(), "socket");
    lb.set_state("app", &address, "drain").await;
    lb.get("/").await.assert_problem(503);
    let states: Vec<_> = lb.servers("app").await.into_iter().map(|server| server.state).collect();
    assert_eq!(states, ["draining", "down"]);
    lb.set_state("app", &address, "ready").await;
    assert_eq!(lb.get("/").await.text(), "socket");
    assert_eq!(socket.count(), 2);
}

#[tokio::test]
async fn with_every_server_drained_it_is_not_ready() {
    let (lb, a, b) = two().await;
    for origin in [&a, &b] {
        lb.set_state("app", origin.addr(), "drain").await;
    }
    assert_eq!(lb.admin_get("/readyz").await.status, 503);
    lb.set_state("app", b.addr(), "ready").await;
    assert_eq!(lb.admin_get("/readyz").await.status, 200);
}

#[tokio::test]
async fn an_order_outlives_reloads_until_the_file_changes_that_server() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let config = |weight: usize, more: &str| {
        format!(
            "[upstreams.app]\nservers = [{{ address = \"{}\", weight = {weight} }}, \"{}\"]\n{more}\n",
            a.addr(),
            b.addr()
        )
    };
    let mut lb = Lb::start(&config(1, "")).await;
    lb.set_state("app", a.addr(), "drain").await;
    lb.order("app", b.addr(), r#"{"weight": 5}"#).await;
    for more in ["", "keepalive = 5", "balance = \"round_robin\"\npanic_percent = 50"] {
        lb.reload(&config(1, more)).await;
        assert_eq!(lb.server("app", a.addr()).await.state, "draining", "{more}");
        assert_eq!(lb.server("app", b.addr()).await.weight, 5, "{more}");
        assert_eq!(lb.get("/").await.text(), "b");
    }
    lb.write_config("[upstreams.app]\nservers = []\n");
    assert!(!lb.hang_up().await, "a wrong file");
    assert_eq!(lb.server("app", a.addr()).await.state, "draining");
    lb.reload(&config(2, "")).await;
    let server = lb.server("app", a.addr()).await;
    assert_eq!((server.state.as_str(), server.weight), ("healthy", 2));
    assert_eq!(lb.server("app", b.addr()).await.weight, 5, "nothing new was said about this one");
    until("it is used again", async || lb.get("/").await.text() == "a").await;
}

#[tokio::test]
async fn orders_and_reloads_at_once_lose_no_order() {
    let (lb, a, b) = two().await;
    for round in 0..10 {
        let state = if round % 2 == 0 { "down" } else { "ready" };
        let body = format!("{{\"state\": \"{state}\"}}");
        let (_, answer, _) = tokio::join!(lb.reload_by_api(), lb.order("app", a.addr(), &body), lb.reload_by_api());
        assert_eq!(answer.status, 200);
        let due = if state == "down" { "down" } else { "healthy" };
        assert_eq!(lb.server("app", a.addr()).await.state, due, "round {round}");
        assert_eq!(lb.server("app", b.addr()).await.state, "healthy");
    }
}
