//! A server that is asked for twice as much as it can do, by clients that do not wait for ever.
//!
//! It has eight workers, each of which takes a tenth of a second for a request, first come, first served; and it does not notice that a client has
//! gone, so that an answer that is late was work for nothing. All clients together have it work on 64 requests at once: the last one is answered
//! after 0.8 s, and nobody waits for longer than 0.6 s. Workers sleep instead of working, so that what is measured is how many requests the server is
//! given, and not the load of the machine.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use lb_tests::lb::Lb;
use lb_tests::load::{Counts, Load};
use lb_tests::origin::{Origin, Reply};
use lb_tests::report::{length, row};

use super::shown;

const WORKERS: usize = 8;
const WORK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(600);

/// When each of the workers is free.
struct Workers(Mutex<[Instant; WORKERS]>);

impl Workers {
    fn new() -> Workers {
        Workers(Mutex::new([Instant::now(); WORKERS]))
    }

    /// How long a request takes that comes now.
    fn take(&self) -> Duration {
        let (now, mut workers) = (Instant::now(), self.0.lock().unwrap());
        let first = workers.iter_mut().min().unwrap();
        *first = (*first).max(now) + WORK;
        *first - now
    }
}

/// What of the server's capacity came to good answers, once it had been overloaded for some time; and what the load counted then.
async fn drill(settings: &str) -> (f64, Counts) {
    let workers = Workers::new();
    let origin = Origin::start(move |_| Reply::text("here").after(workers.take())).await;
    let upstream = format!(
        "[upstreams.app]\nservers = [\"{}\"]\npassive_health = \"off\"\n{settings}\n",
        origin.addr()
    );
    let lb = Lb::start(&upstream).await;
    let load = Load::new(lb.listen(), &["/"])
        .connections(64)
        .pace(Duration::from_millis(100))
        .patience(PATIENCE)
        .check(|_, answer| answer.body == b"here")
        .start();
    load.go_on(length(4, 5), 200).await;
    let (before, start) = (load.counts(), Instant::now());
    load.go_on(length(4, 30), 200).await;
    let (counts, took) = (load.counts().since(&before), start.elapsed());
    load.stop().await;
    let capacity = WORKERS as f64 / WORK.as_secs_f64() * took.as_secs_f64();
    (counts.ok as f64 / capacity, counts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_server_goes_on_doing_what_it_can() {
    let (without, lost) = drill("").await;
    assert!(
        without < 0.5,
        "it does {:.0} % without a limit: this is no overload",
        without * 100.0
    );
    let (goodput, counts) = drill("adaptive_concurrency = true").await;
    assert!(goodput > 0.9, "{:.1} % of what it can do: {counts}", goodput * 100.0);
    let notes = format!(
        "answers in time were {:.0} % of what the server can do, and {:.0} % without `adaptive_concurrency`; failed is what was refused at once, and {} that were late; without it {} of {} were",
        goodput * 100.0,
        without * 100.0,
        counts.timeout,
        lost.timeout,
        lost.total()
    );
    row(
        "a server with twice its load",
        counts.total(),
        counts.failed(),
        Some(lost.failed()),
        &notes,
    );
}

/// The queue evens out what comes in bursts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_queue_before_it_too() {
    let settings = "adaptive_concurrency = true\nqueue = { size = 64, timeout = \"200ms\" }";
    let (goodput, counts) = drill(settings).await;
    assert!(goodput > 0.9, "{:.1} % of what it can do: {counts}", goodput * 100.0);
    let notes = format!(
        "answers in time were {:.0} % of what the server can do; 99th percentile {}",
        goodput * 100.0,
        shown(counts.percentile(99))
    );
    row(
        "a server with twice its load, and a queue",
        counts.total(),
        counts.failed(),
        None,
        &notes,
    );
}
