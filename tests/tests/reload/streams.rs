//! A stream outlives reloads.

use std::time::{Duration, Instant};

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use lb_tests::wait::until;

use super::versioned;

async fn ping(connection: &mut Connection, number: usize) {
    let message = format!("message {number:04}");
    connection.write(&message).await;
    assert_eq!(connection.exactly(message.len()).await.unwrap(), message);
}

#[tokio::test]
async fn c27_a_session_outlives_reloads_and_its_upstream_until_the_grace_period_ends() {
    let (chat, other) = (Origin::start(|_| Reply::tunnel("websocket")).await, Origin::named("other").await);
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ngrace_period = \"2s\"\n\n";
    let session = format!(
        "[upstreams.chat]\nservers = [{}]\n\n[[routes]]\npath = \"/chat\"\nupstream = \"chat\"\n\n",
        servers(&[chat.addr()])
    );
    let with = |number| format!("{server}{session}{}", versioned(&other, number));
    let mut lb = Lb::start(&with(0)).await;
    let mut connection = lb.connect().await;
    let upgrade = Request::get("/chat").header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(connection.send(&upgrade).await.unwrap().status, 101);
    for number in 1..=50 {
        lb.reload(&with(number)).await;
        ping(&mut connection, number).await;
    }
    assert_eq!(lb.server("chat", chat.addr()).await.in_flight, 1);

    lb.reload(&format!("{server}{}", versioned(&other, 51))).await;
    for number in 51..=60 {
        ping(&mut connection, number).await;
    }
    until("it is still counted", async || lb.metrics().await.sum("lb_connections", &[]) == 1.0).await;
    let chat_again = lb.get("/chat").await;
    assert_eq!(chat_again.text(), "other", "the upstream is gone for others");

    let start = Instant::now();
    lb.terminate();
    ping(&mut connection, 61).await;
    assert!(connection.ended_within(Duration::from_secs(20)).await.is_some());
    assert!(
        start.elapsed() >= Duration::from_millis(1800),
        "closed after {:?}, before the grace period",
        start.elapsed()
    );
    let status = lb.exit_within(Duration::from_secs(10)).await;
    assert!(status.code().is_some(), "it ended by itself: {status:?}");
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_download_outlives_reloads() {
    let slow = Origin::start(|_| {
        let piece = |text: &str| lb_tests::origin::Step::write(format!("{:x}\r\n{text}\r\n", text.len()));
        let mut steps = vec![lb_tests::origin::Step::write(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        )];
        for _ in 0..10 {
            steps.extend([piece("piece"), lb_tests::origin::Step::Hold]);
        }
        steps.push(lb_tests::origin::Step::write("0\r\n\r\n"));
        Reply::script(steps)
    })
    .await;
    let other = Origin::named("other").await;
    let mut lb = Lb::start(&versioned(&slow, 0)).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    for number in 1..=10 {
        let mut piece = Vec::new();
        while piece.len() < 5 {
            piece.extend_from_slice(&connection.data().await.unwrap().unwrap());
        }
        assert_eq!(piece, b"piece");
        lb.reload(&versioned(&other, number)).await;
        slow.release(1);
    }
    assert_eq!(connection.data().await.unwrap(), None);
    lb.wait_until_idle().await;
}
