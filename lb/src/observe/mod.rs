//! What an operator sees of a running `lb`: the access log, the metrics, and `lb`'s own log.
//!
//! Watching must not change what is watched. So nothing in here makes a request wait:
//!
//! - a log line is handed over as plain data to a thread that formats and writes it (`queue/`); where the reader of the log is slow or
//!   the disk is full, lines are given up and counted, and the request is not delayed;
//! - a metric is an atomic number that the request adds to ([`metrics`]); names and labels are put together when somebody scrapes.
//!
//! | who | asks for | what |
//! |---|---|---|
//! | the builder of a snapshot | [`Metrics::route`], [`Metrics::upstream`], [`Metrics::server`] | handles, found by name once |
//! | the exchange, at the end of a request | [`RouteMetrics::done`], [`AccessLog::send`] | one addition, one line |
//! | a reload | [`Metrics::retain`], [`AccessLog::reload`], [`log::Handle::set_level`] | what has changed |
//! | SIGUSR1 | [`AccessLog::reopen`] | log rotation |
//! | the admin address | [`Metrics::render`] | the Prometheus text |

pub mod access_log;
mod format;
pub mod log;
pub mod metrics;
mod queue;
pub mod record;

pub use access_log::AccessLog;
pub use metrics::{CacheOutcome, Counter, Gauges, Metrics, RouteMetrics, ServerGauges, ServerMetrics, UpstreamGauges, UpstreamMetrics};
pub use record::{Record, Text};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision that this program was built from, or `unknown`.
pub const REVISION: &str = match option_env!("LB_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
