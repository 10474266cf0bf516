//! Who asked, when the request came through proxies.
//!
//! Anybody can write anything into `X-Forwarded-For`; only what a trusted proxy appended is worth something. So the list is read
//! from its end: each address that is itself a trusted proxy vouches for the one before it, and the first that is not one is the
//! client.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Whether the word of this address counts.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The client behind a trusted proxy.
pub(super) fn behind(proxy: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut farthest = proxy;
    if headers.contains_key(&X_FORWARDED_FOR) {
        // Several fields are one list (RFC 9110, section 5.3); read backwards, the last field comes first.
        for field in headers.get_all(&X_FORWARDED_FOR).iter().rev() {
            for entry in field.as_bytes().rsplit(|b| *b == b',') {
                // What cannot be read cannot be followed any further.
                let Some(address) = address(entry) else { return farthest };
                farthest = address;
                if !is_trusted(address, trusted) {
                    return farthest;
                }
            }
        }
        return farthest;
    }
    headers.get(&X_REAL_IP).and_then(|value| address(value.as_bytes())).unwrap_or(proxy)
}

/// An address, which some proxies write with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(fields: &[(&'static str, &'static str)]) -> String {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"].map(|network| network.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        behind(IpAddr::from([127, 0, 0, 1]), &trusted, &headers).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        assert_eq!(client(&[("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.0.0.3")]), "192.0.2.1");
        assert_eq!(
            client(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1:5000,10.0.0.3")]),
            "192.0.2.1"
        );
        assert_eq!(client(&[("x-forwarded-for", "10.0.0.9, 10.0.0.3")]), "10.0.0.9");
        assert_eq!(client(&[("x-forwarded-for", "[2001:db8::1]:443")]), "2001:db8::1");
        assert_eq!(client(&[("x-forwarded-for", "::ffff:192.0.2.1")]), "192.0.2.1");
    }

    #[test]
    fn nothing_is_believed_beyond_what_cannot_be_read() {
        assert_eq!(client(&[("x-forwarded-for", "192.0.2.1, unknown, 10.0.0.3")]), "10.0.0.3");
        assert_eq!(client(&[("x-forwarded-for", "")]), "127.0.0.1");
    }

    #[test]
    fn x_real_ip_counts_where_there_is_no_list() {
        assert_eq!(client(&[("x-real-ip", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(client(&[("x-real-ip", "192.0.2.7"), ("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
        assert_eq!(client(&[]), "127.0.0.1");
    }
}
