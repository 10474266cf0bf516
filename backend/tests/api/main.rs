//! The API over a real socket, on both databases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod auth;
mod caching;
mod conditions;
mod crud;
mod errors;
mod limits;
mod listing;
mod openapi;
mod operation;
mod outage;
mod races;
