//! The key does what it says, also by a reload.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::origin::{Origin, Reply};

fn config(engine: &str, origin: &Origin) -> String {
    let server = format!("[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\n{engine}\n\n");
    format!("{server}[upstreams.app]\nservers = [\"{}\"]\n", origin.addr())
}

/// Which engine serves, by what one of them lacks: trailers.
async fn serves(lb: &Lb) -> &'static str {
    let request = Request::get("/trailers").header("TE", "trailers").header("Connection", "TE");
    let answer = lb.send(&request).await;
    assert_eq!(answer.text(), "hello");
    if answer.trailers.is_empty() { "pingora" } else { "relay" }
}

#[tokio::test]
async fn the_engine_is_the_one_that_is_asked_for_and_may_change_under_load() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/trailers" => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n"),
        _ => Reply::text("origin"),
    })
    .await;
    // the engine that is asked for here, whatever the test process is for
    let mut lb = Lb::setup(&config("engine = \"relay\"", &origin)).start().await;
    assert_eq!(serves(&lb).await, "relay");
    let load = Load::new(lb.listen(), &["/a", "/b"])
        .connections(8)
        .pace(Duration::from_millis(5))
        .check(|_, answer| answer.body == b"origin")
        .start();
    for engine in ["pingora", "relay", "pingora", "relay"] {
        lb.reload(&config(&format!("engine = \"{engine}\""), &origin)).await;
        assert_eq!(serves(&lb).await, engine);
        load.more(50).await;
    }
    load.stop().await.assert_none_failed();
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn without_the_key_it_is_the_relay() {
    let origin =
        Origin::start(|_| Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n")).await;
    let mut lb = Lb::start(&config("engine = \"pingora\"", &origin)).await;
    assert_eq!(serves(&lb).await, "pingora");
    lb.write_config_exactly(&config("", &origin));
    assert!(lb.hang_up().await, "{}", lb.stderr());
    assert_eq!(serves(&lb).await, "relay");
}
