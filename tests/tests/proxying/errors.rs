//! Errors of `lb`'s own: problem+json with the request's ID. Those of a server are passed on as they are.

use std::time::{Duration, Instant};

use lb_tests::client::Request;
use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::origin::{Deaf, Origin, Refusing, Reply, Step};
use lb_tests::servers;

use super::smallest;

#[tokio::test]
async fn a_server_s_own_error_is_passed_on_as_it_is() {
    for status in [400, 404, 418, 500, 502, 503, 504] {
        let origin = Origin::start(move |_| {
            Reply::new(status)
                .header("X-Mine", "1")
                .header("Content-Type", "text/x-mine")
                .body("my words")
        })
        .await;
        let lb = Lb::start(&smallest(&origin)).await;
        let answer = lb.get("/").await;
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.header("x-mine")),
            (status, "text/x-mine", "1")
        );
        assert_eq!(answer.text(), "my words");
    }
}

#[tokio::test]
async fn a_server_that_answers_nothing_useful_is_502() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/close" => Reply::close(),
        "/reset" => Reply::reset(),
        "/half" => Reply::script(vec![Step::write("HTTP/1.1 200 OK\r\nContent-Le"), Step::Close]),
        "/garbage" => Reply::script(vec![Step::write("220 mail.example ESMTP\r\n\r\n"), Step::Close]),
        _ => Reply::script(vec![Step::write([0, 1, 2, 3, 255, 13, 10, 13, 10]), Step::Close]),
    })
    .await;
    let lb = Lb::start(&format!("{}passive_health = \"off\"\n", smallest(&origin))).await;
    for target in ["/close", "/reset", "/half", "/garbage", "/binary"] {
        lb.get(target).await.assert_problem(502);
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_an_error_of_lb_s_own_at_once() {
    let refusing = Refusing::start();
    let lb = Lb::setup(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[refusing.addr()])))
        .unready()
        .start()
        .await;
    let start = Instant::now();
    let answer = lb.get("/").await;
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    assert!(answer.status == 502 || answer.status == 503, "{answer:?}");
    answer.assert_problem(answer.status);
}

#[tokio::test]
async fn a_server_that_is_too_slow_is_504() {
    let origin = Origin::start(|_| Reply::never()).await;
    let lb = Lb::start(&format!("{}timeouts = {{ read = \"300ms\" }}\n", smallest(&origin))).await;
    let start = Instant::now();
    lb.get("/").await.assert_problem(504);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_server_that_does_not_take_connections_is_504() {
    let deaf = Deaf::start().await.unwrap();
    let config = format!(
        "[upstreams.app]\nservers = [{}]\ntimeouts = {{ connect = \"300ms\" }}\n",
        servers(&[deaf.addr()])
    );
    let lb = Lb::setup(&config).unready().start().await;
    lb.get("/").await.assert_problem(504);
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_even_when_it_is_an_error() {
    let origin = Origin::start(|_| Reply::close()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let first = connection.send(&Request::head("/")).await.unwrap();
    assert_eq!((first.status, first.body.len()), (502, 0));
    if first.keeps_alive {
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().status, 502);
    }
}

#[tokio::test]
async fn an_error_leaves_the_connection_usable_or_says_that_it_ends() {
    let origin = Origin::start(|seen| {
        if seen.target == "/bad" {
            Reply::close()
        } else {
            Reply::text("good")
        }
    })
    .await;
    let lb = Lb::start(&format!("{}passive_health = \"off\"\n", smallest(&origin))).await;
    let mut connection = lb.connect().await;
    let bad = connection.send(&Request::get("/bad")).await.unwrap();
    bad.assert_problem(502);
    if bad.keeps_alive {
        assert_eq!(connection.send(&Request::get("/good")).await.unwrap().text(), "good");
    } else {
        assert!(connection.ended_within(Duration::from_secs(10)).await.is_some());
    }
}

#[tokio::test]
async fn an_error_after_a_whole_request_leaves_the_connection_open() {
    if lacks("kept connections") {
        return;
    }
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/close" => Reply::close(),
        "/slow" => Reply::never(),
        _ => Reply::text("good"),
    })
    .await;
    let settings = "passive_health = \"off\"\nretry = \"off\"\ntimeouts = { read = \"300ms\" }\n";
    let lb = Lb::start(&format!("{}{settings}", smallest(&origin))).await;
    let mut connection = lb.connect().await;
    for (request, status) in [
        (Request::get("/close"), 502),
        (Request::post("/close", "x"), 502),
        (Request::get("/slow"), 504),
    ] {
        let answer = connection.send(&request).await.unwrap();
        assert_eq!((answer.status, answer.keeps_alive), (status, true));
        assert_eq!(connection.send(&Request::get("/good")).await.unwrap().text(), "good");
    }
}
