//! A hand on the client's connection while somebody else holds it.
//!
//! During an exchange the connection belongs to the engine's session, deep inside. What an engine decides about it meanwhile goes through this
//! handle, which it keeps from before.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Context;

use futures::task::AtomicWaker;

const UPGRADED: u8 = 1;
const OUTLIVES: u8 = 1 << 1;
const DETACHED: u8 = 1 << 2;
const GONE: u8 = 1 << 3;
const ABORTED: u8 = 1 << 4;
const MALFORMED: u8 = 1 << 5;
const CUT: u8 = 1 << 6;

/// Decisions about a client's connection, each for the request that is under way. One for a connection; shared.
#[derive(Debug, Default)]
pub struct ClientControl {
    flags: AtomicU8,
    writer: AtomicWaker,
}

impl ClientControl {
    /// The protocols were switched (101): from now on bytes pass both ways as they are, those that came early first.
    pub fn upgrade(&self) {
        self.set(UPGRADED);
    }

    /// The exchange goes on even if the client leaves, because others need its result (a cache fill). As long as the client is there nothing
    /// changes; once it has gone, reads wait for ever and writes are swallowed, instead of failing.
    pub fn outlive(&self) {
        self.set(OUTLIVES);
    }

    /// Takes [`Self::outlive`] back: the exchange is for this client only.
    pub fn depend(&self) {
        self.flags.fetch_and(!OUTLIVES, Ordering::AcqRel);
    }

    /// Gives the client up now: the connection is closed at the next read or write, and then as if it had gone under [`Self::outlive`].
    pub fn detach(&self) {
        self.set(DETACHED);
        self.writer.wake();
    }

    /// What was sent of the answer is not all of it, and may look as if it were: the connection ends with a reset instead of an orderly close.
    pub fn abort(&self) {
        self.set(ABORTED);
    }

    /// What was sent of the answer is not all of it, as the client can see: the connection ends without a goodbye that would make it look
    /// whole (RFC 8446 §6.1).
    pub fn cut(&self) {
        self.set(CUT);
    }

    /// Whether the client is known to have closed or lost the connection, or was given up.
    #[must_use]
    pub fn client_gone(&self) -> bool {
        self.has(GONE | DETACHED)
    }

    /// Whether the body of the request was found malformed: what an engine takes for a broken connection, and deserves a 400.
    #[must_use]
    pub fn is_body_malformed(&self) -> bool {
        self.has(MALFORMED)
    }

    pub(super) fn set_malformed(&self) {
        self.set(MALFORMED);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.has(UPGRADED)
    }

    pub(super) fn outlives(&self) -> bool {
        self.has(OUTLIVES | DETACHED)
    }

    pub(super) fn is_detached(&self) -> bool {
        self.has(DETACHED)
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.has(ABORTED)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.has(CUT | ABORTED)
    }

    /// Whether no further request can follow.
    pub(super) fn ends_connection(&self) -> bool {
        self.has(UPGRADED | ABORTED | CUT)
    }

    pub(super) fn set_gone(&self) {
        self.set(GONE);
    }

    /// A new request: nothing is decided.
    pub(super) fn reset(&self) {
        self.flags.store(0, Ordering::Release);
    }

    /// A blocked write shall hear of [`Self::detach`].
    pub(super) fn wake_writer_of(&self, cx: &Context<'_>) {
        self.writer.register(cx.waker());
    }

    fn set(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }

    fn has(&self, flags: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flags != 0
    }
}
