//! `Host`, and the authority of an absolute-form target: `host [":" port]` (RFC 9110 §7.2).

use std::net::Ipv6Addr;

use crate::engine::h1::chars::HOST_NAME;

/// Whether this is a host with or without a port. Never with user information, which only serves to deceive (RFC 9110 §4.2.4).
pub(crate) fn is_valid(authority: &[u8]) -> bool {
    if let [b'[', rest @ ..] = authority {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else {
            return false;
        };
        return is_ipv6(&rest[..end]) && is_port_suffix(&rest[end + 1..]);
    }
    let name_len = authority
        .iter()
        .position(|&byte| !HOST_NAME[usize::from(byte)])
        .unwrap_or(authority.len());
    name_len > 0 && is_port_suffix(&authority[name_len..])
}

fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Nothing, or a colon and a port. The port may be empty (RFC 3986 §3.2.3).
fn is_port_suffix(suffix: &[u8]) -> bool {
    match suffix {
        [] | [b':'] => true,
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().fold(0u32, |port, &digit| port * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_in_every_valid_form() {
        for host in [
            &b"a"[..],
            b"example.com",
            b"example.com.",
            b"EXAMPLE.com:8080",
            b"a:",
            b"a:0",
            b"a:65535",
            b"127.0.0.1:80",
            b"[::1]",
            b"[::1]:8080",
            b"[::ffff:1.2.3.4]:1",
            b"a_b",
            b"xn--bcher-kva.example",
        ] {
            assert!(is_valid(host), "{}", host.escape_ascii());
        }
    }

    #[test]
    fn what_could_be_read_as_another_host_is_invalid() {
        for host in [
            &b""[..],
            b":80",
            b"user@a",
            b"a@b",
            b"a/b",
            b"a?b",
            b"a#b",
            b"a b",
            b"a\\b",
            b"a,b",
            b"a%2eb",
            b"a:b",
            b"a:80:80",
            b"a:-1",
            b"a:65536",
            b"a:000080",
            b"::1",
            b"[::1",
            b"[::1]a",
            b"[]",
            b"[::1%eth0]",
            b"[v1.a]",
            b"a[::1]",
            b"a\x00",
            b"\xc3\xa9.example",
            b"a\t",
            b"\"a\"",
            b"<a>",
        ] {
            assert!(!is_valid(host), "{}", host.escape_ascii());
        }
    }
}
