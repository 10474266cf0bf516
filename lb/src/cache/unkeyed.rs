//! What a request may have in it that changes the answer, and that is no part of the key.
//!
//! Whoever can put something into a stored answer by a field that does not tell requests apart has put it into everybody's (Kettle, *Practical
//! web cache poisoning*, 2018). There is no telling what an origin reads, but there are fields that frameworks are known to read in place of
//! the request line and `Host`. They are dealt with in three ways:
//!
//! - What claims another host, path or port ([`claims_place`]) is not sent along by a request that fetches for the store, nor by a `HEAD` by which what
//!   is stored may be renewed, not even from a trusted
//!   proxy: those pass on what they get. A route that has such a field in its `vary_on` sends it, and tells answers apart by it.
//! - What claims another method ([`claims_method`]) makes another request of it, which goes past the cache.
//! - What `Connection` names the origin does not get, while `Vary` would tell answers apart by it ([`hides`]): past the cache as well.

use crate::filter::spelling;

/// Whether a field claims that the request is for another place than its target and `Host` say. `_` equals `-`, as in CGI.
pub fn claims_place(name: &[u8]) -> bool {
    match name {
        [b'x' | b'X', b'-' | b'_', rest @ ..] => {
            let of_its_own = |known: &&str| spelling::is(rest, known.as_bytes());
            (spelling::starts(rest, b"forwarded-") && !["forwarded-for", "forwarded-proto"].iter().any(of_its_own))
                || PLACES.iter().any(|known| spelling::is(rest, known.as_bytes()))
        }
        _ => OTHERS.iter().any(|known| spelling::is(name, known.as_bytes())),
    }
}

/// With `X-` before them.
const PLACES: [&str; 16] = [
    "forwarded",
    "scheme",
    "original-url",
    "original-uri",
    "original-host",
    "original-path",
    "rewrite-url",
    "rewrite-uri",
    "override-url",
    "host",
    "http-host-override",
    "http-path-override",
    "http-destinationurl",
    "proxy-url",
    "backend-host",
    "envoy-original-path",
];

const OTHERS: [&str; 4] = ["forwarded", "base-url", "request-uri", "front-end-https"];

/// Whether a field claims another method.
pub fn claims_method(name: &[u8]) -> bool {
    ["x-http-method-override", "x-http-method", "x-method-override"]
        .iter()
        .any(|known| spelling::is(name, known.as_bytes()))
}

/// Whether a `Connection` names more than what belongs to connections.
pub fn hides(connection: &[u8]) -> bool {
    let mut options = connection.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    options.any(|option| {
        !option.is_empty()
            && ![
                "close",
                "keep-alive",
                "te",
                "upgrade",
                "http2-settings",
                "proxy-connection",
                "trailer",
            ]
            .iter()
            .any(|known| option.eq_ignore_ascii_case(known.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_claims_another_place_is_known_in_every_spelling() {
        for name in [
            "X-Forwarded-Host",
            "x-forwarded-prefix",
            "X_Forwarded_Port",
            "X-Forwarded-Server",
            "X-Original-URL",
            "x_rewrite_url",
            "X-Host",
            "X-Forwarded",
            "X-Scheme",
            "Forwarded",
        ] {
            assert!(claims_place(name.as_bytes()), "{name}");
        }
        for name in [
            "Host",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "Accept",
            "X-Requested-With",
            "X-Hostile",
            "x",
            "",
            "X-Api-Key",
            "Origin",
        ] {
            assert!(!claims_place(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_claims_another_method_is_known() {
        assert!(claims_method(b"X-HTTP-Method-Override") && claims_method(b"x_http_method") && claims_method(b"X-Method-Override"));
        assert!(!claims_method(b"X-HTTP-Methods") && !claims_method(b"method"));
    }

    #[test]
    fn a_connection_hides_what_is_not_its_own() {
        for harmless in ["close", "Keep-Alive", "TE, trailer", "Upgrade, HTTP2-Settings", " , "] {
            assert!(!hides(harmless.as_bytes()), "{harmless}");
        }
        for hiding in ["x-lang", "close, Accept-Language", "cookie"] {
            assert!(hides(hiding.as_bytes()), "{hiding}");
        }
    }
}
