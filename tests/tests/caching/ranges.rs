//! Parts of what is stored (RFC 9110 §14).

use lb_tests::client::{Request, Response};
use lb_tests::h2c;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::{fill, fresh, start};

const MODIFIED: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

fn of(range: &str) -> Request {
    Request::get("/").header("Range", range)
}

/// An `lb` that has a body of that length.
async fn stored(length: usize) -> (Lb, Origin, String) {
    let body: String = (0..length).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    let text = body.clone();
    let (lb, origin) = start(move |_| fresh(&text).header("ETag", "\"one\"").header("Last-Modified", MODIFIED)).await;
    fill(&lb, &Request::get("/")).await;
    (lb, origin, body)
}

#[track_caller]
fn assert_part(answer: &Response, range: &str, text: &str) {
    assert_eq!((answer.status, answer.is_hit()), (206, true), "{answer:?}");
    assert_eq!((answer.header("content-range"), answer.text().as_str()), (range, text));
    assert_eq!(answer.header("content-length"), text.len().to_string());
    assert_eq!((answer.header("etag"), answer.header("content-type")), ("\"one\"", "text/plain"));
}

#[tokio::test]
async fn a_range_is_cut_from_what_is_stored() {
    let (lb, origin, body) = stored(26).await;
    for (range, told, part) in [
        ("bytes=0-1", "bytes 0-1/26", 0..2),
        ("bytes=20-", "bytes 20-25/26", 20..26),
        ("bytes=-3", "bytes 23-25/26", 23..26),
        ("bytes=25-99", "bytes 25-25/26", 25..26),
        ("bytes=0-", "bytes 0-25/26", 0..26),
    ] {
        assert_part(&lb.send(&of(range)).await, told, &body[part]);
    }
    let mut connection = lb.connect().await;
    connection.write([of("bytes=0-1").bytes(), of("bytes=2-3").bytes()].concat()).await;
    for text in ["ab", "cd"] {
        assert_eq!(
            connection.response("GET").await.unwrap().text(),
            text,
            "the next answer begins where this one ends"
        );
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_range_may_lie_across_pieces_of_a_long_body() {
    let (lb, _origin, body) = stored(1 << 20).await;
    let answer = lb.send(&of("bytes=100000-900000")).await;
    assert_eq!(answer.text(), &body[100_000..=900_000]);
    let answer = lb.send(&of("bytes=-1")).await;
    assert_part(&answer, "bytes 1048575-1048575/1048576", &body[(1 << 20) - 1..]);
}

#[tokio::test]
async fn several_ranges_come_in_parts() {
    let (lb, _origin, body) = stored(1000).await;
    let answer = lb.send(&of("bytes=900-901, 0-9, 5-12, 2000-")).await;
    assert_eq!(answer.status, 206);
    let boundary = answer
        .header("content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let head = |range: &str| format!("\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/1000\r\n\r\n");
    let expected = [
        &head("0-12"),
        &body[..13],
        &head("900-901"),
        &body[900..902],
        &format!("\r\n--{boundary}--\r\n"),
    ]
    .concat();
    assert_eq!(answer.text(), expected);
    assert!(!answer.headers.has("content-range"));
    assert_eq!(answer.header("content-length"), expected.len().to_string());
}

#[tokio::test]
async fn a_small_request_for_many_overlapping_ranges_gets_no_byte_twice() {
    let (lb, _origin, body) = stored(1000).await;
    let many = |count: usize| format!("bytes={}", vec!["0-"; count].join(","));
    assert_part(&lb.send(&of(&many(50))).await, "bytes 0-999/1000", &body);
    let whole = lb.send(&of(&many(1000))).await;
    assert_eq!((whole.status, whole.text()), (200, body));
}

#[tokio::test]
async fn what_is_not_there_is_told_with_the_length() {
    let (lb, origin, _) = stored(10).await;
    for range in ["bytes=10-", "bytes=99-100,50-60", "bytes=-0"] {
        let answer = lb.send(&of(range)).await;
        assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */10"), "{range}");
        assert!(
            answer.body.is_empty() && !answer.headers.has("etag") && !answer.headers.has("cache-control"),
            "{answer:?}"
        );
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_and_what_is_no_get_is_answered_whole() {
    let (lb, _origin, body) = stored(10).await;
    for range in ["lines=1-2", "bytes=5-2", "bytes=x", "bytes"] {
        let answer = lb.send(&of(range)).await;
        assert_eq!((answer.status, answer.text()), (200, body.clone()), "{range}");
    }
    let twice = of("bytes=0-1").header("Range", "bytes=2-3");
    assert_eq!(lb.send(&twice).await.status, 200);
    let head = lb.send(&Request::head("/").header("Range", "bytes=0-1")).await;
    assert_eq!((head.status, head.header("content-length"), head.is_hit()), (200, "10", true));
}

#[tokio::test]
async fn a_part_is_of_what_the_client_has_or_it_gets_the_whole() {
    let (lb, _origin, body) = stored(10).await;
    for (given, part) in [
        ("\"one\"", true),
        (MODIFIED, true),
        ("\"two\"", false),
        ("W/\"one\"", false),
        ("Thu, 02 Jan 2025 00:00:00 GMT", false),
    ] {
        let answer = lb.send(&of("bytes=0-1").header("If-Range", given)).await;
        let expected = if part { (206, "ab") } else { (200, &*body) };
        assert_eq!((answer.status, answer.text().as_str()), expected, "{given}");
    }
    let known = lb.send(&of("bytes=0-1").header("If-None-Match", "\"one\"")).await;
    assert_eq!(known.status, 304, "a condition comes before a range");
}

#[tokio::test]
async fn a_range_of_what_is_not_stored_goes_to_the_origin_and_is_not_stored() {
    let (lb, origin) = start(|seen| match seen.headers.get("range") {
        Some("bytes=0-1") => Reply::new(206)
            .header("Cache-Control", "max-age=60")
            .header("Content-Range", "bytes 0-1/4")
            .body("ab"),
        _ => fresh("abcd"),
    })
    .await;
    for _ in 0..2 {
        let part = lb.send(&of("bytes=0-1")).await;
        assert_eq!((part.status, part.text().as_str(), part.is_hit()), (206, "ab", false));
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(lb.get("/").await.text(), "abcd", "a part was taken for the whole");
    fill(&lb, &Request::get("/")).await;
    let part = lb.send(&of("bytes=2-")).await;
    assert_eq!((part.text().as_str(), part.is_hit()), ("cd", true));
}

#[tokio::test]
async fn what_is_fetched_anew_is_fetched_whole_whoever_asked() {
    let (lb, origin) = start(|_| Reply::text("abcd").header("Cache-Control", "max-age=1, stale-while-revalidate=60")).await;
    fill(&lb, &Request::get("/")).await;
    until("it was fetched anew", async || {
        let part = lb.send(&of("bytes=0-1")).await;
        assert_eq!((part.status, part.text().as_str()), (206, "ab"));
        origin.count() > 1
    })
    .await;
    assert!(
        origin.requests().iter().all(|seen| !seen.headers.has("range")),
        "{:?}",
        origin.last()
    );
}

#[tokio::test]
async fn over_http_2_it_is_all_the_same() {
    let (lb, origin, body) = stored(26).await;
    let over_1 = lb.get("/").await;
    let mut client = h2c::Client::connect(lb.listen()).await;
    let mut ask = async |method: &str, field: Option<(&str, &str)>| {
        let request = h2c::Request::builder().method(method).uri("http://lb.test/");
        let request = field
            .into_iter()
            .fold(request, |request, (name, value)| request.header(name, value));
        client.send(request.body(Default::default()).unwrap()).await.unwrap()
    };
    let whole = ask("GET", None).await;
    assert_eq!((whole.status, &whole.body[..]), (200, body.as_bytes()));
    // Not `Date`: see docs/ENGINES.md.
    for name in ["content-type", "content-length", "etag", "last-modified", "cache-control"] {
        assert_eq!(whole.header(name), over_1.header(name), "{name}");
    }
    let part = ask("GET", Some(("range", "bytes=1-3"))).await;
    assert_eq!(
        (part.status, part.header("content-range"), &part.body[..]),
        (206, "bytes 1-3/26", &b"bcd"[..])
    );
    let same = ask("GET", Some(("if-none-match", "\"one\""))).await;
    assert_eq!((same.status, same.header("etag"), same.body.len()), (304, "\"one\"", 0));
    let head = ask("HEAD", None).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "26", 0));
    assert_eq!(origin.count(), 1);
}
