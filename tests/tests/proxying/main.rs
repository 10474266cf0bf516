//! What `lb` does to a request and to its answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod access_log;
mod answers;
mod backpressure;
mod bodies;
mod connections;
mod early;
mod errors;
mod events;
mod files;
mod headers;
mod http10;
mod http2;
mod interim;
mod kept;
mod limits;
mod malformed;
mod per_address;
mod pipelining;
mod routes;
mod shutdown;
mod streaming;
mod timeouts;
mod traces;
mod trailers;
mod upgrade;

use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;

/// The smallest file that works: everything goes to one server.
fn smallest(origin: &Origin) -> String {
    format!("[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]))
}

/// An `lb` before one origin that answers everything by 200 and its name.
async fn plain() -> (Lb, Origin) {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&smallest(&origin)).await;
    (lb, origin)
}
