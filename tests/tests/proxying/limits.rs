//! What is too much.

use bytes::Bytes;
use lb_tests::client::Request;
use lb_tests::framing::chunked;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;

async fn limited(limits: &str) -> (Lb, Origin) {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&format!(
        r#"
        [limits]
        {limits}

        [upstreams.app]
        servers = [{}]

        [[routes]]
        path = "/"
        upstream = "app"

        [[routes]]
        path = "/small"
        upstream = "app"
        max_body = "10B"

        [[routes]]
        path = "/fixed"
        respond = {{ status = 200, body = "fixed", content_type = "text/plain" }}
        "#,
        servers(&[origin.addr()])
    ))
    .await;
    (lb, origin)
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_never_reaches_the_server() {
    let (lb, origin) = limited("max_body = \"1KB\"").await;
    lb.send(&Request::post("/", vec![b'x'; 1001])).await.assert_problem(413);
    // told from its length alone, before a byte of it
    let mut connection = lb.connect().await;
    connection
        .write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        .await;
    connection.response("POST").await.unwrap().assert_problem(413);
    assert_eq!(origin.count(), 0);
    let exact = lb.send(&Request::post("/", vec![b'x'; 1000])).await;
    assert_eq!((exact.status, exact.body.len()), (200, 1000));
}

#[tokio::test]
async fn a_chunked_body_is_counted_as_it_comes() {
    let (lb, origin) = limited("max_body = \"1KB\"").await;
    let piece = Bytes::from(vec![b'x'; 400]);
    lb.send(&Request::new("POST", "/").chunks(vec![piece.clone(); 3]))
        .await
        .assert_problem(413);
    assert!(
        origin.requests().iter().all(|seen| !seen.whole),
        "a body over the limit looked whole to the server"
    );
    let below = lb.send(&Request::new("POST", "/").chunks(vec![piece; 2])).await;
    assert_eq!((below.status, below.body.len()), (200, 800));
}

#[tokio::test]
async fn a_route_may_take_less() {
    let (lb, _origin) = limited("max_body = \"1KB\"").await;
    lb.send(&Request::post("/small", vec![b'x'; 11])).await.assert_problem(413);
    assert_eq!(lb.send(&Request::post("/small", vec![b'x'; 10])).await.status, 200);
}

#[tokio::test]
async fn the_limit_holds_where_lb_answers_itself() {
    let (lb, _origin) = limited("max_body = \"1KB\"").await;
    lb.send(&Request::post("/fixed", vec![b'x'; 1001])).await.assert_problem(413);
    let mut connection = lb.connect().await;
    let head = "POST /fixed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.write([head.as_bytes(), &chunked(&[vec![b'x'; 1500]])].concat()).await;
    connection.response("POST").await.unwrap().assert_problem(413);
    assert_eq!(lb.send(&Request::post("/fixed", vec![b'x'; 1000])).await.text(), "fixed");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_431_and_a_target_that_is_414() {
    let (lb, origin) = limited("max_header_bytes = \"2KiB\"").await;
    lb.send(&Request::get("/").header("X-Long", "x".repeat(2100)))
        .await
        .assert_problem(431);
    lb.send(&Request::get(&format!("/{}", "x".repeat(2100)))).await.assert_problem(414);
    // many small fields are as long as one big one
    let many = (0..30).fold(Request::get("/"), |request, number| {
        request.header(&format!("X-{number}"), "x".repeat(100))
    });
    lb.send(&many).await.assert_problem(431);
    assert_eq!(origin.count(), 0);
    assert_eq!(lb.send(&Request::get("/").header("X-Long", "x".repeat(1000))).await.status, 200);
    assert_eq!(lb.get(&format!("/{}", "x".repeat(1000))).await.status, 200);
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_read_for_ever() {
    let (lb, _origin) = limited("max_header_bytes = \"2KiB\"").await;
    let mut connection = lb.connect().await;
    connection
        .write(["GET / HTTP/1.1\r\nHost: a\r\nX: ", &"x".repeat(4000)].concat())
        .await;
    connection.response("GET").await.unwrap().assert_problem(431);
}

#[tokio::test]
async fn too_many_fields_are_431() {
    let (lb, origin) = limited("max_headers = 20").await;
    let fields = |count: usize| (0..count).fold(Request::get("/"), |request, number| request.header(&format!("X-{number}"), "1"));
    lb.send(&fields(21)).await.assert_problem(431);
    assert_eq!(origin.count(), 0);
    // Host is one more
    assert_eq!(lb.send(&fields(19)).await.status, 200);
}
