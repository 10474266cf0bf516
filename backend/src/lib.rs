//! The user API behind `lb`: users in SQLite or PostgreSQL, over HTTP.
//!
//! A request passes the layers from top to bottom, and each knows only the one below it:
//!
//! | module | knows |
//! | --- | --- |
//! | [`serve`] | sockets, signals, draining |
//! | [`http`] | methods, headers, status codes; turns requests into calls and results into responses |
//! | [`users`] | what a user is, and what a request may say about one |
//! | [`auth`] | passwords, tokens, sessions |
//! | [`cache`] | what of the users is in Redis, and whether it may be believed |
//! | [`store`] | SQL and Redis |
//!
//! Beside them stand [`settings`] (what the environment says), [`error`] (every refusal becomes a response there) and [`log`].

pub mod auth;
pub mod cache;
pub mod count;
pub mod error;
pub mod http;
pub mod idempotency;
pub mod log;
pub mod serve;
pub mod settings;
pub mod store;
pub mod users;
