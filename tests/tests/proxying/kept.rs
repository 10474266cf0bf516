//! Connections to servers that wait in the pool.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::until;

use super::smallest;

const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";

/// Everything to one server, without retries or ejection to hide a failure.
fn unforgiving(origin: &Origin) -> String {
    format!("{}passive_health = \"off\"\nretry = \"off\"\n", smallest(origin))
}

/// An `lb` with one worker, so that the next request meets the connection that the last one left.
async fn one_worker(origin: &Origin) -> Lb {
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\nthreads = 1\n\n";
    Lb::start(&format!("{server}{}", unforgiving(origin))).await
}

#[tokio::test]
async fn c20_bytes_on_an_idle_connection_are_nobody_s_answer() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/first" => Reply::text("true").then(Step::Hold).then(Step::write(FORGED)),
        _ => Reply::text("true"),
    })
    .await;
    let lb = one_worker(&origin).await;
    for round in 1..=5 {
        assert_eq!(lb.get("/first").await.text(), "true");
        lb.wait_until_idle().await;
        origin.release(1);
        until("the forged answer is written", async || origin.active() == 0).await;
        let answer = lb.get("/next").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "true"), "round {round}");
        let seen = origin.requests();
        let [.., first, next] = seen.as_slice() else { panic!("{seen:?}") };
        assert_ne!(first.connection, next.connection, "the connection with the forged answer was used");
    }
}

#[tokio::test]
async fn c20_and_those_that_come_in_one_piece_with_an_answer_are_not_either() {
    for extra in [FORGED, "\r\n", "x"] {
        let origin = Origin::start(move |seen| match seen.target.as_str() {
            "/length" => Reply::raw(["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue", extra].concat()),
            "/chunks" => Reply::raw(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n0\r\n\r\n", extra].concat()),
            _ => Reply::text("true"),
        })
        .await;
        let lb = one_worker(&origin).await;
        for target in ["/length", "/chunks"] {
            assert_eq!(lb.get(target).await.text(), "true", "{extra:?}");
            assert_eq!(lb.get("/next").await.text(), "true", "{target} {extra:?}");
            let seen = origin.requests();
            let [.., first, next] = seen.as_slice() else { panic!("{seen:?}") };
            assert_ne!(first.connection, next.connection, "{target} {extra:?}: its connection was used");
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_it_waited_fails_no_request() {
    for end in [Step::Close, Step::Reset] {
        let origin = Origin::start(move |seen| match seen.target.as_str() {
            "/last" => Reply::text("good").then(Step::Hold).then(end.clone()),
            _ => Reply::text("good"),
        })
        .await;
        let lb = one_worker(&origin).await;
        assert_eq!(lb.get("/last").await.text(), "good");
        lb.wait_until_idle().await;
        origin.release(1);
        until("the server has closed it", async || origin.open_connections() == 0).await;
        // not idempotent: it cannot be saved by sending it again
        let answer = lb.send(&Request::post("/next", "x")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
    }
}

#[tokio::test]
async fn a_connection_that_waits_longer_than_timeouts_idle_is_closed() {
    let origin = Origin::named("good").await;
    let lb = Lb::start(&format!("{}timeouts = {{ idle = \"300ms\" }}\n", smallest(&origin))).await;
    assert_eq!(lb.get("/").await.text(), "good");
    assert_eq!(origin.open_connections(), 1, "it is kept at first");
    until("it is closed", async || origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_server_that_speaks_http_1_0_is_not_asked_twice_on_a_connection_unless_it_says_so() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/kept" => Reply::raw("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\ngood"),
        "/until-close" => Reply::script(vec![Step::write("HTTP/1.0 200 OK\r\n\r\ngood"), Step::Close]),
        _ => Reply::raw("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\ngood"),
    })
    .await;
    let lb = one_worker(&origin).await;
    let mut client = lb.connect().await;
    for target in ["/plain", "/plain", "/until-close", "/kept", "/plain"] {
        let answer = client.send(&Request::get(target)).await.unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str(), answer.cut),
            (200, "good", false),
            "{target}"
        );
        if !answer.keeps_alive {
            client = lb.connect().await;
        }
    }
    let connections: Vec<usize> = origin.requests().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections[..4], [0, 1, 2, 3], "a connection was used again that was not offered");
}

#[tokio::test]
async fn a_server_that_says_close_is_believed() {
    let origin = Origin::start(|_| Reply::text("good").header("Connection", "close")).await;
    let lb = one_worker(&origin).await;
    for _ in 0..3 {
        // not idempotent: a second request on its connection would be lost
        assert_eq!(lb.send(&Request::post("/", "x")).await.text(), "good");
    }
    assert_eq!(origin.connections(), 3);
    until("none is kept", async || origin.open_connections() == 0).await;
}
