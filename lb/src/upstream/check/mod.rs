//! Active health: asking each server from time to time whether it could serve.
//!
//! What is asked is a `HealthCheck` of pingora-load-balancing ([`http`] and [`tcp`] here: one timeout for the whole of it, bounded reading);
//! what the answers mean is a [`Tally`], without time or sockets; and [`watch`] is the task that joins the two.
//!
//! There is one [`Check`] and one task for each address and definition in the process, however many upstreams share it, and a reload
//! that keeps it keeps both. A change is published by storing the new status and then advancing an epoch that everybody who derived
//! something from statuses compares with; so no request ever waits for a check, and no check for a request.

mod http;
mod secured;
mod tally;
mod tcp;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ::http::HeaderValue;
use lb_config::CheckKind;
use pingora_load_balancing::health_check::HealthCheck;
use rand::Rng;
use tokio::time::Instant;

use super::ResolvedAddress;
use super::epoch::Epoch;
pub(super) use secured::Secured;
pub use tally::Status;
use tally::Tally;

/// What makes two checks the same check.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CheckKey {
    /// What is connected to.
    target: ResolvedAddress,
    /// How. The `Host` of an HTTP check is always given.
    check: lb_config::HealthCheck,
    /// By which trust; `None`: without TLS.
    identity: Option<u64>,
}

impl CheckKey {
    /// The check of the server at `address`, in an upstream that has this `Host`.
    pub(super) fn new(
        address: &ResolvedAddress,
        check: &lb_config::HealthCheck,
        upstream_host: Option<&HeaderValue>,
        tls: Option<&Secured>,
    ) -> Self {
        let mut check = check.clone();
        if let CheckKind::Http { host, .. } = &mut check.kind {
            let own = || match address {
                ResolvedAddress::Ip(address) => HeaderValue::from_str(&address.to_string()).ok(),
                ResolvedAddress::Unix(_) => None,
            };
            *host = host
                .take()
                .or_else(|| upstream_host.cloned())
                .or_else(own)
                .or(Some(HeaderValue::from_static("localhost")));
        }
        Self {
            target: address.with_port(check.port),
            // A connection that opens says nothing of who is there.
            identity: tls.filter(|_| check.kind != CheckKind::Tcp).map(Secured::identity),
            check,
        }
    }

    fn probe(&self, tls: Option<Secured>) -> Box<dyn HealthCheck + Send + Sync> {
        match &self.check.kind {
            CheckKind::Tcp => Box::new(tcp::TcpCheck::new(&self.check)),
            CheckKind::Http { path, host, expect } => Box::new(http::HttpCheck::new(&self.check, path, host.as_ref(), expect.clone(), tls)),
        }
    }
}

/// What is known about one address by one check.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) key: CheckKey,
    tls: Option<Secured>,
    status: AtomicU8,
    record: Mutex<Record>,
    epoch: Arc<Epoch>,
}

#[derive(Debug, Default)]
struct Record {
    tally: Tally,
    last: Option<LastCheck>,
}

/// The last check of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCheck {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What was wrong; `None` when it passed.
    pub error: Option<String>,
}

/// What the checks of a server say, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// What has been concluded.
    pub status: Status,
    /// Passes since the last failure.
    pub passes: u32,
    /// Failures since the last pass.
    pub failures: u32,
    /// The last one; `None` before the first has ended.
    pub last: Option<LastCheck>,
}

impl Check {
    /// `tls` is what the key was made of.
    pub(super) fn new(key: CheckKey, tls: Option<Secured>, epoch: Arc<Epoch>) -> Self {
        Self {
            key,
            tls,
            status: AtomicU8::new(Status::Unchecked as u8),
            record: Mutex::default(),
            epoch,
        }
    }

    pub(super) fn status(&self) -> Status {
        Status::from_u8(self.status.load(Ordering::Acquire))
    }

    pub(super) fn report(&self) -> CheckReport {
        let record = self.record();
        let Tally { status, passes, failures } = record.tally;
        CheckReport {
            status,
            passes,
            failures,
            last: record.last.clone(),
        }
    }

    /// Nothing is known any more: nobody has been checking for a while.
    pub(super) fn forget(&self) {
        let mut record = self.record();
        *record = Record::default();
        self.publish(Status::Unchecked);
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
        self.epoch.advance();
    }

    /// Notes the end of a check. The new status, if that changed it.
    pub(super) fn note(&self, error: Option<String>, took: Duration, rise: usize, fall: usize) -> Option<Status> {
        let mut record = self.record();
        let changed = record.tally.note(error.is_none(), rise, fall);
        record.last = Some(LastCheck {
            at: SystemTime::now(),
            took,
            error,
        });
        changed.inspect(|status| self.publish(*status))
    }

    async fn once(&self, probe: &(dyn HealthCheck + Send + Sync)) {
        let started = Instant::now();
        let result = match self.key.target.backend() {
            Ok(backend) => probe.check(&backend).await.map_err(|error| text(&error)),
            Err(error) => Err(format!("not an address that can be checked: {error}")),
        };
        let error = result.err();
        let changed = self.note(
            error.clone(),
            started.elapsed(),
            probe.health_threshold(true),
            probe.health_threshold(false),
        );
        let target = &self.key.target;
        match changed {
            Some(Status::Healthy) => tracing::info!(server = %target, "healthy"),
            Some(_) => tracing::warn!(server = %target, error = error.as_deref().unwrap_or_default(), "unhealthy"),
            None => {}
        }
    }
}

fn text(error: &pingora::Error) -> String {
    error
        .context
        .as_ref()
        .map_or_else(|| error.etype.as_str().to_owned(), ToString::to_string)
}

/// The task: checks at once, then for ever. It ends by being aborted, between or within checks.
pub(super) async fn watch(check: Arc<Check>) {
    let probe = check.key.probe(check.tls.clone());
    watch_with(&check, &*probe).await;
}

async fn watch_with(check: &Check, probe: &(dyn HealthCheck + Send + Sync)) {
    let interval = check.key.check.interval;
    // Enough for a thousand first checks not to leave in one burst, and too little to notice.
    let first = interval.min(Duration::from_millis(20));
    tokio::time::sleep(between(Duration::ZERO, first)).await;
    loop {
        let next = Instant::now() + between(interval.mul_f64(0.9), interval.mul_f64(1.1));
        check.once(probe).await;
        tokio::time::sleep_until(next).await;
    }
}

/// A random time.
fn between(least: Duration, most: Duration) -> Duration {
    rand::rng().random_range(least..=most)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{health_check, ip};
    use super::*;
    use async_trait::async_trait;
    use pingora_load_balancing::Backend;

    fn check_of(check: &lb_config::HealthCheck) -> Check {
        Check::new(CheckKey::new(&ip("127.0.0.1:1"), check, None, None), None, Arc::default())
    }

    /// A check that takes no time and remembers when it was made.
    #[derive(Default)]
    struct Clock(Mutex<Vec<Instant>>);

    #[async_trait]
    impl HealthCheck for Clock {
        async fn check(&self, _: &Backend) -> pingora::Result<()> {
            self.0.lock().expect("the lock").push(Instant::now());
            Ok(())
        }

        fn health_threshold(&self, _: bool) -> usize {
            1
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_check_is_at_once_and_the_others_follow_with_jitter() {
        let start = Instant::now();
        let (check, clock) = (check_of(&health_check(5_000)), Clock::default());
        let _ = tokio::time::timeout(Duration::from_secs(500), watch_with(&check, &clock)).await;
        let times = clock.0.into_inner().expect("the lock");
        assert!(times[0] - start <= Duration::from_millis(25), "{:?}", times[0] - start);
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (least, most) = (gaps.iter().min().expect("gaps"), gaps.iter().max().expect("gaps"));
        assert!(
            *least >= Duration::from_millis(4_490) && *most <= Duration::from_millis(5_510),
            "{least:?} {most:?}"
        );
        assert!(*most - *least > Duration::from_millis(300), "no jitter: {least:?} {most:?}");
        assert_eq!(check.status(), Status::Healthy);
    }

    #[tokio::test]
    async fn a_change_advances_the_epoch_and_the_report_has_the_reason() {
        let check = check_of(&health_check(1_000));
        let epoch = || check.epoch.now();
        let took = Duration::from_millis(3);
        check.note(None, took, 2, 2);
        assert_eq!((check.status(), epoch()), (Status::Healthy, 1));
        check.note(Some("status 500".into()), took, 2, 2);
        assert_eq!((check.status(), epoch()), (Status::Healthy, 1));
        check.note(Some("status 503".into()), took, 2, 2);
        assert_eq!((check.status(), epoch()), (Status::Unhealthy, 2));
        let report = check.report();
        assert_eq!((report.status, report.passes, report.failures), (Status::Unhealthy, 0, 2));
        assert_eq!(report.last.expect("a last check").error.as_deref(), Some("status 503"));
        check.forget();
        assert_eq!((check.status(), epoch()), (Status::Unchecked, 3));
    }

    #[test]
    fn checks_are_the_same_if_they_ask_the_same() {
        let mut check = health_check(1_000);
        check.port = Some(9);
        check.kind = CheckKind::Http {
            path: "/".into(),
            host: Some(HeaderValue::from_static("users")),
            expect: 200..=299,
        };
        let key =
            |address, host: Option<&'static str>| CheckKey::new(&ip(address), &check, host.map(HeaderValue::from_static).as_ref(), None);
        assert_eq!(key("10.0.0.1:1", None), key("10.0.0.1:2", Some("other")));
        assert_ne!(key("10.0.0.1:1", None), key("10.0.0.2:1", None));
        check.kind = CheckKind::Http {
            path: "/".into(),
            host: None,
            expect: 200..=299,
        };
        let host =
            |address: &ResolvedAddress, upstream: Option<&HeaderValue>| match CheckKey::new(address, &check, upstream, None).check.kind {
                CheckKind::Http { host, .. } => host.expect("a host").to_str().expect("text").to_owned(),
                CheckKind::Tcp => panic!("another kind"),
            };
        assert_eq!(host(&ip("10.0.0.1:1"), None), "10.0.0.1:1");
        assert_eq!(host(&ip("10.0.0.1:1"), Some(&HeaderValue::from_static("users"))), "users");
        assert_eq!(host(&ResolvedAddress::Unix("/run/a.sock".into()), None), "localhost");
    }
}
