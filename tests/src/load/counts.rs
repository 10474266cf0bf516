//! What came of a load.

use std::fmt;
use std::time::Duration;

use super::Check;
use crate::client::{Failure, Response};

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    NotSuccess,
    Connect,
    Reset,
    Timeout,
    Short,
    Wrong,
}

impl Outcome {
    pub(super) fn of(answer: &Result<Response, Failure>, target: &str, check: &Check) -> Outcome {
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
    /// What each took, in microseconds, failed or not.
    took: Vec<u32>,
    /// The first few failures.
    pub examples: Vec<String>,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: Outcome, took: Duration, describe: impl FnOnce() -> String) {
        *self.all_mut()[outcome as usize] += 1;
        self.slowest = self.slowest.max(took);
        self.took.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        if outcome != Outcome::Ok && self.examples.len() < 10 {
            self.examples.push(describe());
        }
    }

    /// The counts, in the order of [`Outcome`].
    fn all_mut(&mut self) -> [&mut usize; 7] {
        [
            &mut self.ok,
            &mut self.not_success,
            &mut self.connect,
            &mut self.reset,
            &mut self.timeout,
            &mut self.short,
            &mut self.wrong,
        ]
    }

    /// Requests that failed, in whatever way.
    pub fn failed(&self) -> usize {
        self.not_success + self.connect + self.reset + self.timeout + self.short + self.wrong
    }

    /// All requests.
    pub fn total(&self) -> usize {
        self.ok + self.failed()
    }

    /// What so many percent of the requests took at most. With none, nothing.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(index)
            .map_or(Duration::ZERO, |micros| Duration::from_micros(u64::from(*micros)))
    }

    /// What was counted since `before`, which is an earlier state of the same load.
    pub fn since(&self, before: &Counts) -> Counts {
        let mut counts = self.clone();
        for (count, earlier) in counts.all_mut().into_iter().zip(before.clone().all_mut()) {
            *count -= *earlier;
        }
        counts.took.drain(..before.took.len());
        counts.examples.drain(..before.examples.len());
        counts.slowest = counts.percentile(100);
        counts
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
