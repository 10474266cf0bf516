//! Every request gives back what it took, however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::app;

/// Answers that a server gives on a bad day.
fn whim(roll: u32) -> Reply {
    match roll {
        0..70 => Reply::text("good"),
        70..76 => Reply::text("slow").after(Duration::from_millis(20)),
        76..82 => Reply::reset(),
        82..86 => Reply::close(),
        86..90 => Reply::new(503).body("busy"),
        90..94 => Reply::script(vec![Step::write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut"), Step::Reset]),
        94..97 => Reply::script(vec![Step::write("no HTTP at all\r\n\r\n"), Step::Close]),
        _ => Reply::new(200).chunked(&["in", "pieces"]),
    }
}

/// One request as a client on a bad day makes it; says what is left of the connection.
async fn misbehave(mut connection: Connection, roll: u32) -> Option<Connection> {
    let post = Request::post("/", vec![b'x'; 3000]).bytes();
    match roll {
        // leaves before, in and after the head, in the body, and before the answer
        0 => connection.write("GET / HT").await,
        1 => connection.write(&post[..post.len() - 1000]).await,
        2 => connection.write(&post).await,
        3 => {
            connection.write(Request::get("/").bytes()).await;
            sleep(Duration::from_millis(2)).await;
        }
        4 => {
            connection.write(Request::get("/").bytes()).await;
            let _ = connection.head("GET").await;
        }
        _ => {
            let request = if roll.is_multiple_of(3) {
                Request::post("/", "small")
            } else {
                Request::get("/")
            };
            let answer = connection.send(&request).await.ok()?;
            return answer.keeps_alive.then_some(connection);
        }
    }
    if roll.is_multiple_of(2) {
        connection.reset();
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_10_000_requests_that_end_in_every_way_nothing_is_in_flight() {
    let dice = Arc::new(AtomicUsize::new(0));
    let mut origins = Vec::new();
    for _ in 0..4 {
        let dice = dice.clone();
        origins.push(Origin::start(move |_| whim((dice.fetch_add(37, Ordering::Relaxed) % 100) as u32)).await);
    }
    let settings = |number: usize| format!("passive_health = {{ failures = 20, window = \"1s\", eject = \"100ms\" }}\n# reload {number}\n");
    let mut lb = Lb::start(&app(&origins, &settings(0))).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for worker in 0..40_u64 {
        let (address, done) = (lb.listen(), done.clone());
        workers.spawn(async move {
            let mut random = StdRng::seed_from_u64(worker);
            let mut kept: Option<Connection> = None;
            while done.fetch_add(1, Ordering::Relaxed) < 10_000 {
                let connection = match kept.take() {
                    Some(connection) => connection,
                    None => Connection::open(address).await.unwrap(),
                };
                kept = misbehave(connection, random.random_range(0..30)).await;
            }
        });
    }
    let mut reloads = 0;
    while done.load(Ordering::Relaxed) < 10_000 {
        reloads += 1;
        // a server comes and goes
        let some = &origins[..3 + reloads % 2];
        lb.reload(&app(some, &settings(reloads))).await;
        sleep(Duration::from_millis(50)).await;
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    assert!(reloads > 2, "{reloads} reloads");
    lb.reload(&app(&origins, &settings(reloads + 1))).await;
    lb.wait_until_idle().await;
    let served: u64 = lb.servers("app").await.iter().map(|server| server.requests).sum();
    assert!(served > 5_000, "only {served} requests reached a server");
    let metrics = lb.metrics().await;
    assert!(
        metrics.find("lb_upstream_active_requests", &[]).all(|sample| sample.value == 0.0),
        "{metrics:?}"
    );
    assert!(metrics.sum("lb_retries_total", &[]) > 0.0, "nothing was retried");
    // the counts are those of the origins, or the drill tested something else
    let seen: usize = origins.iter().map(Origin::count).sum();
    assert!(seen > 5_000, "only {seen} requests at the origins");
}
