//! A source: what is known of it, since when, and when to look again.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lb_config::DnsName;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::dns::FoundServer;
use super::file::ServersFile;
use crate::observe::UpstreamMetrics;
use crate::upstream::resolve::Layout;
use crate::watched;

/// However short a TTL is.
const SHORTEST: Duration = Duration::from_secs(1);
/// Between two looks that fail, at most, however often they have.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// An entry of `servers` that stands for servers which come and go.
pub(in crate::upstream) struct Source {
    /// Whose entry it is.
    pub(super) upstream: Arc<str>,
    pub(super) what: What,
    /// Wakes the task that looks.
    pub(super) wake: Notify,
    metrics: Arc<UpstreamMetrics>,
    known: Mutex<Known>,
}

/// Where servers are found.
pub(super) enum What {
    /// In DNS.
    Name(DnsName),
    /// In a file. The servers in it are judged by what they are for.
    File(PathBuf, Arc<lb_config::Upstream>, Arc<Mutex<ServersFile>>),
}

/// A set of servers.
#[derive(PartialEq)]
pub(in crate::upstream) enum Found {
    /// In order; at least one.
    Servers(Vec<FoundServer>),
    /// What a file names.
    Layout(Layout),
}

#[derive(Clone)]
struct Known {
    /// The last good set.
    found: Option<Arc<Found>>,
    /// When it was last found to be right.
    refreshed: Option<SystemTime>,
    /// Why that was not at the last look.
    error: Option<String>,
    /// Looks since then.
    failures: u32,
    next: Instant,
}

/// What there is to say of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// As the configuration has it.
    pub source: String,
    /// When a look last went well.
    pub refreshed: Option<SystemTime>,
    /// What was wrong with the last one.
    pub error: Option<String>,
}

impl Source {
    /// One that knows what the one `before` it knows, if anything, and is to be looked at now.
    pub(super) fn new(upstream: Arc<str>, what: What, metrics: Arc<UpstreamMetrics>, before: Option<&Source>) -> Self {
        // What was in a file has been judged by other rules.
        let inherited = before
            .filter(|_| matches!(what, What::Name(_)))
            .map(|before| before.known().clone());
        let nothing = Known {
            found: None,
            refreshed: None,
            error: None,
            failures: 0,
            next: Instant::now(),
        };
        let known = Known {
            next: Instant::now(),
            ..inherited.unwrap_or(nothing)
        };
        Self {
            upstream,
            what,
            wake: Notify::new(),
            metrics,
            known: Mutex::new(known),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last good set; `None`: there was none yet.
    pub(in crate::upstream) fn found(&self) -> Option<Arc<Found>> {
        self.known().found.clone()
    }

    pub(super) fn error(&self) -> Option<String> {
        self.known().error.clone()
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        self.known().next
    }

    pub(in crate::upstream) fn status(&self) -> SourceStatus {
        let known = self.known();
        SourceStatus {
            source: self.what.to_string(),
            refreshed: known.refreshed,
            error: known.error.clone(),
        }
    }

    /// A look went well, at least in part. Whether the set is another one.
    pub(super) fn learned(&self, found: Found, ttl: Duration, failed: Option<String>) -> bool {
        if failed.is_some() {
            self.metrics.discovery_failed();
        }
        let mut known = self.known();
        match (&failed, known.error.is_some()) {
            (Some(error), false) => {
                tracing::warn!(upstream = %self.upstream, source = %self.what, error, "servers were found in part; the others stay as they were")
            }
            (None, true) => tracing::info!(upstream = %self.upstream, source = %self.what, "servers are found again"),
            _ => {}
        }
        let changed = known.found.as_deref() != Some(&found);
        if changed {
            known.found = Some(Arc::new(found));
        }
        known.refreshed = Some(SystemTime::now());
        known.error = failed;
        known.failures = 0;
        known.next = Instant::now() + self.what.next_look(ttl);
        changed
    }

    /// A look at a file found nothing new: what it says is still in use, or still cannot be.
    pub(super) fn unchanged(&self) -> bool {
        let in_use = self.file().is_some_and(|file| file.is_in_use());
        let mut known = self.known();
        if in_use {
            if known.error.take().is_some() {
                tracing::info!(upstream = %self.upstream, source = %self.what, "the file is again as it was");
            }
            known.refreshed = Some(SystemTime::now());
            known.failures = 0;
        }
        known.next = Instant::now() + watched::EVERY;
        false
    }

    /// A look failed. What was known stays.
    pub(super) fn failed(&self, error: String) -> bool {
        self.metrics.discovery_failed();
        let mut known = self.known();
        if known.error.is_none() {
            let (upstream, source) = (&self.upstream, &self.what);
            match known.found {
                Some(_) => tracing::warn!(%upstream, %source, error, "servers cannot be found anew; the last good ones stay"),
                None => tracing::warn!(%upstream, %source, error, "no servers were found; looking again"),
            }
        }
        known.error = Some(error);
        known.failures = known.failures.saturating_add(1);
        known.next = Instant::now() + self.what.next_try(known.failures);
        false
    }

    /// The file that this is; `None` for a name.
    pub(super) fn file(&self) -> Option<MutexGuard<'_, ServersFile>> {
        match &self.what {
            What::File(_, _, file) => Some(file.lock().unwrap_or_else(PoisonError::into_inner)),
            What::Name(_) => None,
        }
    }
}

impl What {
    pub(super) fn file(path: PathBuf, upstream: Arc<lb_config::Upstream>) -> Self {
        let file = ServersFile::new(path.clone(), upstream.clone());
        Self::File(path, upstream, Arc::new(Mutex::new(file)))
    }

    /// Whether a source of the one is as good as one of the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(other)) => one == other,
            (Self::File(path, upstream, _), Self::File(other_path, other_upstream, _)) => path == other_path && upstream == other_upstream,
            _ => false,
        }
    }

    fn next_look(&self, ttl: Duration) -> Duration {
        match self {
            Self::Name(name) => spread(ttl.clamp(SHORTEST, name.refresh), rand::random()),
            Self::File(..) => watched::EVERY,
        }
    }

    fn next_try(&self, failures: u32) -> Duration {
        match self {
            Self::Name(name) => spread(backoff(failures).min(name.refresh), rand::random()),
            Self::File(..) => watched::EVERY,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::File(path, ..) => write!(f, "file://{}", path.display()),
        }
    }
}

/// Up to a tenth more, so that names which began together are not asked for together for ever. `random` is from 0 to 1.
fn spread(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 + random / 10.0)
}

/// 1 s, 2 s, 4 s and so on.
fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (SHORTEST * (1 << doublings)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(refresh: u64) -> What {
        What::Name(DnsName {
            name: "app.internal".into(),
            port: Some(80),
            nameserver: None,
            refresh: Duration::from_secs(refresh),
        })
    }

    fn source(refresh: u64) -> Source {
        Source::new("app".into(), name(refresh), Arc::default(), None)
    }

    fn set(addresses: &[&str]) -> Found {
        let server = |ip: &&str| FoundServer {
            ip: ip.parse().expect("an address"),
            port: 80,
            weight: 1,
            backup: false,
            host: "app.internal.".into(),
        };
        Found::Servers(addresses.iter().map(server).collect())
    }

    proptest! {
        #[test]
        fn the_next_look_is_at_the_ttl_within_bounds(ttl in 0_u64..100_000, refresh in 1_u64..1_000) {
            let wait = name(refresh).next_look(Duration::from_secs(ttl)).as_secs_f64();
            let due = ttl.clamp(1, refresh) as f64;
            prop_assert!(wait >= due && wait <= due * 1.1 + 0.001);
        }

        #[test]
        fn the_next_try_is_never_later_than_the_next_look_could_be(failures in 1_u32.., refresh in 1_u64..1_000) {
            let wait = name(refresh).next_try(failures).as_secs_f64();
            prop_assert!((1.0..=refresh as f64 * 1.1 + 0.001).contains(&wait) && wait <= 33.001);
        }
    }

    #[test]
    fn tries_are_doubled() {
        assert_eq!([1, 2, 3, 6, 40].map(|n| backoff(n).as_secs()), [1, 2, 4, 30, 30]);
    }

    #[tokio::test]
    async fn the_last_good_set_stays_and_the_same_set_is_no_change() {
        let source = source(30);
        assert!(source.found().is_none());
        source.failed("gone".into());
        assert!(source.found().is_none() && source.status().refreshed.is_none());
        assert!(source.learned(set(&["10.0.0.1"]), Duration::ZERO, None));
        assert!(!source.learned(set(&["10.0.0.1"]), Duration::ZERO, None));
        source.failed("gone".into());
        let status = source.status();
        assert_eq!(status.error.as_deref(), Some("gone"));
        assert!(status.refreshed.is_some());
        assert!(source.found().as_deref() == Some(&set(&["10.0.0.1"])));
        assert!(source.learned(set(&["10.0.0.2"]), Duration::ZERO, None));
        assert_eq!(source.status().error, None);
    }

    #[tokio::test]
    async fn other_settings_keep_what_is_known() {
        let before = source(30);
        before.learned(set(&["10.0.0.1"]), Duration::from_secs(20), None);
        let after = Source::new("app".into(), name(5), Arc::default(), Some(&before));
        assert!(after.found().as_deref() == Some(&set(&["10.0.0.1"])));
        assert!(after.next() <= Instant::now());
    }
}
