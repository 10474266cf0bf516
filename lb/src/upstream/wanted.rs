//! What a request wants of the server that is chosen for it.

use super::ServerId;

/// What [`Upstream::pick`](super::Upstream::pick) goes by. The default is a request that has no wishes and has tried nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// What [`crate::balance::hash_key`] makes of what `hash_on` names, for `balance = "hash"` and `"maglev"`; other algorithms do not look at it.
    pub hash: u64,
    /// Servers that have had this request. None of them is chosen.
    pub tried: &'a [ServerId],
    /// The server that this client has stayed with. It is chosen whatever the algorithm says, while it may be used.
    pub sticky: Option<ServerId>,
}
