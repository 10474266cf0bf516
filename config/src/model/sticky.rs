//! `sticky`.

use std::sync::Arc;
use std::time::Duration;

use super::Secret;

/// `sticky`: a client stays with its server, by a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name, a token (RFC 6265 §4.1.1).
    pub cookie: Arc<str>,
    /// For how long the cookie holds; `None`: as long as the browser's session.
    pub ttl: Option<Duration>,
    /// What cookies are made with, 16 bytes or more; `None`: something random, which is the process's own.
    pub secret: Option<Secret>,
}
