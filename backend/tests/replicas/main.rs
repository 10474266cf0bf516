//! PostgreSQL with real streaming replicas: who is asked, and what happens when one of the servers lags, hangs, dies, or takes another's place.
//!
//! A test binary of its own, so that these tests, which hurt whole servers, run beside nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod compose;
mod failover;
mod load;
mod reading;
mod whole;
