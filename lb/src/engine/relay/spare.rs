//! An answer that was set aside.
//!
//! A server has answered by a status that is tried again, and another one is asked. Should nothing better come, that answer is the one that the
//! client gets, as the server gave it. So its connection is kept with the head that was read, and nothing more is read of it: what the server
//! has still to send stays in the kernel's buffers, and in the server's.

use super::pool::Key;
use super::upstream::Connection;
use crate::engine::h1::ResponseFraming;

/// See the [module](self).
pub(super) struct Spare {
    key: Key,
    connection: Connection,
    /// Its server was sent the whole request.
    whole: bool,
}

impl Spare {
    pub(super) fn new(key: Key, connection: Connection, whole: bool) -> Self {
        Self { key, connection, whole }
    }

    /// The connection, and whether its server was sent the whole request; `None`: it broke meanwhile. `is_head`: the request's method is HEAD.
    pub(super) fn take(self, is_head: bool) -> Option<(Key, Connection, bool)> {
        let parsed = self.connection.parsed();
        let there = (self.connection.received().len() - parsed.len()) as u64;
        let good = match parsed.framing(is_head) {
            ResponseFraming::None => true,
            ResponseFraming::Length(length) => length <= there || self.connection.is_open(false),
            ResponseFraming::Chunked => self.connection.is_open(false),
            ResponseFraming::UntilClose => self.connection.is_open(true),
        };
        good.then_some((self.key, self.connection, self.whole))
    }
}
