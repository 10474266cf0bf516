//! HTTP/1.1 on raw bytes: the front of both engines, and all of the relay.
//!
//! A connection is a stream of bytes in which one request follows another, and everything that can go wrong between two servers begins with
//! a disagreement about where one ends (RFC 9112 §11.2). Here it is decided once, for whoever works on the request afterwards:
//!
//! - `head` reads a request head strictly: malformed and ambiguous ones are refused, limits hold while reading.
//! - `response` reads the head of an answer as strictly: a server is trusted no more than a client to say where its message ends.
//! - `body` follows a body to its last byte, and refuses a malformed one where it shows.
//! - `stream` is a client's connection: it gives out one request at a time, and what comes early waits.

pub mod body;
mod chars;
mod error;
mod fields;
pub mod head;
#[cfg(test)]
mod invariants;
mod limits;
mod parsed;
pub mod response;
mod span;
pub mod stream;
mod target;
mod view;

pub use body::{Body, BodyError, Piece};
pub use error::HeadError;
pub use fields::{Lines, Rendered};
pub use head::{HeadLimits, Parser};
pub use parsed::{Framing, Parsed};
pub use response::{ResponseError, ResponseFraming, ResponseParsed, ResponseParser, ResponseView};
pub use stream::{ClientControl, ClientStream, HeadFailure, HeadRead, HeadTimeouts, Request};
pub use view::Head;
