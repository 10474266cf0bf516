//! Retries, rule by rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Deaf, Origin, Refusing, Reply, Step};
use lb_tests::servers;

use super::{app, counts, origins};

#[tokio::test]
async fn a_request_that_is_not_idempotent_is_never_sent_twice() {
    for reply in [Reply::close(), Reply::reset(), Reply::raw("garbage\r\n\r\n").then(Step::Close)] {
        let origins = origins(3, move |_| reply.clone()).await;
        let lb = Lb::start(&app(&origins, "")).await;
        for method in ["POST", "PATCH"] {
            let before: usize = counts(&origins).iter().sum();
            lb.send(&Request::new(method, "/").body("x")).await.assert_problem(502);
            assert_eq!(counts(&origins).iter().sum::<usize>(), before + 1, "{method}");
        }
    }
}

#[tokio::test]
async fn an_idempotent_one_is() {
    let origins = origins(3, |_| Reply::close()).await;
    let lb = Lb::start(&app(&origins, "retry = { budget_percent = 100 }")).await;
    for (round, request) in [
        Request::get("/"),
        Request::head("/"),
        Request::new("PUT", "/").body("x"),
        Request::new("DELETE", "/"),
        Request::new("OPTIONS", "/"),
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(lb.send(request).await.status, 502);
        assert_eq!(counts(&origins), [round + 1; 3], "{request:?}");
    }
}

#[tokio::test]
async fn attempts_counts_all_tries() {
    let origins = origins(4, |_| Reply::close()).await;
    let mut lb = Lb::start(&app(&origins, "retry = { attempts = 2 }")).await;
    lb.get("/").await.assert_problem(502);
    assert_eq!(counts(&origins).iter().sum::<usize>(), 2);
    lb.reload(&app(&origins, "retry = { attempts = 1 }")).await;
    lb.get("/").await.assert_problem(502);
    assert_eq!(counts(&origins).iter().sum::<usize>(), 3);
    lb.reload(&app(&origins, "retry = \"off\"")).await;
    lb.get("/").await.assert_problem(502);
    assert_eq!(counts(&origins).iter().sum::<usize>(), 4);
}

#[tokio::test]
async fn a_try_that_got_no_connection_does_not_count() {
    let (good, refusing) = (
        Origin::named("good").await,
        [Refusing::start(), Refusing::start(), Refusing::start()],
    );
    let list = servers(&[refusing[0].addr(), refusing[1].addr(), refusing[2].addr(), good.addr()]);
    let settings = "passive_health = \"off\"\nretry = { attempts = 2, budget_percent = 100 }";
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{list}]\n{settings}\n")).await;
    for _ in 0..3 {
        assert_eq!(lb.send(&Request::post("/", "even a POST: nothing was sent")).await.text(), "good");
    }
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_given_up_for_another_server() {
    let (good, deaf) = (Origin::named("good").await, Deaf::start().await.unwrap());
    let settings = "passive_health = \"off\"\ntimeouts = { connect = \"300ms\" }";
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n{settings}\n",
        servers(&[deaf.addr(), good.addr()])
    ))
    .await;
    for _ in 0..4 {
        assert_eq!(lb.send(&Request::post("/", "x")).await.text(), "good");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_asked_of_another_server() {
    let origins = origins(2, |_| Reply::never()).await;
    origins[1].set(|_| Reply::text("good"));
    let lb = Lb::start(&app(&origins, "timeouts = { read = \"300ms\" }")).await;
    for _ in 0..4 {
        assert_eq!(lb.get("/").await.text(), "good");
    }
    assert!(origins[0].count() > 0);
}

#[tokio::test]
async fn only_what_is_named_is_retried() {
    // what happens, how it is named, and what the client sees of it when it is not retried
    let cases: [(&str, Reply, u16); 6] = [
        ("reset", Reply::close(), 502),
        ("invalid", Reply::raw("garbage\r\n\r\n").then(Step::Close), 502),
        ("timeout", Reply::never(), 504),
        ("502", Reply::new(502), 502),
        ("503", Reply::new(503), 503),
        ("504", Reply::new(504), 504),
    ];
    for (name, reply, status) in cases {
        let origins = origins(2, move |_| reply.clone()).await;
        let settings = |on: &str| format!("timeouts = {{ read = \"200ms\" }}\nretry = {{ on = [\"{on}\"], budget_percent = 100 }}");
        let mut lb = Lb::start(&app(&origins, &settings("connect"))).await;
        for on in ["connect", "reset", "invalid", "timeout", "502", "503", "504"] {
            lb.reload(&app(&origins, &settings(on))).await;
            let before: usize = counts(&origins).iter().sum();
            assert_eq!(lb.get("/").await.status, status, "{name} with on = {on}");
            let due = if on == name { 2 } else { 1 };
            assert_eq!(counts(&origins).iter().sum::<usize>() - before, due, "{name} with on = {on}");
        }
    }
}

#[tokio::test]
async fn other_statuses_are_never_retried() {
    for status in [400, 404, 429, 500, 501] {
        let origins = origins(2, move |_| Reply::new(status)).await;
        let lb = Lb::start(&app(&origins, "")).await;
        assert_eq!(lb.get("/").await.status, status);
        assert_eq!(counts(&origins).iter().sum::<usize>(), 1, "{status}");
    }
}

#[tokio::test]
async fn the_only_server_is_not_tried_again_after_a_fresh_connection_failed() {
    let origins = origins(1, |_| Reply::close()).await;
    let lb = Lb::start(&app(&origins, "")).await;
    lb.get("/").await.assert_problem(502);
    assert_eq!(counts(&origins), [1]);
}

/// A server that takes one request a connection and closes at the next one, without having said so.
async fn forgetful() -> Origin {
    let first = Arc::new(AtomicUsize::new(usize::MAX));
    Origin::start(move |seen| {
        if first.swap(seen.connection, Ordering::SeqCst) == seen.connection {
            Reply::close()
        } else {
            Reply::text("good")
        }
    })
    .await
}

#[tokio::test]
async fn a_reused_connection_that_closed_meanwhile_is_replaced_once_for_an_idempotent_request() {
    let origins = [forgetful().await];
    let lb = Lb::start(&app(&origins, "")).await;
    // by one connection, so that one worker meets what it has kept
    let mut connection = lb.connect().await;
    for _ in 0..5 {
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "good");
        lb.wait_until_idle().await;
    }
    assert!(origins[0].count() > 5, "no connection was reused, so nothing was tested");
}

#[tokio::test]
async fn and_not_for_another_one() {
    let origins = [forgetful().await];
    let lb = Lb::start(&app(&origins, "")).await;
    assert_eq!(lb.get("/").await.text(), "good");
    lb.wait_until_idle().await;
    let before = origins[0].count();
    let answer = lb.send(&Request::post("/", "x")).await;
    assert_eq!(origins[0].count(), before + 1, "a POST was sent twice");
    // 502 when it went over the kept connection, which a proxy may avoid
    assert!([200, 502].contains(&answer.status), "{}", answer.status);
}

#[tokio::test]
async fn what_began_to_answer_is_not_retried() {
    let origins = origins(3, |_| {
        Reply::script(vec![
            Step::write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart"),
            Step::Hold,
            Step::Reset,
        ])
    })
    .await;
    let lb = Lb::start(&app(&origins, "")).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    assert_eq!(connection.data().await.unwrap().unwrap(), "start");
    origins.iter().for_each(Origin::release_all);
    assert_eq!(connection.data().await, Err(lb_tests::client::Failure::Cut));
    assert_eq!(counts(&origins).iter().sum::<usize>(), 1);
}
