//! Addresses and networks. An IPv4 address in its IPv6 clothes (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2), as a dual-stack listener sees
//! it, is that IPv4 address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether a network has an address.
pub fn contains(net: &IpNet, address: IpAddr) -> bool {
    match (net, address.to_canonical()) {
        // A network of mapped addresses, written as IPv6. `::/0` and the like are not meant for IPv4.
        (IpNet::V6(net), IpAddr::V4(address)) => net.prefix_len() >= 96 && net.contains(&address.to_ipv6_mapped()),
        (net, address) => net.contains(&address),
    }
}

/// Whether a route takes requests of this client: not if `deny` has the address, else if `allow` has it or is empty.
pub fn may_come(allow: &[IpNet], deny: &[IpNet], client: IpAddr) -> bool {
    let listed = |nets: &[IpNet]| nets.iter().any(|net| contains(net, client));
    !listed(deny) && (allow.is_empty() || listed(allow))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(text: &[&str]) -> Vec<IpNet> {
        text.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn may(allow: &[&str], deny: &[&str], client: &str) -> bool {
        may_come(&nets(allow), &nets(deny), client.parse().unwrap())
    }

    #[test]
    fn without_lists_everybody_may_come() {
        assert!(may(&[], &[], "192.0.2.1"));
        assert!(may(&[], &[], "2001:db8::1"));
    }

    #[test]
    fn deny_wins_over_allow() {
        assert!(may(&["192.0.2.0/24"], &["192.0.2.66/32"], "192.0.2.65"));
        assert!(!may(&["192.0.2.0/24"], &["192.0.2.66/32"], "192.0.2.66"));
        assert!(!may(&["192.0.2.0/24"], &[], "198.51.100.1"));
        assert!(may(&[], &["192.0.2.66/32"], "198.51.100.1"));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert!(may(&["192.0.2.0/24"], &[], "::ffff:192.0.2.7"));
        assert!(!may(&[], &["192.0.2.0/24"], "::ffff:192.0.2.7"));
        assert!(may(&["::ffff:192.0.2.0/120"], &[], "192.0.2.7"));
        assert!(!may(&["::ffff:192.0.2.0/120"], &[], "192.0.3.7"));
    }

    #[test]
    fn a_network_of_one_family_says_nothing_of_the_other() {
        assert!(may(&[], &["::/0"], "192.0.2.1"));
        assert!(!may(&["0.0.0.0/0"], &[], "2001:db8::1"));
        assert!(may(&["2001:db8::/32"], &[], "2001:db8::1"));
    }
}
