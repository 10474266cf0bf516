//! Sockets that send their head byte by byte and never end it, beside clients that mean well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::report::{full, length, row};
use lb_tests::servers;
use lb_tests::wait::until;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What a head may take, in seconds. At full length, the default.
fn header_timeout() -> u64 {
    if full() { 10 } else { 3 }
}

/// Between two bytes of a slow socket.
fn drip() -> Duration {
    Duration::from_secs(header_timeout()) / 3
}

/// As many files as the system lets this process have, and `lb` after it.
fn raise_the_limit_of_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the limit of files");
}

/// One that never ends its head. When it is told off and closed, it comes again.
async fn slow(to: SocketAddr, wait: Duration, refused: Arc<AtomicUsize>) {
    sleep(wait).await;
    loop {
        let Ok(mut connection) = Connection::open(to).await else {
            sleep(drip()).await;
            continue;
        };
        connection.write("GET /slow HTTP/1.1\r\nX-Drip: ").await;
        while !connection.ready_within(drip()).await {
            connection.write("x").await;
        }
        if connection.response("GET").await.is_ok_and(|answer| answer.status == 408) {
            refused.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// [`durations`] on a thread of its own, which has nothing to do with the slow ones.
async fn measure(to: SocketAddr, time: Duration) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let measured = tokio::task::spawn_blocking(move || runtime.block_on(durations(to, time)));
    measured.await.expect("no request failed")
}

/// How long requests take, in order: of four clients that send one after the other on a connection each. None may fail.
async fn durations(to: SocketAddr, time: Duration) -> Vec<Duration> {
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        clients.spawn(async move {
            let (begin, mut took) = (Instant::now(), Vec::new());
            let mut connection = Connection::open(to).await.expect("a connection");
            while begin.elapsed() < time || took.len() < 50 {
                let start = Instant::now();
                let answer = connection.send(&Request::get("/good")).await.expect("an answer");
                took.push(start.elapsed());
                assert_eq!((answer.status, answer.text().as_str(), answer.keeps_alive), (200, "origin", true));
                sleep(Duration::from_millis(5)).await;
            }
            took
        });
    }
    let mut all: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    all
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_do_not_slow_down_anybody_else() {
    raise_the_limit_of_files();
    let sockets: u32 = if full() { 5_000 } else { 500 };
    let origin = Origin::named("origin").await;
    let upstream = format!("[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]));
    let lb = Lb::start(&format!("[limits]\nheader_timeout = \"{}s\"\n\n{upstream}", header_timeout())).await;
    let without = measure(lb.listen(), length(1, 10)).await;
    let before = lb.process.footprint();

    let refused = Arc::<AtomicUsize>::default();
    let mut attackers = JoinSet::new();
    // they do not all come, and are not all told off, in the same moment
    let spread = if full() {
        Duration::from_secs(header_timeout())
    } else {
        Duration::from_secs(1)
    };
    for number in 0..sockets {
        let wait = spread * number / sockets;
        attackers.spawn(slow(lb.listen(), wait, refused.clone()));
    }
    until("all of them are there", async || {
        lb.metrics().await.sum("lb_connections", &[]) >= f64::from(sockets) * 0.95
    })
    .await;
    let during = lb.process.footprint();
    let with = measure(lb.listen(), length(2, 30)).await;
    until("they are refused when their time is over", async || {
        refused.load(Ordering::SeqCst) > sockets as usize / 2
    })
    .await;
    attackers.shutdown().await;
    until("their connections are gone", async || {
        lb.metrics().await.sum("lb_connections", &[]) == 0.0
    })
    .await;
    assert_eq!(origin.count_of("/slow"), 0);

    let (quiet, busy) = (p99(&without), p99(&with));
    // the promise is twice; in the short form, a machine that runs other tests beside gets more
    let most = if full() {
        quiet * 2 + Duration::from_millis(1)
    } else {
        Duration::from_secs(1)
    };
    assert!(
        busy <= most,
        "the 99th percentile is {busy:?} beside slow heads and {quiet:?} without"
    );
    let each = during.resident_kib.saturating_sub(before.resident_kib) as f64 / f64::from(sockets);
    assert!(each < 16.0, "{each:.1} KiB for each slow socket");
    let notes = format!(
        "{sockets} sockets, {} answers 408; 99th percentile {busy:.2?} where it is {quiet:.2?} without; {each:.1} KiB for each",
        refused.load(Ordering::SeqCst)
    );
    row("slow heads (slowloris)", with.len(), 0, None, &notes);
}
