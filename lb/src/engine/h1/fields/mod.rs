//! Header fields: a line at a time, and what the few that frame or route a message say.
//!
//! A field line is `name ":" OWS value OWS` (RFC 9112 §5). Whoever reads a line more generously than the next server in the chain gives an
//! attacker two readings of one request, so nothing is repaired here: a space before the colon, a folded line, a control character, a bare
//! CR or LF each refuse the whole head.

pub(super) mod framing;
pub(super) mod host;
mod known;
mod line;
mod lines;
pub(super) mod list;
mod packed;

use super::span::Span;

pub(super) use known::Known;
pub(super) use line::LineReader;
pub use lines::Lines;
pub use packed::Rendered;

/// One field: where its name and its trimmed value stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
}
