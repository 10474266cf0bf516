//! One deadline from a request's head to its answer's: `timeouts.request`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_tests::client::Request;
use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::origin::{Deaf, Origin, Reply, Step};
use lb_tests::ports::Port;
use lb_tests::servers;
use lb_tests::wait::DEADLINE;

use super::{app, counts, origins};

/// Takes a server out at its first failure, for longer than any test.
const STRICT: &str = "passive_health = { failures = 1, eject = \"5m\", max_ejected_percent = 100 }";

/// Sends a request that must end by the deadline's 504, not before `least`.
async fn assert_late(lb: &Lb, request: &Request, least: Duration) {
    let start = Instant::now();
    let answer = lb.send(request).await;
    answer.assert_problem(504);
    assert!(answer.text().contains("within its time"), "{}", answer.text());
    let took = start.elapsed();
    assert!(took >= least && took < least + DEADLINE, "{took:?} instead of {least:?}");
}

async fn ejections(lb: &Lb) -> u64 {
    lb.servers("app").await.iter().map(|server| server.ejections).sum()
}

#[tokio::test]
async fn it_holds_across_tries() {
    let origins = origins(4, |_| Reply::never()).await;
    let settings = "timeouts = { read = \"1s\", request = \"1500ms\" }\nretry = { attempts = 4, budget_percent = 100 }";
    let lb = Lb::start(&app(&origins, settings)).await;
    // it ends the second try, half-way to the third
    assert_late(&lb, &Request::get("/"), Duration::from_millis(1500)).await;
    assert_eq!(counts(&origins).iter().sum::<usize>(), 2);
}

#[tokio::test]
async fn it_holds_for_a_connection() {
    let deaf = Deaf::start().await.unwrap();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\ntimeouts = {{ connect = \"5m\", request = \"400ms\" }}\n",
        servers(&[deaf.addr()])
    ))
    .await;
    assert_late(&lb, &Request::post("/", "x"), Duration::from_millis(400)).await;
}

#[tokio::test]
async fn it_holds_for_a_handshake() {
    let port = Port::pick();
    // Connections wait in its queue, and nobody says a word on them.
    let _silent = port.listen().await.unwrap();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\nprotocol = \"https\"\ntimeouts = {{ connect = \"5m\", request = \"400ms\" }}\n",
        servers(&[port.address()])
    ))
    .await;
    assert_late(&lb, &Request::get("/"), Duration::from_millis(400)).await;
}

#[tokio::test]
async fn an_answer_in_time_is_not_touched() {
    let origins = origins(1, |_| Reply::text("good").after(Duration::from_millis(200))).await;
    let lb = Lb::start(&app(&origins, "timeouts = { request = \"1m\" }")).await;
    assert_eq!(lb.get("/").await.text(), "good");
}

#[tokio::test]
async fn a_server_that_had_all_the_time_is_charged() {
    let origins = origins(2, |_| Reply::never()).await;
    let addresses: Vec<SocketAddr> = origins.iter().map(Origin::addr).collect();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n{STRICT}\ntimeouts = {{ request = \"300ms\" }}\n",
        servers(&addresses)
    ))
    .await;
    assert_late(&lb, &Request::get("/"), Duration::from_millis(300)).await;
    assert_eq!(ejections(&lb).await, 1);
}

#[tokio::test]
async fn a_server_that_got_the_request_late_is_not() {
    let (deaf, late) = (Deaf::start().await.unwrap(), origins(2, |_| Reply::never()).await);
    let backup = |origin: &Origin| format!("{{ address = \"{}\", backup = true }}", origin.addr());
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [\"{}\", {}, {}]\n{STRICT}\ntimeouts = {{ connect = \"700ms\", request = \"1s\" }}\n",
        deaf.addr(),
        backup(&late[0]),
        backup(&late[1])
    ))
    .await;
    assert_late(&lb, &Request::get("/"), Duration::from_secs(1)).await;
    assert_eq!(counts(&late).iter().sum::<usize>(), 1, "the second server got the request");
    assert_eq!(ejections(&lb).await, 1, "only the one that took no connection is charged");
}

#[tokio::test]
async fn a_client_that_takes_all_the_time_for_its_body_gets_a_504_too() {
    let origins = origins(2, |_| Reply::text("good")).await;
    let addresses: Vec<SocketAddr> = origins.iter().map(Origin::addr).collect();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n{STRICT}\ntimeouts = {{ request = \"400ms\" }}\n",
        servers(&addresses)
    ))
    .await;
    let (answer, _connection) = lb.send_raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx").await;
    answer.assert_problem(504);
    if !lacks("request deadline") {
        assert_eq!(ejections(&lb).await, 0, "the server waited for the client");
    }
}

#[tokio::test]
async fn it_ends_with_the_head() {
    if lacks("request deadline") {
        return;
    }
    let origins = origins(1, |_| {
        Reply::script(vec![
            Step::write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"),
            Step::Pause(Duration::from_millis(1200)),
            Step::write("after"),
        ])
    })
    .await;
    let lb = Lb::start(&app(&origins, "timeouts = { request = \"600ms\" }")).await;
    assert_eq!(lb.get("/").await.text(), "firstafter");
}

#[tokio::test]
async fn an_interim_answer_does_not_end_it() {
    let origins = origins(1, |_| {
        Reply::script(vec![
            Step::write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            Step::Pause(Duration::from_secs(3600)),
        ])
    })
    .await;
    let lb = Lb::start(&app(&origins, "timeouts = { request = \"600ms\" }")).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    let mut status = connection.head("GET").await.unwrap().status;
    if status == 103 {
        status = connection.head("GET").await.unwrap().status;
    }
    assert_eq!(status, 504);
}

#[tokio::test]
async fn a_reload_may_set_it() {
    let origins = origins(1, |_| Reply::never()).await;
    let mut lb = Lb::start(&app(&origins, "")).await;
    lb.reload(&app(&origins, "timeouts = { request = \"300ms\" }")).await;
    assert_late(&lb, &Request::get("/"), Duration::from_millis(300)).await;
}
