//! The trace that a request belongs to: passed on, or begun, and named in the log.

use lb_tests::backend::Backends;
use lb_tests::client::Request;
use lb_tests::h2c::Client;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use lb_tests::wait::until;
use serde_json::Value;

use super::{plain, smallest};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The ID in a `traceparent` that `lb` has begun.
fn begun(parent: &str) -> String {
    let parts: Vec<&str> = parent.split('-').collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{parent}");
    assert!(
        parent.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')),
        "{parent}"
    );
    assert_eq!((parts[0], parts[3]), ("00", "01"), "{parent}");
    assert_ne!(parts[1], "0".repeat(32));
    assert_ne!(parts[2], "0".repeat(16));
    parts[1].to_owned()
}

#[tokio::test]
async fn a_trace_that_can_be_read_goes_on_as_it_came() {
    let (lb, origin) = plain().await;
    let later = format!("cc-{TRACE}-00f067aa0ba902b7-01-what.is.new");
    for given in [GIVEN, later.as_str()] {
        let request = Request::get("/")
            .header("TraceParent", given)
            .header("tracestate", "a=1")
            .header("tracestate", "b=2");
        lb.send(&request).await;
        let seen = origin.last();
        assert_eq!(seen.headers.all("traceparent").collect::<Vec<_>>(), [given]);
        assert_eq!(seen.headers.all("tracestate").collect::<Vec<_>>(), ["a=1", "b=2"]);
    }
    for line in lb.log_lines(2).await {
        assert_eq!(line["trace_id"], TRACE, "{line}");
    }
}

#[tokio::test]
async fn in_the_place_of_one_that_cannot_a_new_one_begins() {
    let (lb, origin) = plain().await;
    let requests = [
        Request::get("/"),
        Request::get("/").header("tracestate", "a=1"),
        Request::get("/")
            .header("traceparent", GIVEN)
            .header("Traceparent", GIVEN)
            .header("tracestate", "a=1"),
        Request::get("/")
            .header("traceparent", GIVEN.to_uppercase())
            .header("tracestate", "a=1"),
        Request::get("/").header("traceparent", GIVEN).header("connection", "traceparent"),
        Request::get("/").header("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
    ];
    let mut ids = Vec::new();
    for request in &requests {
        lb.send(request).await;
        let seen = origin.last();
        assert_eq!(seen.headers.all("traceparent").count(), 1, "{:?}", seen.headers);
        assert!(!seen.headers.has("tracestate"), "{:?}", seen.headers);
        ids.push(begun(seen.header("traceparent")));
    }
    let logged: Vec<Value> = lb
        .log_lines(requests.len())
        .await
        .into_iter()
        .map(|mut line| line["trace_id"].take())
        .collect();
    assert_eq!(logged, ids);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), requests.len(), "each has one of its own");
}

#[tokio::test]
async fn over_http_2_it_is_the_same() {
    let (lb, origin) = plain().await;
    let mut client = Client::connect(lb.listen()).await;
    client.request("GET", "/", b"").await;
    begun(origin.last().header("traceparent"));
    let request = http_request(lb.listen()).header("traceparent", GIVEN).header("tracestate", "a=1");
    client
        .send(request.body(Default::default()).expect("a request"))
        .await
        .expect("an answer");
    let seen = origin.last();
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (GIVEN, "a=1"));
}

fn http_request(to: std::net::SocketAddr) -> hyper::http::request::Builder {
    hyper::Request::builder().uri(format!("http://{to}/"))
}

#[tokio::test]
async fn every_try_is_of_the_same_trace() {
    let failing = Origin::start(|_| Reply::close()).await;
    let good = Origin::named("good").await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nbalance = \"round_robin\"\nservers = [{}]\n",
        servers(&[failing.addr(), good.addr()])
    ))
    .await;
    // Of two requests in turn, one begins at the failing server.
    for _ in 0..2 {
        assert_eq!(lb.get("/").await.text(), "good");
    }
    let first = failing.last();
    let id = begun(first.header("traceparent"));
    let again = good
        .requests()
        .into_iter()
        .any(|seen| seen.header("traceparent") == first.header("traceparent"));
    assert!(again, "trace {id} is not at the other server");
}

#[tokio::test]
async fn a_request_that_goes_to_no_server_has_the_trace_that_it_names() {
    let origin = Origin::start(|_| Reply::text("stored")).await;
    let lb = Lb::start(&format!(
        "{}\n[[routes]]\npath = \"/\"\nupstream = \"app\"\ncache = {{ ttl = \"1h\" }}\n",
        smallest(&origin)
    ))
    .await;
    lb.get("/").await;
    assert!(lb.send(&Request::get("/").header("traceparent", GIVEN)).await.is_hit());
    assert!(lb.get("/").await.is_hit());
    let lines = lb.log_lines(3).await;
    assert!(lines[0]["trace_id"].is_string(), "{}", lines[0]);
    assert_eq!(lines[1]["trace_id"], TRACE);
    assert!(lines[2].get("trace_id").is_none(), "{}", lines[2]);
}

/// `lb` and the real backend speak of a request by the same trace.
#[tokio::test]
async fn the_backend_logs_the_trace_that_the_client_sent_or_lb_began() {
    let backends = Backends::start(1).await;
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", servers(&backends.addrs()))).await;
    assert_eq!(lb.send(&Request::get("/users/1").header("traceparent", GIVEN)).await.status, 404);
    assert_eq!(lb.get("/users/2").await.status, 404);
    let of_lb = lb.log_lines(2).await;
    let mut of_backend = Vec::new();
    until("both requests are in the backend's log", async || {
        of_backend = backends.all[0].log_lines();
        ["/users/1", "/users/2"]
            .iter()
            .all(|path| of_backend.iter().any(|line| line["path"] == *path))
    })
    .await;
    for line in &of_lb {
        let same = of_backend.iter().find(|other| other["path"] == line["path"]).expect("it is there");
        assert_eq!(same["trace_id"], line["trace_id"]);
        assert_eq!(same["request_id"], line["request_id"]);
    }
    assert_eq!(of_lb[0]["trace_id"], TRACE);
    assert_eq!(of_lb[1]["trace_id"].as_str().map(str::len), Some(32));
}
