//! One brain, two engines: the same bytes to both, and what comes back and what the server gets must be the same.
//!
//! Two `lb`s run side by side with one configuration, one by each engine, before two servers that follow one script. Each case is bytes of a
//! client. Compared are the answers (interim ones, status, fields, body, trailers, whether it was cut, whether the connection goes on), what
//! the servers received (method, target, fields, body), the access log and the metrics. Not compared is what is different by nature: dates,
//! request IDs, durations, ports, and the order and case of fields.
//!
//! What one of the engines lacks is not in these cases: `docs/ENGINES.md` lists it, and tests of its own are about it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod answers;
mod bodies;
mod cache;
mod choice;
mod documents;
mod own;
mod pair;
mod requests;
mod script;
mod seen;
mod tunnels;
