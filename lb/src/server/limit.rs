//! `max_connections_per_ip`: how many connections a client may have.
//!
//! The client of a connection is the address at its other end, before a byte was read. Trusted proxies are exempt: theirs are the
//! connections of many clients.

use std::net::IpAddr;
use std::num::NonZeroUsize;

use lb_config::Config;

use super::connections::Slot;
use crate::admit::contains;

/// Counts a connection for its peer.
///
/// # Errors
/// The limit, where the peer has as many already.
pub fn admit(config: &Config, peer: IpAddr, slot: &Slot) -> Result<(), NonZeroUsize> {
    let count = slot.belongs_to(peer);
    let (Some(limit), Some(count)) = (config.limits.max_connections_per_ip, count) else {
        return Ok(());
    };
    let is_over = count > limit.get() && !config.server.trusted_proxies.iter().any(|net| contains(net, peer));
    if is_over { Err(limit) } else { Ok(()) }
}
