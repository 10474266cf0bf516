//! The cache in Redis, over both databases: what is served from it, what never is, and what becomes of that when Redis or a server goes
//! away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod crowd;
mod fake;
mod interleavings;
mod outage;
mod outbox;
mod reading;

/// Runs each of these tests, functions of two servers with one Redis, on both databases.
macro_rules! on_two {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::common::Cached::start(crate::common::Kind::Sqlite, 2).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::common::Cached::start(crate::common::Kind::Postgres, 2).await).await;
            })+
        }
    };
}
pub(crate) use on_two;
