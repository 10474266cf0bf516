//! What a route does with its traffic beside passing it on: splits it, copies it, breaks it on purpose.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod fault;
mod headers;
mod mirror;
mod mirror_bounds;
mod split;

use lb_tests::client::{Request, Response};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;

/// An upstream of this server, without checks, retries or ejections, so that a test sees every try.
fn upstream(name: &str, origin: &Origin) -> String {
    upstream_with(name, origin, "retry = \"off\"")
}

/// The same with these settings besides.
fn upstream_with(name: &str, origin: &Origin, settings: &str) -> String {
    format!(
        "[upstreams.{name}]\nservers = [{}]\npassive_health = \"off\"\n{settings}\n\n",
        servers(&[origin.addr()])
    )
}

/// What lets `lb` believe a test about where its requests come from.
const TRUSTING: &str = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n\n";

/// Sends a request that a trusted proxy says to be this client's.
async fn send_as(lb: &Lb, client: usize, request: Request) -> Response {
    lb.send(&request.header("X-Forwarded-For", address(client))).await
}

/// The address of a client.
fn address(client: usize) -> String {
    format!("198.51.{}.{}", client / 250, client % 250 + 1)
}
