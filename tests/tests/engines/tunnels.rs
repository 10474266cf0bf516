//! Upgrades, agreed to and not.

use lb_tests::client::Request;

use super::pair::{Case, Pair};

fn upgrade(target: &str) -> Request {
    let request = Request::get(target).header("Connection", "Upgrade").header("Upgrade", "websocket");
    request
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
}

#[tokio::test]
async fn upgrades() {
    Pair::start()
        .await
        .finish(vec![
            Case::of("not agreed to", &upgrade("/x")),
            Case::of("refused by the server", &upgrade("/404")),
            Case::of("failed", &upgrade("/nothing")),
            Case::of("for a fixed answer", &upgrade("/respond")),
            Case::of("with a body", &upgrade("/echo").body("body")),
            Case::of("over HTTP/1.0", &upgrade("/x").http10()),
            Case::of("on a cached route", &upgrade("/cached/fresh")),
            Case::of(
                "of two protocols",
                &Request::get("/x").header("Connection", "upgrade").header("Upgrade", "foo/2, bar"),
            ),
        ])
        .await;
}

#[tokio::test]
async fn a_tunnel() {
    let mut pair = Pair::start().await;
    pair.send(Case::of("agreed to", &upgrade("/tunnel"))).await;
    pair.assert_same();
}
