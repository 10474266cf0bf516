//! Which servers count as healthy, and what happens when none does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod active;
mod announced;
mod grpc;
mod many;
mod none_left;
mod orders;
mod panic;
mod passive;
mod rate;
mod secured;

use lb_tests::origin::Origin;
use lb_tests::servers;

/// An upstream `app` of these, checked like this besides the path, with these settings besides.
fn checked(origins: &[&Origin], check: &str, settings: &str) -> String {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.addr()).collect();
    let check = format!("health_check = {{ type = \"http\", path = \"/check\", {check} }}");
    format!("[upstreams.app]\nservers = [{}]\n{check}\n{settings}\n", servers(&addresses))
}
