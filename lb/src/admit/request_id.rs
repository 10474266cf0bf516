//! The name of one request, under which client, `lb`, server and logs speak of it.
//!
//! A new one is a UUIDv7 (RFC 9562 §5.7): 48 bits of Unix time in milliseconds, then random bits, so that ids sort by time and nobody
//! guesses one. Time and randomness are arguments. One that a trusted proxy gave is kept, if it is harmless wherever an id may end up: in
//! a field, a log line, JSON, a shell.

use http::HeaderName;

use super::client::Client;
use crate::exchange::head::Fields;

pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Repr);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Repr {
    New([u8; 36]),
    Kept(Box<str>),
}

impl RequestId {
    /// The id that a trusted proxy gave, or a new one.
    pub fn of(client: &Client, request: &impl Fields, unix_millis: u64, random: u128) -> Self {
        match client.is_proxied.then(|| given(request)).flatten() {
            Some(id) => Self(Repr::Kept(id.into())),
            None => Self::new(unix_millis, random),
        }
    }

    /// A UUIDv7 of that time; 74 bits of `random` are used. Allocates nothing.
    pub fn new(unix_millis: u64, random: u128) -> Self {
        const VERSION_7: u128 = 7 << 76;
        const VARIANT: u128 = 2 << 62;
        const FREE: u128 = 0xfff << 64 | (u128::MAX >> 66);
        let uuid = u128::from(unix_millis) << 80 | VERSION_7 | VARIANT | (random & FREE);
        Self(Repr::New(hyphenated(uuid.to_be_bytes())))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Only hexadecimal digits and hyphens are ever written into it.
            Repr::New(text) => std::str::from_utf8(text).unwrap_or_default(),
            Repr::Kept(text) => text,
        }
    }
}

/// The id that a request bears, if it bears one and it is sane.
fn given(request: &impl Fields) -> Option<&str> {
    let mut values = request.all(&REQUEST_ID);
    let id = values.next().filter(|_| values.next().is_none())?;
    let is_sane = (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    std::str::from_utf8(id).ok().filter(|_| is_sane)
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn hyphenated(bytes: [u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::admit::Scheme;
    use crate::test_head::TestHead;

    fn id(is_proxied: bool, given: &[&str]) -> RequestId {
        let client = Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            is_proxied,
            scheme: Scheme::Http,
        };
        let request = given
            .iter()
            .fold(TestHead::get("", "/"), |request, id| request.with("X-Request-ID", id));
        RequestId::of(&client, &request, 1, 2)
    }

    #[test]
    fn the_example_of_rfc_9562_is_met() {
        let random = 0xCC3_u128 << 64 | 0x18C4_DC0C_0C07_398F;
        assert_eq!(
            RequestId::new(0x017F_22E2_79B0, random).as_str(),
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
        );
    }

    #[test]
    fn a_sane_id_of_a_trusted_proxy_is_kept() {
        assert_eq!(id(true, &["Root-1.abc_2"]).as_str(), "Root-1.abc_2");
        assert_eq!(id(true, &[&"x".repeat(128)]).as_str().len(), 128);
    }

    #[test]
    fn an_untrusted_or_insane_or_repeated_id_is_replaced() {
        let new = RequestId::new(1, 2);
        assert_eq!(id(false, &["abc"]), new);
        for insane in ["", "a b", "a\"b", "a\u{e9}", "a/b", &"x".repeat(129), &"x".repeat(4096)] {
            assert_eq!(id(true, &[insane]), new, "{insane}");
        }
        assert_eq!(id(true, &["a", "b"]), new);
        assert_eq!(id(true, &[]), new);
    }

    proptest! {
        #[test]
        fn every_new_id_is_a_uuid_of_version_7_with_its_time(millis in 0u64..1 << 48, random: u128) {
            let id = RequestId::new(millis, random);
            let uuid = uuid::Uuid::parse_str(id.as_str()).unwrap();
            prop_assert_eq!(uuid.get_version_num(), 7);
            prop_assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
            let (seconds, nanos) = uuid.get_timestamp().unwrap().to_unix();
            prop_assert_eq!(seconds * 1000 + u64::from(nanos) / 1_000_000, millis);
            prop_assert!(http::HeaderValue::from_str(id.as_str()).is_ok());
        }

        #[test]
        fn later_ids_sort_after_earlier_ones(early in 0u64..1 << 47, later in 1u64..1 << 47, a: u128, b: u128) {
            let (early, late) = (RequestId::new(early, a), RequestId::new(early + later, b));
            prop_assert!(early.as_str() < late.as_str());
        }
    }
}
