//! A steady load that counts every way in which a request can fail.
//!
//! Each of N connections sends GETs, one after the other, and checks every body. A request has failed when its answer is not 2xx, when
//! there was no connection, a reset, nothing for too long, a body too short, or a wrong one.
//!
//! What is no failure: to connect again after an answer that announced it by `Connection: close`. What is one: a kept-alive connection that
//! is closed without that announcement, whether before or after the next request was written to it. Many clients send such a request
//! again, but they cannot do it for every method, and a proxy that is asked to lose nothing has to announce it. It counts as `reset`.

mod counts;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use counts::Counts;
use counts::Outcome;
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
    http10: bool,
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
            http10: false,
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

    /// Speaks HTTP/1.0: a connection for each request, and bodies that may end with it.
    pub fn http10(mut self) -> Load {
        self.http10 = true;
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

    fn request(&self, target: &str) -> Request {
        let request = Request::get(target);
        if self.http10 { request.http10() } else { request }
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

    /// How many requests were counted so far.
    pub fn total(&self) -> usize {
        self.shared.counts.lock().unwrap().total()
    }

    /// Waits until so many more requests than now are answered or have failed.
    pub async fn more(&self, count: usize) {
        let goal = self.total() + count;
        until_within(
            Duration::from_secs(120),
            &format!("{count} more requests of the load"),
            async || self.total() >= goal,
        )
        .await;
    }

    /// Goes on for so long, and at least for `count` requests.
    pub async fn go_on(&self, time: Duration, count: usize) {
        let (start, goal) = (Instant::now(), self.total() + count);
        until_some(
            time + Duration::from_secs(120),
            &format!("{count} more requests of the load"),
            async || (start.elapsed() >= time && self.total() >= goal).then_some(()),
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
        let answer = timeout(load.patience, exchange(&mut kept, load.to, load.request(target)))
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

async fn exchange(kept: &mut Option<Connection>, to: SocketAddr, request: Request) -> Result<Response, Failure> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::open(to).await?),
    };
    connection.send(&request).await
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
