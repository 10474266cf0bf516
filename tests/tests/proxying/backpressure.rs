//! A side that does not read holds the other one up, not `lb`'s memory.

use std::time::Duration;

use bytes::Bytes;
use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::{throughout, until};

use super::smallest;

const LARGE: usize = 64 << 20;
/// What so many bytes under way may cost at most. What the kernel holds is not counted.
const BOUND_KIB: u64 = 16 << 10;

/// Bytes that do not repeat within a body.
fn unlike(length: usize) -> Bytes {
    let words = (0..length.div_ceil(4) as u32).map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes());
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(length);
    bytes.into()
}

/// An `lb` that takes such bodies, after a small request has warmed it up, and its memory then.
async fn warm(origin: &Origin) -> (Lb, u64) {
    let limits = "[limits]\nmax_body = \"1GiB\"\nbody_timeout = \"60s\"\n\n";
    let lb = Lb::start(&format!(
        "{limits}{}timeouts = {{ read = \"60s\", write = \"60s\" }}\n",
        smallest(origin)
    ))
    .await;
    lb.get("/small").await;
    let before = lb.process.footprint().resident_kib;
    (lb, before)
}

async fn assert_bounded(lb: &Lb, before: u64) {
    throughout(Duration::from_secs(2), "memory stays bounded", async || {
        let grown = lb.process.footprint().resident_kib.saturating_sub(before);
        assert!(grown < BOUND_KIB, "memory grew by {grown} KiB");
        true
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_no_memory_and_gets_every_byte_later() {
    let body = unlike(LARGE);
    let large = body.clone();
    let origin = Origin::start(move |seen| match seen.target.as_str() {
        "/length" => Reply::new(200).body(large.clone()),
        "/close" => Reply::new(200).until_close(large.clone()),
        _ => Reply::text("small"),
    })
    .await;
    let (lb, before) = warm(&origin).await;
    let mut slow: Vec<Connection> = Vec::new();
    for target in ["/length", "/close"] {
        let mut connection = lb.connect().await;
        connection.write(Request::get(target).bytes()).await;
        assert_eq!(connection.head("GET").await.unwrap().status, 200);
        slow.push(connection);
    }
    assert_bounded(&lb, before).await;
    for mut connection in slow {
        let mut at = 0;
        while let Some(piece) = connection.data().await.unwrap() {
            assert!(body[at..].starts_with(&piece), "another byte after {at}");
            at += piece.len();
        }
        assert_eq!(at, LARGE);
    }
    assert_bounded(&lb, before).await;
}

#[tokio::test]
async fn a_server_that_does_not_read_costs_no_memory_and_gets_every_byte_later() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/small" => Reply::text("small"),
        _ => Reply::script(vec![Step::Stall]).early(),
    })
    .await;
    let (lb, before) = warm(&origin).await;
    let body = unlike(LARGE);
    let mut connection = lb.connect().await.patience(Duration::from_secs(120));
    let request = Request::post("/", body.clone()).bytes();
    let writing = async {
        connection.write(request).await;
        connection
    };
    let watching = async {
        origin.wait_for(2).await;
        assert_bounded(&lb, before).await;
        assert!(origin.received().0 < LARGE / 2, "the server has read it");
        origin.release(1);
        until("the server has it all", async || origin.received().1).await;
    };
    let (_connection, ()) = tokio::join!(writing, watching);
    let received = origin.last().body;
    assert!(received == body, "{} bytes, not those that were sent", received.len());
    assert_bounded(&lb, before).await;
}
