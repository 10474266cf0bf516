//! The client's address: the peer's own, or what trusted proxies say in `X-Forwarded-For`.
//!
//! Each proxy appends the address that it saw. Read from the right, the list is true as long as those who wrote it are trusted: the first
//! address from the right that is no trusted proxy is the client, and what stands left of it is the client's own fancy. What cannot be
//! read ends the walk, since nobody can tell who wrote it; the last one that could be read is then the client.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::address::contains;
use crate::exchange::head::Fields;

pub(super) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    address: IpAddr,
    text: HeaderValue,
}

impl Peer {
    /// From the socket's address. Costs an allocation: made once a connection.
    pub fn new(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            text: text(address),
        }
    }

    /// The address; an IPv4 address is one, however the socket shows it.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The address as a field value.
    pub(super) fn text(&self) -> &HeaderValue {
        &self.text
    }
}

/// How a client reached its first proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who sent a request, as far as can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// The peer is a trusted proxy: what it says about others is passed on.
    pub is_proxied: bool,
    /// How it came: what a trusted proxy says in `X-Forwarded-Proto`, else as this connection is.
    pub scheme: Scheme,
}

impl Client {
    /// Reads the claims of a request, if its peer's are believed.
    pub fn of(peer: &Peer, trusted: &[IpNet], scheme: Scheme, request: &impl Fields) -> Self {
        let is_trusted = |address| trusted.iter().any(|net| contains(net, address));
        if !is_trusted(peer.address) {
            return Self {
                address: peer.address,
                is_proxied: false,
                scheme,
            };
        }
        let address = walk(peer.address, is_trusted, request.all(&FORWARDED_FOR));
        let scheme = believed_proto(request).map_or(scheme, |(_, scheme)| scheme);
        Self {
            address,
            is_proxied: true,
            scheme,
        }
    }
}

/// From right to left over all lines of the field.
fn walk<'a>(peer: IpAddr, is_trusted: impl Fn(IpAddr) -> bool, mut lines: impl Iterator<Item = &'a [u8]>) -> IpAddr {
    let first = lines.next();
    // Nearly always empty, so nothing is allocated: there is one line.
    let more: Vec<&[u8]> = lines.collect();
    let mut client = peer;
    for entry in more
        .iter()
        .rev()
        .copied()
        .chain(first)
        .flat_map(|line| line.rsplit(|&byte| byte == b','))
    {
        let Some(address) = parse(entry.trim_ascii()) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    if let Some(inner) = text.strip_prefix('[') {
        let (address, port) = inner.split_once(']')?;
        let address = address.parse::<Ipv6Addr>().ok()?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_port.then(|| IpAddr::V6(address).to_canonical());
    }
    match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => address.parse().ok().filter(|_| is_port(port)).map(IpAddr::V4),
        _ => text.parse::<IpAddr>().ok().map(|address| address.to_canonical()),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// What a trusted proxy says about the scheme: the field as it is, if there is one and it can be read, and its meaning. In a list, the
/// first one is what the client used. A WebSocket's schemes are those of its handshake.
pub(super) fn believed_proto(request: &impl Fields) -> Option<(&[u8], Scheme)> {
    let mut values = request.all(&FORWARDED_PROTO);
    let whole = values.next().filter(|_| values.next().is_none())?;
    let is_sane = whole.len() <= 64 && whole.iter().all(|&byte| byte.is_ascii_alphabetic() || matches!(byte, b',' | b' '));
    let first = whole.split(|&byte| byte == b',').next().filter(|_| is_sane)?.trim_ascii();
    let is = |name: &[u8]| first.eq_ignore_ascii_case(name);
    if is(b"https") || is(b"wss") {
        Some((whole, Scheme::Https))
    } else if is(b"http") || is(b"ws") {
        Some((whole, Scheme::Http))
    } else {
        None
    }
}

/// An address as a field value.
pub(super) fn text(address: IpAddr) -> HeaderValue {
    let mut buffer = [0; 45];
    let mut free = &mut buffer[..];
    // The longest address has 45 bytes, so there is always room; and an address is always visible ASCII.
    let _ = match address {
        IpAddr::V4(address) => write_v4(address, &mut free),
        IpAddr::V6(address) => write!(free, "{address}"),
    };
    let left = free.len();
    HeaderValue::from_bytes(&buffer[..45 - left]).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Without the formatting machinery: behind a trusted proxy, every request needs one.
fn write_v4(address: Ipv4Addr, out: &mut impl Write) -> io::Result<()> {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.write_all(b".")?;
        }
        out.write_all(itoa::Buffer::new().format(octet).as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_head::TestHead;

    const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

    fn of(peer: &str, lines: &[&str]) -> Client {
        let trusted: Vec<IpNet> = TRUSTED.iter().map(|net| net.parse().unwrap()).collect();
        let request = lines
            .iter()
            .fold(TestHead::get("h", "/"), |request, line| request.with("X-Forwarded-For", line));
        Client::of(&Peer::new(peer.parse().unwrap()), &trusted, Scheme::Http, &request)
    }

    fn address(peer: &str, lines: &[&str]) -> String {
        of(peer, lines).address.to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        assert_eq!(address("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert!(!of("192.0.2.1", &[]).is_proxied);
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        assert_eq!(address("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["198.51.100.7,10.0.0.2,\t10.0.0.3"]), "198.51.100.7");
        assert!(of("10.0.0.1", &[]).is_proxied);
    }

    #[test]
    fn lines_are_one_list_in_their_order() {
        assert_eq!(
            address("10.0.0.1", &["6.6.6.6", "198.51.100.7", "10.0.0.2, 10.0.0.3"]),
            "198.51.100.7"
        );
    }

    #[test]
    fn when_all_are_trusted_the_first_one_is_the_client() {
        assert_eq!(address("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        for garbage in [
            "unknown",
            "",
            " ",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.4:x",
            "1.2.3.4:99999",
            "[::1",
            "[1.2.3.4]",
            "fe80::1%eth0",
            "\u{e9}",
            "01.2.3.4",
        ] {
            assert_eq!(
                address("10.0.0.1", &[&format!("6.6.6.6, {garbage}, 10.0.0.2")]),
                "10.0.0.2",
                "{garbage}"
            );
            assert_eq!(address("10.0.0.1", &[&format!("6.6.6.6, {garbage}")]), "10.0.0.1", "{garbage}");
        }
    }

    #[test]
    fn ports_and_brackets_are_understood() {
        for (entry, address_) in [
            ("198.51.100.7:1234", "198.51.100.7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("[::ffff:198.51.100.7]:1", "198.51.100.7"),
        ] {
            assert_eq!(address("10.0.0.1", &[&format!("{entry}, fd00::1")]), address_, "{entry}");
        }
    }

    #[test]
    fn a_mapped_peer_is_trusted_as_its_ipv4_address() {
        assert_eq!(address("::ffff:10.0.0.1", &["198.51.100.7, ::ffff:10.0.0.2"]), "198.51.100.7");
        assert_eq!(Peer::new("::ffff:10.0.0.1".parse().unwrap()).text(), "10.0.0.1");
    }

    #[test]
    fn a_trusted_word_on_the_scheme_is_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let scheme = |peer: &str, proto| {
            let request = TestHead::get("h", "/").with("x-forwarded-proto", proto);
            Client::of(&Peer::new(peer.parse().unwrap()), &trusted, Scheme::Http, &request).scheme
        };
        for (proto, expected) in [
            ("https", Scheme::Https),
            ("WSS", Scheme::Https),
            ("https, http", Scheme::Https),
            ("http,https", Scheme::Http),
            ("gopher", Scheme::Http),
        ] {
            assert_eq!(scheme("10.0.0.1", proto), expected, "{proto}");
        }
        assert_eq!(scheme("192.0.2.1", "https"), Scheme::Http);
    }

    proptest! {
        #[test]
        fn addresses_are_written_as_everybody_writes_them(v4: [u8; 4], v6: [u8; 16]) {
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                prop_assert_eq!(text(address), address.to_string());
            }
        }

        #[test]
        fn nothing_that_a_client_sends_changes_what_its_proxy_saw(spoofed in prop::collection::vec("[ -~]{0,30}", 0..4), client: [u8; 4], hops in 0usize..3) {
            let client = IpAddr::from(client).to_string();
            prop_assume!(!client.starts_with("10."));
            let mut chain = vec![client.clone()];
            chain.extend((0..hops).map(|hop| format!("10.0.0.{hop}")));
            // The proxy may append to the client's last line or add one of its own.
            let (mut lines, own) = (spoofed, chain.join(", "));
            lines.push(own.clone());
            prop_assert_eq!(address("10.1.1.1", &lines.iter().map(String::as_str).collect::<Vec<_>>()), client.clone());
            prop_assert_eq!(address("10.1.1.1", &[&lines.join(",")]), client);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut request = TestHead::get("h", "/");
            request.fields.push((b"x-forwarded-for".to_vec(), bytes));
            Client::of(&Peer::new([10, 0, 0, 1].into()), &["10.0.0.0/8".parse().unwrap()], Scheme::Http, &request);
        }
    }
}
