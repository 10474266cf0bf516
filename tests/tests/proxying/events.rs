//! Server-sent events: each leaves as it comes.

use std::time::{Duration, Instant};

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::servers;
use lb_tests::wait::until;

/// The promise is 100 ms; a machine that runs other tests beside gets more.
const AT_ONCE: Duration = Duration::from_secs(1);

fn events(count: usize) -> Reply {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut steps = vec![Step::write(head)];
    for number in 0..count {
        let text = format!("data: {number}\n\n");
        steps.extend([Step::Hold, Step::write(format!("{:x}\r\n{text}\r\n", text.len()))]);
    }
    steps.push(Step::Hold);
    Reply::script(steps)
}

async fn event(connection: &mut Connection) -> String {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        text += &String::from_utf8_lossy(&connection.data().await.unwrap().expect("an event"));
    }
    text
}

#[tokio::test]
async fn c23_events_arrive_one_by_one_and_are_not_stored() {
    let origin = Origin::start(|_| events(5)).await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\nretry = {{ attempts = 3 }}\n\n[[routes]]\npath = \"/\"\nupstream = \"app\"\ncache = {{ ttl = \"5m\" }}\n",
        servers(&[origin.addr()])
    ))
    .await;
    for _ in 0..2 {
        let before = origin.count();
        let mut connection = lb.connect().await;
        let start = Instant::now();
        connection.write(Request::get("/events").bytes()).await;
        let head = connection.head("GET").await.unwrap();
        assert_eq!((head.status, head.headers.get("content-type")), (200, Some("text/event-stream")));
        assert!(start.elapsed() < AT_ONCE, "the head took {:?}", start.elapsed());
        assert!(
            !connection.ready_within(Duration::from_millis(300)).await,
            "something came before the first event"
        );
        for number in 0..5 {
            let start = Instant::now();
            origin.release(1);
            assert_eq!(event(&mut connection).await, format!("data: {number}\n\n"));
            assert!(start.elapsed() < AT_ONCE, "event {number} took {:?}", start.elapsed());
        }
        assert_eq!(origin.count(), before + 1, "it was not asked, so it was stored");
        drop(connection);
        until("the client's leaving reaches the server", async || origin.open_connections() == 0).await;
        lb.wait_until_idle().await;
    }
}

#[tokio::test]
async fn events_that_end_with_their_connection_arrive_one_by_one_too() {
    let origin = Origin::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        let event = |number: usize| Step::write(format!("data: {number}\n\n"));
        Reply::script(vec![
            Step::write(head),
            Step::Hold,
            event(0),
            Step::Hold,
            event(1),
            Step::Hold,
            Step::Close,
        ])
    })
    .await;
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]))).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/events").bytes()).await;
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    for number in 0..2 {
        origin.release(1);
        assert_eq!(event(&mut connection).await, format!("data: {number}\n\n"));
    }
    origin.release(1);
    assert_eq!(connection.data().await.unwrap(), None);
}
