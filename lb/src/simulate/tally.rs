//! What is counted while a simulation runs.

use hdrhistogram::Histogram;

use super::flight::Failure;
use super::outcome::{Failed, Outcome, ServerOutcome};
use crate::upstream::NoServer;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With an answer.
    Answered,
    /// With a 503 of a server's.
    Status,
    /// Without an answer.
    Failed(Failure),
    /// No server could be asked.
    NoServer(NoServer),
}

/// The counts of one server.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    load: u32,
    most: u32,
    tries: u64,
    failures: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tally {
    servers: Vec<Count>,
    latency: Histogram<u64>,
    ended: u64,
    failed: Failed,
    retries: u64,
    /// Requests at servers, together; since when; and what that has come to in requests × nanoseconds.
    load: u64,
    since: u64,
    busy: u128,
}

impl Tally {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            servers: vec![Count::default(); servers],
            latency: super::outcome::histogram(),
            ended: 0,
            failed: Failed::default(),
            retries: 0,
            load: 0,
            since: 0,
            busy: 0,
        }
    }

    /// A request has the right to ask this server from `now` on. How many have it now.
    pub(super) fn taken(&mut self, server: usize, now: u64) -> u32 {
        self.pass(now);
        self.load += 1;
        let count = &mut self.servers[server];
        count.load += 1;
        count.most = count.most.max(count.load);
        count.load
    }

    /// … until `now`.
    pub(super) fn left(&mut self, server: usize, now: u64) {
        self.pass(now);
        self.load -= 1;
        self.servers[server].load -= 1;
    }

    fn pass(&mut self, now: u64) {
        self.busy += u128::from(self.load) * u128::from(now - self.since);
        self.since = now;
    }

    pub(super) fn asked(&mut self, server: usize) {
        self.servers[server].tries += 1;
    }

    pub(super) fn failed(&mut self, server: usize) {
        self.servers[server].failures += 1;
    }

    pub(super) fn retried(&mut self) {
        self.retries += 1;
    }

    /// A request is over, so many nanoseconds after it arrived.
    pub(super) fn ended(&mut self, end: End, took: u64) {
        self.ended += 1;
        match end {
            End::Answered => self.latency.saturating_record(took / 1000),
            End::Status => self.failed.status += 1,
            End::Failed(Failure::Connect) => self.failed.connect += 1,
            End::Failed(Failure::Reset) => self.failed.reset += 1,
            End::Failed(Failure::Timeout) => self.failed.timeout += 1,
            End::NoServer(NoServer::AllFull) => self.failed.full += 1,
            End::NoServer(NoServer::QueueFull) => self.failed.queue_full += 1,
            End::NoServer(NoServer::TooLong) => self.failed.queued_too_long += 1,
            End::NoServer(_) => self.failed.no_server += 1,
        }
    }

    /// What it has come to by `now`, when all is over. `ejections` are those of each server.
    pub(super) fn outcome(mut self, upstream: &lb_config::Upstream, ejections: Vec<u64>, now: u64) -> Outcome {
        self.pass(now);
        let servers = upstream.servers.iter().zip(&self.servers).zip(ejections);
        let servers = servers.map(|((server, count), ejections)| ServerOutcome {
            name: server.address.to_string(),
            weight: server.weight,
            backup: server.backup,
            tries: count.tries,
            failures: count.failures,
            ejections,
            max_load: count.most,
        });
        Outcome {
            algorithm: upstream.balance.name(),
            requests: self.ended,
            failed: self.failed,
            retries: self.retries,
            latency: self.latency,
            mean_load: self.busy as f64 / (now.max(1) as f64 * self.servers.len().max(1) as f64),
            seconds: now as f64 / 1e9,
            servers: servers.collect(),
        }
    }
}
