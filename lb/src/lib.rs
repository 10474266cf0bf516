//! A load balancer and caching reverse proxy.
//!
//! Walking the modules in this order is walking a request from the first byte to the log line: [`server`] accepts, an [`engine`] moves
//! bytes, the [`exchange`] decides with the help of [`route`], [`admit`], [`cache`], [`balance`] and [`upstream`], [`filter`] edits,
//! [`reject`] refuses, [`observe`] tells what happened.

pub mod admin;
pub mod admit;
pub mod balance;
pub mod cache;
pub mod command;
pub mod engine;
pub mod exchange;
pub mod filter;
pub mod observe;
pub mod proxy;
pub mod reject;
pub mod route;
pub mod server;
pub mod simulate;
pub mod snapshot;
pub mod tls;
pub mod upstream;

#[cfg(test)]
pub(crate) mod test_head;
