//! The tests of requests once more, over the pingora engine: the same files, by their paths. The harness knows this target by its name and
//! writes `engine = "pingora"` into every configuration.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "../balancing/main.rs"]
mod balancing;
#[path = "../caching/main.rs"]
mod caching;
#[path = "../health/main.rs"]
mod health;
#[path = "../overload/main.rs"]
mod overload;
#[path = "../proxying/main.rs"]
mod proxying;
#[path = "../reload/main.rs"]
mod reload;
#[path = "../retrying/main.rs"]
mod retrying;
#[path = "../shared/main.rs"]
mod shared;
#[path = "../tls/main.rs"]
mod tls;
#[path = "../traffic/main.rs"]
mod traffic;
