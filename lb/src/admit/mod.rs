//! Who sent a request, whether that one may come, and what servers are told about it.
//!
//! The address on the other end of a connection is certain; all else that a request says about where it comes from is a claim. Claims
//! are believed from `trusted_proxies` alone, and a server behind `lb` can rely on what `lb` says in their place:
//!
//! 1. [`Peer`] is the other end of a connection, made once for it.
//! 2. [`Client`] is who sent this request: the peer, or whom a trusted peer speaks for.
//! 3. [`may_come`] holds the client against a route's `allow` and `deny`.
//! 4. [`RequestId`] and [`Forwarded`] are what a server learns; spoofed fields, in whatever spelling, are taken away before.
//! 5. [`Trace`] is what the request is a part of. It says nothing about where that comes from, and is taken from everybody.

mod address;
mod client;
mod forwarded;
mod request_id;
mod trace;

pub use address::{contains, may_come};
pub use client::{Client, Peer, Scheme};
pub use forwarded::{Forwarded, Spelled, spelled};
pub use request_id::RequestId;
pub use trace::{Trace, TraceId};
