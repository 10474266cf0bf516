//! `sticky`.

use super::Shape::{Duration, Text};
use super::{TableDef, key};

/// `sticky`.
pub(crate) static STICKY: TableDef = TableDef {
    title: "[upstreams.NAME.sticky]",
    about: "Lets a client stay with the server that it got first, by a cookie.",
    keys: &[
        key("cookie", Text, "The cookie's name.").text("lb_server"),
        key(
            "ttl",
            Duration,
            "For how long the cookie holds; without it, until the browser is closed.",
        ),
        key(
            "secret",
            Text,
            "What cookies are made with, so that several lb understand each other's and a restart changes none; without it, a random one. At least 16 characters.",
        ),
    ],
    later: &[],
};
