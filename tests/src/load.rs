//! A steady load that counts every way in which a request can fail.
//!
//! Each of N connections sends GETs, one after the other, and checks every body. A request has failed when its answer is not 2xx, when
//! there was no connection, a reset, nothing for too long, a body too short, or a wrong one.
//!
//! What is no failure: to connect again after an answer that announced it by `Connection: close`. What is one: a kept-alive connection that
//! is closed without that announcement, whether before or after the next request was written to it. Many clients send such a request
//! again, but they cannot do it for every method, and a proxy that is asked to lose nothing has to announce it. It counts as `reset`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Connection, Failure, Request, Response};
use crate::wait::{until_some, until_within};

/// Says whether the answer to this target is the right one.
pub type Check = Arc<dyn Fn(&str, &Response) -> bool + Send + Sync>;

/// A load to be sent.
#[derive(Clone)]
pub struct Load {
    to: SocketAddr,
    connections: usize,
    targets: Vec<String>,
    check: Check,
    pace: Duration,
    patience: Duration,
}

impl Load {
    /// A load of GETs for these targets, in turn.
    pub fn new<S: AsRef<str>>(to: SocketAddr, targets: &[S]) -> Load {
        let targets = targets.iter().map(|target| target.as_ref().to_owned()).collect();
        let (pace, patience) = (Duration::from_millis(30), Duration::from_secs(20));
        Load {
            to,
            connections: 32,
            targets,
            check: Arc::new(|_, _| true),
            pace,
            patience,
        }
    }

    /// How many connections at once; 32 unless said.
    pub fn connections(mut self, connections: usize) -> Load {
        self.connections = connections;
        self
    }

    /// What a right answer is.
    pub fn check(mut self, check: impl Fn(&str, &Response) -> bool + Send + Sync + 'static) -> Load {
        self.check = Arc::new(check);
        self
    }

    /// How long a connection rests between two requests, so that two cores are not busy with the load alone; 30 ms unless said.
    pub fn pace(mut self, pace: Duration) -> Load {
        self.pace = pace;
        self
    }

    /// How long an answer may take as a whole; 20 s unless said.
    pub fn patience(mut self, patience: Duration) -> Load {
        self.patience = patience;
        self
    }

    /// Starts it. It goes on until [`Running::stop`], or until the test ends.
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let mut workers = JoinSet::new();
        for number in 0..self.connections {
            workers.spawn(worker(self.clone(), number, shared.clone()));
        }
        Running { shared, workers }
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicUsize,
    counts: Mutex<Counts>,
}

/// A load under way.
pub struct Running {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

impl Running {
    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts.lock().unwrap().clone()
    }

    /// Waits until so many more requests than now are answered or have failed.
    pub async fn more(&self, count: usize) {
        let goal = self.counts().total() + count;
        until_within(
            Duration::from_secs(120),
            &format!("{count} more requests of the load"),
            async || self.counts().total() >= goal,
        )
        .await;
    }

    /// Goes on for so long, and at least for `count` requests.
    pub async fn go_on(&self, time: Duration, count: usize) {
        let (start, goal) = (Instant::now(), self.counts().total() + count);
        until_some(
            time + Duration::from_secs(120),
            &format!("{count} more requests of the load"),
            async || (start.elapsed() >= time && self.counts().total() >= goal).then_some(()),
        )
        .await;
    }

    /// Ends it when the requests under way are done, and says what was counted.
    pub async fn stop(mut self) -> Counts {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(worker) = self.workers.join_next().await {
            worker.expect("a worker of the load");
        }
        self.counts()
    }
}

async fn worker(load: Load, number: usize, shared: Arc<Shared>) {
    let mut kept: Option<Connection> = None;
    // the workers' first requests are spread over one pace
    sleep(load.pace * u32::try_from(number).unwrap_or(0) / u32::try_from(load.connections).unwrap_or(1)).await;
    while !shared.stop.load(Ordering::SeqCst) {
        let target = &load.targets[shared.sent.fetch_add(1, Ordering::SeqCst) % load.targets.len()];
        let start = Instant::now();
        let answer = timeout(load.patience, exchange(&mut kept, load.to, target))
            .await
            .unwrap_or(Err(Failure::Timeout));
        let outcome = Outcome::of(&answer, target, &load.check);
        if !answer.as_ref().is_ok_and(|response| response.keeps_alive) {
            kept = None;
        }
        shared
            .counts
            .lock()
            .unwrap()
            .add(outcome, start.elapsed(), || describe(target, &answer));
        sleep(load.pace).await;
    }
}

async fn exchange(kept: &mut Option<Connection>, to: SocketAddr, target: &str) -> Result<Response, Failure> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::open(to).await?),
    };
    connection.send(&Request::get(target)).await
}

fn describe(target: &str, answer: &Result<Response, Failure>) -> String {
    match answer {
        Err(failure) => format!("{target}: {failure:?}"),
        Ok(response) => {
            let text: String = response.text().chars().take(300).collect();
            format!("{target}: {} cut={} {:?} {text}", response.status, response.cut, response.headers)
        }
    }
}

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    NotSuccess,
    Connect,
    Reset,
    Timeout,
    Short,
    Wrong,
}

impl Outcome {
    fn of(answer: &Result<Response, Failure>, target: &str, check: &Check) -> Outcome {
        match answer {
            Err(Failure::Connect(_) | Failure::Handshake(_)) => Outcome::Connect,
            Err(Failure::Reset) => Outcome::Reset,
            Err(Failure::Timeout) => Outcome::Timeout,
            Err(Failure::Cut) => Outcome::Short,
            Err(Failure::Malformed(_)) => Outcome::Wrong,
            Ok(response) if response.cut => Outcome::Short,
            Ok(response) if !(200..300).contains(&response.status) => Outcome::NotSuccess,
            Ok(response) if check(target, response) => Outcome::Ok,
            Ok(_) => Outcome::Wrong,
        }
    }
}

/// What a load counted.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Right answers.
    pub ok: usize,
    /// Whole answers that are not 2xx.
    pub not_success: usize,
    /// No connection.
    pub connect: usize,
    /// Closed or reset before a whole head.
    pub reset: usize,
    /// Too slow.
    pub timeout: usize,
    /// The body was too short.
    pub short: usize,
    /// The body was wrong.
    pub wrong: usize,
    /// The longest that a request took.
    pub slowest: Duration,
    /// The first few failures.
    pub examples: Vec<String>,
}

impl Counts {
    fn add(&mut self, outcome: Outcome, took: Duration, describe: impl FnOnce() -> String) {
        let count = match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::NotSuccess => &mut self.not_success,
            Outcome::Connect => &mut self.connect,
            Outcome::Reset => &mut self.reset,
            Outcome::Timeout => &mut self.timeout,
            Outcome::Short => &mut self.short,
            Outcome::Wrong => &mut self.wrong,
        };
        *count += 1;
        self.slowest = self.slowest.max(took);
        if outcome != Outcome::Ok && self.examples.len() < 10 {
            self.examples.push(describe());
        }
    }

    /// Requests that failed, in whatever way.
    pub fn failed(&self) -> usize {
        self.not_success + self.connect + self.reset + self.timeout + self.short + self.wrong
    }

    /// All requests.
    pub fn total(&self) -> usize {
        self.ok + self.failed()
    }

    /// Fails the test when a request failed, and shows the first ones that did.
    #[track_caller]
    pub fn assert_none_failed(&self) {
        assert!(self.failed() == 0, "{self}");
        assert!(self.ok > 0, "the load sent nothing");
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} requests failed: {} not 2xx, ",
            self.failed(),
            self.total(),
            self.not_success
        )?;
        write!(
            f,
            "{} no connection, {} reset, {} too slow, ",
            self.connect, self.reset, self.timeout
        )?;
        write!(
            f,
            "{} cut short, {} wrong; the slowest took {:?}",
            self.short, self.wrong, self.slowest
        )?;
        for example in &self.examples {
            write!(f, "\n  {example}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Origin, Refusing, Reply, Step};

    async fn counts(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Counts {
        let origin = Origin::start(move |_| reply()).await;
        let load = Load::new(origin.addr(), &["/a", "/b"])
            .connections(2)
            .pace(Duration::from_millis(1))
            .patience(Duration::from_millis(300));
        let running = load.check(|_, response| response.body == b"right").start();
        running.more(6).await;
        running.stop().await
    }

    #[tokio::test]
    async fn right_answers_are_counted_as_such() {
        let counts = counts(|| Reply::text("right")).await;
        counts.assert_none_failed();
        assert_eq!(counts.ok, counts.total());
    }

    #[tokio::test]
    async fn every_kind_of_failure_is_counted_as_its_own() {
        assert_eq!(counts(|| Reply::new(503)).await.ok, 0);
        let not_success = counts(|| Reply::new(503).body("right")).await;
        assert_eq!(not_success.not_success, not_success.total());
        let reset = counts(Reply::reset).await;
        assert_eq!(reset.reset, reset.total());
        let closed = counts(Reply::close).await;
        assert_eq!(closed.reset, closed.total());
        let timeout = counts(Reply::never).await;
        assert_eq!(timeout.timeout, timeout.total());
        let short = counts(|| Reply::script(vec![Step::write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nright"), Step::Close])).await;
        assert_eq!(short.short, short.total());
        let chunks = counts(|| {
            Reply::script(vec![
                Step::write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n"),
                Step::Close,
            ])
        })
        .await;
        assert_eq!(chunks.short, chunks.total());
        let wrong = counts(|| Reply::text("wrong")).await;
        assert_eq!(wrong.wrong, wrong.total());
    }

    #[tokio::test]
    async fn a_refused_connection_is_a_failure() {
        let refusing = Refusing::start();
        let running = Load::new(refusing.addr(), &["/"]).connections(1).start();
        running.more(2).await;
        let counts = running.stop().await;
        assert_eq!(counts.connect, counts.total());
    }

    #[tokio::test]
    async fn an_announced_close_is_no_failure_and_an_unannounced_one_is() {
        let announced = counts(|| Reply::text("right").header("Connection", "close").then(Step::Close)).await;
        announced.assert_none_failed();
        let unannounced = counts(|| Reply::text("right").then(Step::Close)).await;
        assert!(unannounced.reset > 0 && unannounced.ok > 0, "{unannounced}");
    }
}
