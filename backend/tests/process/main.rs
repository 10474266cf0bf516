//! The real binary: how it starts, shares a database with others, logs, and ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod auth;
mod crowd;
mod drain;
mod log;
mod migrations;
mod sharing;
mod traces;
mod waiting;
