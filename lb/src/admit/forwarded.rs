//! What a server is told about where a request comes from: `X-Real-IP`, `X-Forwarded-For`, `-Proto`, `-Host` and `X-Request-ID`.
//!
//! A server that reads these must be able to believe them, so nothing that a client made up may reach it under those names, nor under a
//! name that the server could take for one of them ([`spelled`]). From a trusted proxy the list of addresses goes on with that proxy's own
//! appended, and its word on scheme, host and id stands if it can be read. From all others everything of that kind is replaced, and what
//! has no replacement (`Forwarded` of RFC 7239, `X-Forwarded-User`, any other `X-Forwarded-…`) is taken away.

use http::{HeaderName, HeaderValue};

use super::client::{self, Client, FORWARDED_FOR, FORWARDED_PROTO, Peer};
use super::request_id::{REQUEST_ID, RequestId};
use crate::exchange::head::{Editor, Fields, RequestHead};
use crate::filter::{remove_named, spelling};

static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The fields of one request, ready to be written.
#[derive(Debug, Clone)]
pub struct Forwarded<'a> {
    real_ip: HeaderValue,
    forwarded_for: HeaderValue,
    proto: HeaderValue,
    /// `None` where nobody knows the host (HTTP/1.0).
    host: Option<&'a [u8]>,
    request_id: &'a str,
    is_proxied: bool,
}

impl<'a> Forwarded<'a> {
    /// What is to be said about this request. For a client that no proxy speaks for, nothing is allocated.
    pub fn new(peer: &Peer, client: &Client, request: &'a impl RequestHead, id: &'a RequestId) -> Self {
        let given_proto = client.is_proxied.then(|| client::believed_proto(request)).flatten();
        let given_host = client.is_proxied.then(|| given_host(request)).flatten();
        Self {
            real_ip: if client.address == peer.address() {
                peer.text().clone()
            } else {
                client::text(client.address)
            },
            forwarded_for: if client.is_proxied {
                appended(peer, request)
            } else {
                peer.text().clone()
            },
            proto: given_proto
                .filter(|(value, scheme)| *value != scheme.as_str().as_bytes())
                .and_then(|(value, _)| HeaderValue::from_bytes(value).ok())
                .unwrap_or(HeaderValue::from_static(client.scheme.as_str())),
            host: Some(given_host.unwrap_or(request.authority())).filter(|host| !host.is_empty()),
            request_id: id.as_str(),
            is_proxied: client.is_proxied,
        }
    }

    /// Takes away what only looks like one of these fields, and sets them.
    pub fn apply(self, request: &impl Fields, editor: &mut impl Editor) {
        for (name, _) in request.iter() {
            match spelled(name) {
                None | Some(Spelled::Set) => {}
                Some(Spelled::Claim) if self.is_proxied => {}
                Some(Spelled::Claim | Spelled::LookAlike) => remove_named(name, editor),
            }
        }
        editor.set(&REAL_IP, self.real_ip);
        editor.set(&FORWARDED_FOR, self.forwarded_for);
        editor.set(&FORWARDED_PROTO, self.proto);
        match self.host {
            Some(host) => editor.set_text(&FORWARDED_HOST, host),
            None => editor.remove(&FORWARDED_HOST),
        }
        editor.set_text(&REQUEST_ID, self.request_id.as_bytes());
    }
}

/// What a field name has to do with the ones that are set here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelled {
    /// One of the five, by its own name: replaced on every request.
    Set,
    /// Another claim about where a request comes from: goes on from trusted proxies only.
    Claim,
    /// One of either, or so would a server think, with an underscore: never goes on.
    LookAlike,
}

/// What a field name spells. Case does not matter and `_` equals `-`. Nearly every name is ruled out by its first letters.
pub fn spelled(name: &[u8]) -> Option<Spelled> {
    let found = match name {
        [b'x' | b'X', b'-' | b'_', b'f' | b'F', ..] if spelling::starts(name, b"x-forwarded-") => match &name[b"x-forwarded-".len()..] {
            end if [&b"for"[..], b"proto", b"host"].iter().any(|known| spelling::is(end, known)) => Spelled::Set,
            _ => Spelled::Claim,
        },
        [b'x' | b'X', b'-' | b'_', b'r' | b'R', ..] if spelling::is(name, b"x-real-ip") || spelling::is(name, b"x-request-id") => {
            Spelled::Set
        }
        [b'f' | b'F', ..] if spelling::is(name, b"forwarded") => Spelled::Claim,
        _ => return None,
    };
    Some(if spelling::is_odd(name) { Spelled::LookAlike } else { found })
}

/// The list of addresses as it came, with the peer's at its end.
fn appended(peer: &Peer, request: &impl Fields) -> HeaderValue {
    let lines = || request.all(&FORWARDED_FOR).map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let own = peer.text().as_bytes();
    // Exactly as long as needed, so that the value takes it as it is.
    let mut list = Vec::with_capacity(lines().map(|line| line.len() + 2).sum::<usize>() + own.len());
    for line in lines() {
        list.extend_from_slice(line);
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        return peer.text().clone();
    }
    list.extend_from_slice(own);
    // Bytes that came in a field may leave in one.
    HeaderValue::try_from(list).unwrap_or(peer.text().clone())
}

/// The host that a trusted proxy names: one field that could be a host.
fn given_host(request: &impl Fields) -> Option<&[u8]> {
    let mut values = request.all(&FORWARDED_HOST);
    let host = values.next().filter(|_| values.next().is_none())?;
    let is_sane = (1..=255).contains(&host.len())
        && host
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || b"-._~%:[], !$&'()*+;=".contains(&byte));
    Some(host).filter(|_| is_sane)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admit::Scheme;
    use crate::test_head::TestHead;

    /// What goes on of a request from that peer; 10.0.0.0/8 is trusted.
    fn sent(peer: &str, request: &TestHead) -> TestHead {
        let peer = Peer::new(peer.parse().unwrap());
        let client = Client::of(&peer, &["10.0.0.0/8".parse().unwrap()], Scheme::Http, request);
        let id = RequestId::of(&client, request, 1, 2);
        let mut out = request.clone();
        Forwarded::new(&peer, &client, request, &id).apply(request, &mut out);
        out
    }

    const FIVE: [&str; 5] = [
        "x-real-ip",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-request-id",
    ];

    fn five(head: &TestHead) -> [String; 5] {
        FIVE.map(|name| head.shows(name))
    }

    fn claims() -> TestHead {
        TestHead::get("Shop.test:8080", "/")
            .with("x-real-ip", "6.6.6.6")
            .with("x-forwarded-for", "6.6.6.6")
            .with("x-forwarded-proto", "https")
            .with("x-forwarded-host", "public.test")
            .with("x-request-id", "abc")
    }

    fn new_id() -> String {
        RequestId::new(1, 2).as_str().to_owned()
    }

    #[test]
    fn a_client_is_described_as_it_is_seen() {
        let expected = ["192.0.2.1", "192.0.2.1", "http", "Shop.test:8080", &new_id()];
        assert_eq!(five(&sent("192.0.2.1", &TestHead::get("Shop.test:8080", "/"))), expected);
        assert_eq!(five(&sent("192.0.2.1", &claims())), expected);
    }

    #[test]
    fn a_trusted_proxy_speaks_for_its_client() {
        assert_eq!(
            five(&sent("10.0.0.1", &claims())),
            ["6.6.6.6", "6.6.6.6, 10.0.0.1", "https", "public.test", "abc"]
        );
    }

    #[test]
    fn what_a_trusted_proxy_does_not_say_is_filled_in() {
        let out = sent("10.0.0.1", &TestHead::get("Shop.test:8080", "/"));
        assert_eq!(five(&out), ["10.0.0.1", "10.0.0.1", "http", "Shop.test:8080", &new_id()]);
    }

    #[test]
    fn what_a_trusted_proxy_says_badly_is_replaced() {
        let request = TestHead::get("h", "/")
            .with("x-forwarded-proto", "java\u{7f}script")
            .with("x-forwarded-host", "a/b")
            .with("x-request-id", "a b");
        assert_eq!(five(&sent("10.0.0.1", &request)), ["10.0.0.1", "10.0.0.1", "http", "h", &new_id()]);
        let twice = TestHead::get("h", "/").with("x-forwarded-host", "a").with("x-forwarded-host", "b");
        assert_eq!(sent("10.0.0.1", &twice).shows("x-forwarded-host"), "h");
    }

    #[test]
    fn lists_over_several_lines_become_one() {
        let request = TestHead::get("h", "/")
            .with("X-Forwarded-For", "1.1.1.1, unknown")
            .with("X-Forwarded-For", "")
            .with("X-Forwarded-For", "2.2.2.2");
        assert_eq!(
            sent("10.0.0.1", &request).shows("x-forwarded-for"),
            "1.1.1.1, unknown, 2.2.2.2, 10.0.0.1"
        );
    }

    #[test]
    fn odd_and_repeated_spellings_never_go_on() {
        let mut request = TestHead::get("h", "/").with("X_Unrelated", "stays");
        for name in [
            "x_real_ip",
            "X-Real_Ip",
            "X_FORWARDED_FOR",
            "x-forwarded_proto",
            "X_Forwarded-Host",
            "x_request_id",
            "X_Forwarded_User",
            "X-REAL-IP",
            "x-real-ip",
        ] {
            request = request.with(name, "6.6.6.6");
        }
        for peer in ["192.0.2.1", "10.0.0.1"] {
            let mut names = sent(peer, &request).names();
            names.sort();
            let mut expected = FIVE.map(str::to_owned).to_vec();
            expected.push("x_unrelated".into());
            expected.sort();
            assert_eq!(names, expected, "{peer}");
        }
    }

    #[test]
    fn other_claims_go_on_from_trusted_proxies_only() {
        let request = TestHead::get("h", "/")
            .with("Forwarded", "for=6.6.6.6")
            .with("X-Forwarded-User", "root")
            .with("X-Forwarded-Port", "443");
        let goes_on = |peer| {
            ["forwarded", "x-forwarded-user", "x-forwarded-port"]
                .iter()
                .all(|name| !sent(peer, &request).shows(name).is_empty())
        };
        let is_gone = |peer| {
            ["forwarded", "x-forwarded-user", "x-forwarded-port"]
                .iter()
                .all(|name| sent(peer, &request).shows(name).is_empty())
        };
        assert!(goes_on("10.0.0.1"));
        assert!(is_gone("192.0.2.1"));
    }

    #[test]
    fn without_a_host_nothing_is_said_about_it() {
        assert_eq!(
            sent("192.0.2.1", &TestHead::get("", "/").with("X-Forwarded-Host", "evil.test")).shows("x-forwarded-host"),
            ""
        );
    }

    #[test]
    fn names_are_told_by_their_spelling() {
        for (name, expected) in [
            ("X-Forwarded-FOR", Some(Spelled::Set)),
            ("x-real-ip", Some(Spelled::Set)),
            ("X-Request-Id", Some(Spelled::Set)),
            ("x-forwarded-", Some(Spelled::Claim)),
            ("x-forwarded-form", Some(Spelled::Claim)),
            ("Forwarded", Some(Spelled::Claim)),
            ("x-forwarded_for", Some(Spelled::LookAlike)),
            ("X_Request-ID", Some(Spelled::LookAlike)),
            ("x-forwarded", None),
            ("x-real-ip-2", None),
            ("forwarded-by", None),
            ("accept", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(spelled(name.as_bytes()), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_server_gets_each_of_the_five_once_and_no_spoofed_value(
            names in prop::collection::vec("[xX][-_](real[-_]ip|forwarded[-_](for|FOR|proto|host|user)|[Rr]equest[-_]id)", 0..12)
        ) {
            let request = names.iter().fold(TestHead::get("h", "/"), |request, name| request.with(name, "spoofed"));
            let out = sent("192.0.2.1", &request);
            prop_assert_eq!(out.fields.len(), 5);
            prop_assert_eq!(five(&out), ["192.0.2.1", "192.0.2.1", "http", "h", &new_id()]);
        }
    }
}
