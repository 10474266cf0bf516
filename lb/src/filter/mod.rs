//! Edits of heads on their way through: what ends at this hop, and what a route adds and takes away.
//!
//! The order matters, and is the caller's: first what belongs to the connection goes ([`request_hop`], [`response_hop`]), so that a client
//! cannot nominate a field for removal that is set later; then come the fields that tell where a request comes from
//! ([`crate::admit::Forwarded`]); last the edits of the route ([`edit`]), which have the last word.

mod cookie;
mod hop;
pub(crate) mod spelling;

use http::HeaderName;
use lb_config::HeaderEdits;

use crate::exchange::head::Editor;
pub use cookie::cookie;
pub use hop::{is_upgrade, request_hop, response_hop};

/// Applies a route's edits: removed first, then set, then added.
pub fn edit(edits: &HeaderEdits, editor: &mut impl Editor) {
    for name in &edits.remove {
        editor.remove(name);
    }
    for (name, value) in &edits.set {
        editor.set(name, value.clone());
    }
    for (name, value) in &edits.add {
        editor.add(name, value.clone());
    }
}

/// Removes a field by the name under which it came. A name that is none cannot have come.
pub(crate) fn remove_named(name: &[u8], editor: &mut impl Editor) {
    if let Ok(name) = HeaderName::from_bytes(name) {
        editor.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::test_head::TestHead;

    #[test]
    fn edits_remove_then_set_then_add() {
        let pair = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let edits = HeaderEdits {
            set: vec![pair("x-a", "set"), pair("x-b", "set")],
            add: vec![pair("x-b", "added"), pair("x-c", "added")],
            remove: vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-d")],
        };
        let mut head = TestHead::get("", "/")
            .with("X-A", "old")
            .with("X-B", "old")
            .with("X-B", "older")
            .with("x-c", "old")
            .with("x-d", "old");
        edit(&edits, &mut head);
        assert_eq!(head.shows("x-a"), "set");
        assert_eq!(head.shows("x-b"), "set | added");
        assert_eq!(head.shows("x-c"), "old | added");
        assert_eq!(head.shows("x-d"), "");
    }
}
