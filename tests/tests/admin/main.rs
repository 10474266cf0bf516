//! The admin address, and the commands that talk to it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod access;
mod commands;
mod explain;
mod metrics;
mod orders;
mod probes;
mod purge_command;
mod server_command;
mod simulate;
mod start;
mod status;

use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;

/// A route with a name to one origin.
fn named_route(origin: &Origin) -> String {
    format!(
        "[upstreams.users]\nservers = [{}]\n\n[[routes]]\nname = \"people\"\npath = \"/users\"\nupstream = \"users\"\n",
        servers(&[origin.addr()])
    )
}

async fn plain() -> (Lb, Origin) {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&named_route(&origin)).await;
    (lb, origin)
}
