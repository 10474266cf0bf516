//! A request that has to wait after a server has failed it.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Refusing, Reply};

use super::{begin, begin_waiting};

const QUEUE: &str = "queue = { size = 10, timeout = \"5m\" }";

/// An upstream of the first server as it is and the second with room for one.
fn second_limited(first: std::net::SocketAddr, second: &Origin, settings: &str) -> String {
    format!(
        "[upstreams.app]\npassive_health = \"off\"\nbalance = \"round_robin\"\n\
         servers = [\"{first}\", {{ address = \"{}\", max_connections = 1 }}]\n{settings}\n",
        second.addr()
    )
}

#[tokio::test]
async fn who_got_no_answer_waits_for_the_other_server() {
    let (down, good) = (Refusing::start(), Origin::held("good").await);
    let lb = Lb::start(&second_limited(down.addr(), &good, QUEUE)).await;
    let mut first = begin(&lb, &Request::get("/first")).await;
    good.wait_for(1).await;
    let mut second = begin_waiting(&lb, &Request::get("/second"), 1).await;
    good.release_all();
    assert_eq!(first.response("GET").await.unwrap().text(), "good");
    assert_eq!(second.response("GET").await.unwrap().text(), "good");
}

#[tokio::test]
async fn who_waits_in_vain_after_a_failure_is_told_of_the_failure() {
    let (down, good) = (Refusing::start(), Origin::held("good").await);
    let config = second_limited(down.addr(), &good, "queue = { size = 10, timeout = \"200ms\" }");
    let lb = Lb::start(&config).await;
    let _first = begin(&lb, &Request::get("/")).await;
    good.wait_for(1).await;
    lb.get("/").await.assert_problem(502);
}

#[tokio::test]
async fn who_got_an_answer_keeps_it_and_does_not_wait() {
    let sorry = Origin::start(|_| Reply::new(503).body("sorry")).await;
    let busy = Origin::held("busy").await;
    let lb = Lb::start(&second_limited(sorry.addr(), &busy, QUEUE)).await;
    let _first = begin(&lb, &Request::get("/")).await;
    busy.wait_for(1).await;
    let answer = lb.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "sorry"));
    assert_eq!(busy.count(), 1);
}

#[tokio::test]
async fn who_fetches_for_the_store_waits_for_all_who_want_the_object() {
    let origin = Origin::start(|seen| {
        let reply = Reply::text("object").header("cache-control", "max-age=60");
        if seen.target == "/held" { reply.held() } else { reply }
    })
    .await;
    let config = format!(
        "[upstreams.app]\nservers = [{{ address = \"{}\", max_connections = 1 }}]\n{QUEUE}\n\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\ncache = {{ ttl = \"1m\" }}\n",
        origin.addr()
    );
    let lb = Lb::start(&config).await;
    let mut held = begin(&lb, &Request::get("/held")).await;
    origin.wait_for(1).await;
    let leader = begin_waiting(&lb, &Request::get("/object"), 1).await;
    let mut follower = begin(&lb, &Request::get("/object")).await;
    drop(leader);
    origin.release_all();
    assert_eq!(held.response("GET").await.unwrap().status, 200);
    assert_eq!(follower.response("GET").await.unwrap().text(), "object");
    lb.wait_until_idle().await;
    assert!(origin.count_of("/object") <= 2, "{}", origin.count_of("/object"));
}
