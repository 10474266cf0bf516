//! `split`: clients in proportion to the weights, each with its own upstream.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Refusing, Reply};
use lb_tests::wait::until;

use super::{TRUSTING, address, send_as, upstream, upstream_with};

fn route(weights: &str) -> String {
    format!("[[routes]]\nname = \"split\"\nsplit = {{ {weights} }}\n")
}

/// The upstreams `a` and `b`, and a route to both.
fn config(a: &Origin, b: &Origin, weights: &str) -> String {
    format!("{TRUSTING}{}{}{}", upstream("a", a), upstream("b", b), route(weights))
}

/// Who answers each of so many clients.
async fn homes(lb: &Lb, clients: usize) -> Vec<String> {
    let mut homes = Vec::new();
    for client in 0..clients {
        let answer = send_as(lb, client, Request::get("/")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        homes.push(answer.text());
    }
    homes
}

#[tokio::test]
async fn a_client_keeps_to_its_upstream_and_a_change_of_weights_moves_only_who_must_move() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let mut lb = Lb::start(&config(&a, &b, "a = 70, b = 30")).await;
    let before = homes(&lb, 200).await;
    let on_b = before.iter().filter(|home| *home == "b").count();
    assert!((35..=85).contains(&on_b), "{on_b} of 200 clients, at 30 percent");
    assert_eq!(homes(&lb, 200).await, before, "the same clients, the same upstreams");
    lb.reload(&config(&a, &b, "a = 50, b = 50")).await;
    let after = homes(&lb, 200).await;
    let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(
        moved.iter().all(|(before, after)| (before.as_str(), after.as_str()) == ("a", "b")),
        "{moved:?}"
    );
    assert!((15..=70).contains(&moved.len()), "{} of 200 moved, of 20 percent", moved.len());
    lb.reload(&config(&a, &b, "a = 1, b = 0")).await;
    assert!(homes(&lb, 50).await.iter().all(|home| home == "a"), "a weight of 0 gets nobody");
}

#[tokio::test]
async fn what_is_counted_and_logged_is_the_upstream_that_was_chosen() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let lb = Lb::start(&config(&a, &b, "a = 50, b = 50")).await;
    let homes = homes(&lb, 40).await;
    let metrics = lb.metrics_after(40).await;
    for (name, origin) in [("a", &a), ("b", &b)] {
        let due = homes.iter().filter(|home| *home == name).count();
        assert!(due > 0);
        assert_eq!(origin.count(), due);
        assert_eq!(metrics.sum("lb_upstream_requests_total", &[("upstream", name)]), due as f64);
        assert_eq!(lb.servers(name).await[0].requests, due as u64);
    }
    let lines = lb.log_lines(40).await;
    // One after the other, but of different connections, whose lines may change places.
    for line in &lines {
        let client = (0..40)
            .find(|client| line["client"] == address(*client))
            .expect("one of the clients");
        assert_eq!(line["upstream"], homes[client], "{line}");
    }
}

#[tokio::test]
async fn the_store_keeps_what_comes_from_different_upstreams_apart() {
    let fresh = |name: &'static str| move |_: &_| Reply::text(name).header("Cache-Control", "max-age=60");
    let (a, b) = (Origin::start(fresh("a")).await, Origin::start(fresh("b")).await);
    let lb = Lb::start(&format!("{}cache = {{}}\n", config(&a, &b, "a = 50, b = 50"))).await;
    let first = homes(&lb, 40).await;
    assert!(first.contains(&"a".to_owned()) && first.contains(&"b".to_owned()));
    until("both are stored", async || {
        let again = homes(&lb, 40).await;
        assert_eq!(again, first);
        let before = (a.count(), b.count());
        homes(&lb, 40).await;
        (a.count(), b.count()) == before
    })
    .await;
}

#[tokio::test]
async fn a_try_again_stays_in_its_upstream() {
    let failing = Origin::start(|_| Reply::new(503).body("a")).await;
    let b = Origin::named("b").await;
    let twice = "retry = { attempts = 3, budget_percent = 100 }";
    let lb = Lb::start(&format!(
        "{TRUSTING}{}{}{}",
        upstream_with("a", &failing, twice),
        upstream_with("b", &b, twice),
        route("a = 50, b = 50")
    ))
    .await;
    for client in 0..40 {
        let answer = send_as(&lb, client, Request::get("/")).await;
        assert_eq!(answer.status == 503, answer.text() == "a");
    }
    assert_eq!(failing.count() + b.count(), 40);
}

#[tokio::test]
async fn an_upstream_without_a_server_that_is_up_is_passed_over() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let check = "health_check = { path = \"/check\", interval = \"50ms\", rise = 1, fall = 1 }";
    let lb = Lb::start(&format!(
        "{TRUSTING}{}{}{}",
        upstream_with("a", &a, check),
        upstream_with("b", &b, check),
        route("a = 50, b = 50")
    ))
    .await;
    lb.wait_for_state("a", a.addr(), "healthy").await;
    lb.wait_for_state("b", b.addr(), "healthy").await;
    let before = homes(&lb, 40).await;
    a.set_check(Reply::new(500));
    lb.wait_for_state("a", a.addr(), "unhealthy").await;
    assert!(homes(&lb, 40).await.iter().all(|home| home == "b"));
    a.set_check(Reply::new(200));
    lb.wait_for_state("a", a.addr(), "healthy").await;
    assert_eq!(homes(&lb, 40).await, before, "and its clients come back");
}

#[tokio::test]
async fn an_upstream_whose_servers_take_no_connection_fails_nobody() {
    let (refusing, b) = (Refusing::start(), Origin::named("b").await);
    let lb = Lb::start(&format!(
        "{TRUSTING}[upstreams.a]\nservers = [\"{}\"]\npassive_health = \"off\"\n\n{}{}",
        refusing.addr(),
        upstream("b", &b),
        route("a = 50, b = 50")
    ))
    .await;
    for client in 0..40 {
        assert_eq!(send_as(&lb, client, Request::get("/")).await.text(), "b");
        assert_eq!(send_as(&lb, client, Request::post("/", "a body")).await.text(), "b");
    }
    let metrics = lb.metrics_after(80).await;
    assert!(metrics.sum("lb_upstream_requests_total", &[("upstream", "a"), ("code", "502")]) > 0.0);
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn explain_shows_the_shares_and_says_whose_a_client_is() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let lb = Lb::start(&config(&a, &b, "a = 95, b = 5")).await;
    let file = lb.config_path();
    let all = command::lb(&["explain", "-c", &file, "http://lb.test/"]).await;
    assert_eq!(all.code, 0, "{}", all.stderr);
    for part in ["a 95 %", "b 5 %", &a.addr().to_string(), &b.addr().to_string()] {
        assert!(all.stdout.contains(part), "no {part} in {}", all.stdout);
    }
    let homes = homes(&lb, 60).await;
    let on_b = homes.iter().position(|home| home == "b").expect("one of sixty, at five percent");
    for (client, home) in [(on_b, "b"), (homes.iter().position(|home| home == "a").unwrap(), "a")] {
        let address = address(client);
        let one = command::lb(&["explain", "-c", &file, "--client", &address, "http://lb.test/"]).await;
        assert!(one.stdout.contains(&format!("{address} gets {home};")), "{}", one.stdout);
    }
}

#[tokio::test]
async fn a_request_that_is_under_way_stays_where_it_is_when_the_weights_change() {
    let (a, b) = (Origin::held("a").await, Origin::held("b").await);
    let mut lb = Lb::start(&config(&a, &b, "a = 1, b = 0")).await;
    let mut connection = lb.connect().await.patience(Duration::from_secs(30));
    connection.write(Request::get("/").bytes()).await;
    a.wait_for(1).await;
    lb.reload(&config(&a, &b, "a = 0, b = 1")).await;
    a.release_all();
    assert_eq!(connection.response("GET").await.unwrap().text(), "a");
    b.release_all();
    assert_eq!(lb.get("/").await.text(), "b");
}
