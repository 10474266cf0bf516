//! Whether a request may be sent once more, and when.
//!
//! Repeating is harmless where the method is idempotent (RFC 9110 §9.2.2). A client may promise as much for a POST or PATCH, by an
//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a server that knows the key does the work once, however often it is asked. Not
//! every server does, so that a route has to say so: `retry_idempotency_key`.
//!
//! The first retry follows at once: most failures are one server's own, and the next one is well. Whoever fails twice may have met an
//! upstream in trouble, so that from the third try on a pause comes first, of a random length up to a bound that doubles ("full jitter", Brooker,
//! *Exponential Backoff and Jitter*, 2015), lest all that failed together come back together.

use std::time::Duration;

use http::{HeaderName, Method};

use super::head::Fields;

/// The bound of the first pause.
const PAUSE: Duration = Duration::from_millis(25);
/// The bound of every pause.
const LONGEST: Duration = Duration::from_millis(250);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether repeating the request has the effect of making it once (RFC 9110 §9.2.2).
pub(crate) fn idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Whether the client promises that the server will see to it, by exactly one key.
pub(super) fn promised(method: &Method, head: &impl Fields) -> bool {
    if *method != Method::POST && *method != Method::PATCH {
        return false;
    }
    let name = IDEMPOTENCY_KEY;
    let mut keys = head.all(&name);
    matches!((keys.next(), keys.next()), (Some(key), None) if is_key(key.trim_ascii()))
}

/// Whether this is one key: a string of RFC 8941 with something in it and perhaps parameters behind it, or, as many clients send it, without
/// the quotes.
fn is_key(value: &[u8]) -> bool {
    let Some(quoted) = value.strip_prefix(b"\"") else {
        return !value.is_empty() && !value.contains(&b',') && !value.contains(&b'"');
    };
    let mut escaped = false;
    let end = quoted.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.is_some_and(|end| end > 0 && matches!(quoted[end + 1..].trim_ascii_start(), [] | [b';', ..]))
}

/// How long to wait before the next try where `tries` have reached a server and failed. `random`: from 0 to 1.
pub(crate) fn pause(tries: u32, random: f64) -> Option<Duration> {
    let doublings = tries.checked_sub(2)?.min(16);
    Some((PAUSE * (1 << doublings)).min(LONGEST).mul_f64(random.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn is_promised(method: &Method, keys: &[&str]) -> bool {
        let mut head = HeaderMap::new();
        for key in keys {
            head.append(IDEMPOTENCY_KEY, HeaderValue::from_str(key).unwrap());
        }
        promised(method, &head)
    }

    #[test]
    fn one_key_is_a_promise() {
        for key in [
            "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
            "8e03978e",
            "\"a,b\"",
            r#""a\"b""#,
            "\"a\";v=1",
            " \"a\" ",
        ] {
            assert!(is_promised(&Method::POST, &[key]), "{key}");
            assert!(is_promised(&Method::PATCH, &[key]), "{key}");
        }
    }

    #[test]
    fn none_an_empty_one_and_two_are_not() {
        assert!(!is_promised(&Method::POST, &[]));
        assert!(!is_promised(&Method::POST, &["a", "b"]));
        for key in ["", " ", "\"\"", "\"a", r#""a\""#, "a, b", "\"a\", \"b\"", "\"a\"b", "a\"b\""] {
            assert!(!is_promised(&Method::POST, &[key]), "{key}");
        }
    }

    #[test]
    fn it_is_about_post_and_patch() {
        assert!(!is_promised(&Method::from_bytes(b"MKCOL").unwrap(), &["a"]));
    }

    #[test]
    fn the_first_retry_follows_at_once_and_pauses_grow_to_their_bound() {
        assert_eq!((pause(0, 1.0), pause(1, 1.0)), (None, None));
        let bounds: Vec<_> = (2..8)
            .filter_map(|tries| pause(tries, 1.0))
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(bounds, [25, 50, 100, 200, 250, 250]);
    }

    proptest! {
        #[test]
        fn a_pause_is_between_0_and_its_bound(tries in 2..u32::MAX, random in 0.0..=1.0_f64) {
            let (pause, bound) = (pause(tries, random).unwrap(), pause(tries, 1.0).unwrap());
            prop_assert!(pause <= bound && bound <= LONGEST);
            prop_assert!(pause.as_secs_f64() >= bound.as_secs_f64() * random - 1e-6);
        }
    }
}
