//! The harness behind the tests of whole binaries.
//!
//! The tests in `tests/tests/` start the real `lb` and the real `backend`, put scripted servers ([`origin`]) behind them and a client that
//! sees raw bytes ([`client`]) before them, and state what must hold between the two. Nothing here knows a type of the proxy: what is
//! tested is what a user sees on a socket, in a file or as an exit code.
//!
//! * [`lb`] and [`backend`] start the binaries, [`command`] runs them once, [`process`] is what they share
//! * [`origin`] is a server in this process that does as it is told and remembers what it was sent
//! * [`client`] is an HTTP/1.1 client on a raw socket, [`h2c`] one for HTTP/2 with prior knowledge
//! * [`engine`] has the tests of requests run over both engines
//! * [`tls`] has certificates and TLS for both ends
//! * [`dns`] is a DNS server whose records change while it runs
//! * [`redis`] is a Redis that can be killed and started again
//! * [`postgres`] is a primary with replicas, each of which can be killed and started again
//! * [`load`] sends a steady load and counts every kind of failure
//! * [`metrics`] reads the Prometheus text, [`access_log`] the log lines
//! * [`wait`] waits for conditions: no test sleeps for a fixed time and hopes
//! * [`ports`] hands out ports that no other test process uses
//! * [`report`] writes the rows of `docs/DRILLS.md`
//!
//! Before any of this runs the binaries must be built: `cargo build -p lb -p backend`. They are looked for beside the test executable, or
//! in `LB_TEST_BIN_DIR`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness reports what went wrong by failing the test"
)]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it started")]

pub mod access_log;
pub mod backend;
pub mod client;
pub mod command;
pub mod dns;
pub mod engine;
pub mod framing;
pub mod h2c;
pub mod lb;
pub mod load;
pub mod metrics;
pub mod origin;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod report;
pub mod tls;
pub mod wait;

use std::net::SocketAddr;

/// Addresses as the inside of a TOML list: `"127.0.0.1:1", "127.0.0.1:2"`.
pub fn servers(addresses: &[SocketAddr]) -> String {
    addresses
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect::<Vec<_>>()
        .join(", ")
}
