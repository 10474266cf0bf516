//! Fields that speak of one connection and end with it (RFC 9110 §7.6.1).
//!
//! `Connection` names options and fields that are meant for the next hop only. It goes, with all that it names, and with the fields that
//! old senders forget to name: `Keep-Alive`, `Proxy-Connection`, `TE`, `Upgrade`. Three things are decided elsewhere or kept:
//!
//! - `Transfer-Encoding` and `Content-Length` frame the body, which is the engine's; here they are neither removed nor can they be
//!   nominated, and the same holds for `Host`. Only their look-alikes (`Transfer_Encoding`) go.
//! - `TE: trailers` tells a server that trailers reach the client. It goes on, less the codings beside it.
//! - `Upgrade` goes on where a tunnel may really follow: see [`is_upgrade`].
//!
//! Where `TE` or `Upgrade` go on, so does a `Connection` that names them, as the next hop is owed.

use http::header::{CONNECTION, TE, UPGRADE};
use http::{HeaderName, HeaderValue, StatusCode, Version};

use super::{remove_named, spelling};
use crate::exchange::head::{Editor, Fields, RequestHead, ResponseHead};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Whether a request asks for another protocol and may get it: HTTP/1.1, `Connection: upgrade`, and an `Upgrade` that names no HTTP and
/// no TLS. A tunnel of those would carry requests past every rule (and RFC 9113 §3.1 has retired `h2c` by upgrade), so they are passed over,
/// as RFC 9110 §7.8 allows.
pub fn is_upgrade(request: &impl RequestHead) -> bool {
    let mut protocols = request.all(&UPGRADE).flat_map(elements).peekable();
    request.version() == Version::HTTP_11
        && protocols.peek().is_some()
        && protocols.all(|protocol| !is_refused_protocol(protocol))
        && request
            .all(&CONNECTION)
            .flat_map(elements)
            .any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

fn is_refused_protocol(protocol: &[u8]) -> bool {
    let name = protocol.split(|&byte| byte == b'/').next().unwrap_or(protocol);
    [&b"h2c"[..], b"h2", b"http", b"tls"]
        .iter()
        .any(|refused| name.eq_ignore_ascii_case(refused))
}

/// Takes from a request what ends here. Says whether `TE: trailers` stays.
pub fn request_hop(request: &impl RequestHead, editor: &mut impl Editor) -> bool {
    let present = remove(request, editor);
    let upgrade = present.upgrade && is_upgrade(request);
    if present.upgrade && !upgrade {
        editor.remove(&UPGRADE);
    }
    if present.trailers {
        editor.set(&TE, HeaderValue::from_static("trailers"));
    } else if present.te {
        editor.remove(&TE);
    }
    match (upgrade, present.trailers) {
        (true, true) => editor.set(&CONNECTION, HeaderValue::from_static("upgrade, te")),
        (true, false) => editor.set(&CONNECTION, HeaderValue::from_static("upgrade")),
        (false, true) => editor.set(&CONNECTION, HeaderValue::from_static("te")),
        (false, false) if present.connection => editor.remove(&CONNECTION),
        (false, false) => {}
    }
    present.trailers
}

/// Takes from a response, an interim one included, what ends here. `Upgrade` stays in 101, and in 426, which is about nothing else.
pub fn response_hop(response: &impl ResponseHead, editor: &mut impl Editor) {
    let present = remove(response, editor);
    let upgrade = matches!(response.status(), StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED);
    if present.te {
        editor.remove(&TE);
    }
    if present.upgrade && !upgrade {
        editor.remove(&UPGRADE);
    }
    if present.upgrade && upgrade {
        editor.set(&CONNECTION, HeaderValue::from_static("upgrade"));
    } else if present.connection {
        editor.remove(&CONNECTION);
    }
}

/// What is there that needs a decision.
#[derive(Default)]
struct Present {
    connection: bool,
    te: bool,
    /// `TE` names `trailers`.
    trailers: bool,
    upgrade: bool,
}

/// Removes what goes in any case: one pass over the fields, which most heads leave without an edit.
fn remove(head: &impl Fields, editor: &mut impl Editor) -> Present {
    let mut present = Present::default();
    for (name, value) in head.iter() {
        match hop(name) {
            None => {}
            Some(Hop::LookAlike) => remove_named(name, editor),
            Some(Hop::Connection) => {
                present.connection = true;
                elements(value)
                    .filter(|option| may_be_nominated(option))
                    .for_each(|option| remove_named(option, editor));
            }
            Some(Hop::KeepAlive) => editor.remove(&KEEP_ALIVE),
            Some(Hop::ProxyConnection) => editor.remove(&PROXY_CONNECTION),
            Some(Hop::Te) => {
                present.te = true;
                present.trailers |= elements(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            Some(Hop::Upgrade) => present.upgrade = true,
        }
    }
    present
}

/// A field of one hop.
enum Hop {
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Upgrade,
    /// Another spelling of one of them, or of a field that frames the body.
    LookAlike,
}

/// Which field of one hop a name is. The length rules nearly every other name out.
fn hop(name: &[u8]) -> Option<Hop> {
    let (canonical, hop): (&[u8], Hop) = match name.len() {
        2 => (b"te", Hop::Te),
        7 => (b"upgrade", Hop::Upgrade),
        10 if matches!(name[0], b'k' | b'K') => (b"keep-alive", Hop::KeepAlive),
        10 => (b"connection", Hop::Connection),
        14 if spelling::is_odd(name) => (b"content-length", Hop::LookAlike),
        16 => (b"proxy-connection", Hop::ProxyConnection),
        17 if spelling::is_odd(name) => (b"transfer-encoding", Hop::LookAlike),
        _ => return None,
    };
    let hop = if spelling::is_odd(name) { Hop::LookAlike } else { hop };
    spelling::is(name, canonical).then_some(hop)
}

/// Options of `Connection` that are no fields, are dealt with here, or must not be taken away: without them the request would be another.
fn may_be_nominated(option: &[u8]) -> bool {
    const NOT: [&[u8]; 9] = [
        b"close",
        b"keep-alive",
        b"upgrade",
        b"te",
        b"connection",
        b"proxy-connection",
        b"host",
        b"content-length",
        b"transfer-encoding",
    ];
    !NOT.iter().any(|name| option.eq_ignore_ascii_case(name))
}

/// The elements of a line of a list field (RFC 9110 §5.6.1); empty ones left out.
fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_head::TestHead;

    /// What goes on of a request with these fields.
    fn sent(request: &TestHead) -> TestHead {
        let mut out = request.clone();
        request_hop(request, &mut out);
        out
    }

    struct Response(StatusCode, TestHead);

    impl Fields for Response {
        fn get(&self, name: &HeaderName) -> Option<&[u8]> {
            self.1.get(name)
        }

        fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
            self.1.all(name)
        }

        fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
            self.1.iter()
        }
    }

    impl ResponseHead for Response {
        fn status(&self) -> StatusCode {
            self.0
        }
    }

    fn received(status: u16, head: TestHead) -> TestHead {
        let response = Response(StatusCode::from_u16(status).unwrap(), head);
        let mut out = response.1.clone();
        response_hop(&response, &mut out);
        out
    }

    #[test]
    fn connection_and_all_that_it_names_end_here() {
        let request = TestHead::get("h", "/")
            .with("Accept", "*/*")
            .with("Connection", "close, X-One ,, x_two")
            .with("connection", "X-Three")
            .with("X-One", "1")
            .with("x_two", "2")
            .with("X-Three", "3")
            .with("x-three", "4")
            .with("Keep-Alive", "timeout=5")
            .with("Proxy-Connection", "keep-alive");
        assert_eq!(sent(&request).names(), ["accept"]);
    }

    #[test]
    fn fields_that_frame_or_address_a_request_cannot_be_nominated_away() {
        let request = TestHead::get("h", "/")
            .with("Connection", "Host, Content-Length, Transfer-Encoding, not a name")
            .with("Host", "h")
            .with("Content-Length", "3");
        assert_eq!(sent(&request).names(), ["host", "content-length"]);
    }

    #[test]
    fn look_alikes_end_here_too() {
        let request = TestHead::get("h", "/")
            .with("Keep_Alive", "1")
            .with("PROXY_CONNECTION", "close")
            .with("Transfer_Encoding", "chunked")
            .with("content_length", "3")
            .with("X_Other", "stays");
        assert_eq!(sent(&request).names(), ["x_other"]);
    }

    #[test]
    fn te_keeps_trailers_and_nothing_else() {
        let te = |value| sent(&TestHead::get("h", "/").with("TE", value).with("Connection", "te"));
        let kept = te("gzip;q=0.5, Trailers");
        assert_eq!((kept.shows("te"), kept.shows("connection")), ("trailers".into(), "te".into()));
        assert!(te("gzip").names().is_empty());
        assert!(te("trailersx").names().is_empty());
    }

    #[test]
    fn a_real_upgrade_goes_on_and_says_so() {
        let request = TestHead::get("h", "/")
            .with("Connection", "keep-alive, Upgrade")
            .with("Upgrade", "websocket");
        assert!(is_upgrade(&request));
        let out = sent(&request);
        assert_eq!(
            (out.shows("connection"), out.shows("upgrade")),
            ("upgrade".into(), "websocket".into())
        );
        let both = sent(&request.with("TE", "trailers"));
        assert_eq!(both.shows("connection"), "upgrade, te");
    }

    #[test]
    fn an_upgrade_that_is_none_ends_here() {
        let upgrade = |protocol| {
            TestHead::get("h", "/")
                .with("Upgrade", protocol)
                .with("Connection", "upgrade, http2-settings")
        };
        let old = TestHead {
            version: Version::HTTP_10,
            ..upgrade("websocket")
        };
        let unnamed = TestHead::get("h", "/").with("Upgrade", "websocket");
        for request in [
            upgrade("h2c").with("HTTP2-Settings", "AAA"),
            upgrade("websocket, H2C"),
            upgrade("HTTP/2.0"),
            upgrade("TLS/1.0"),
            upgrade(" "),
            old,
            unnamed,
        ] {
            assert!(!is_upgrade(&request), "{request:?}");
            assert!(sent(&request).names().is_empty(), "{request:?}");
        }
    }

    #[test]
    fn a_response_keeps_upgrade_only_where_the_status_is_about_it() {
        let head = TestHead::get("", "")
            .with("Connection", "upgrade, x-hop")
            .with("Upgrade", "websocket")
            .with("X-Hop", "1");
        assert!(received(200, head.clone()).names().is_empty());
        assert!(received(103, head.clone()).names().is_empty());
        for status in [101, 426] {
            let out = received(status, head.clone());
            assert_eq!(
                (out.shows("upgrade"), out.shows("connection"), out.shows("x-hop")),
                ("websocket".into(), "upgrade".into(), "".into())
            );
        }
    }

    #[test]
    fn a_head_without_such_fields_is_not_edited() {
        struct Untouched;
        impl Editor for Untouched {
            fn set(&mut self, name: &HeaderName, _: HeaderValue) {
                panic!("sets {name}");
            }
            fn add(&mut self, name: &HeaderName, _: HeaderValue) {
                panic!("adds {name}");
            }
            fn remove(&mut self, name: &HeaderName) {
                panic!("removes {name}");
            }
        }
        let request = TestHead::get("h", "/")
            .with("Accept", "*/*")
            .with("Content-Length", "3")
            .with("Transfer-Encoding", "chunked")
            .with("Trailer", "x");
        assert!(!request_hop(&request, &mut Untouched));
    }

    proptest! {
        #[test]
        fn whatever_connection_says_what_goes_on_names_no_hop(options in "[ -~]{0,40}", te in "[ -~]{0,20}", upgrade in "[ -~]{0,20}") {
            let request = TestHead::get("h", "/").with("Connection", &options).with("TE", &te).with("Upgrade", &upgrade).with("Content-Length", "1");
            let out = sent(&request);
            prop_assert_eq!(out.shows("content-length"), "1");
            prop_assert!(["", "te", "upgrade", "upgrade, te"].contains(&out.shows("connection").as_str()));
            prop_assert!(["", "trailers"].contains(&out.shows("te").as_str()));
            // What went through once goes through again as it is.
            prop_assert_eq!(sent(&out).fields, out.fields);
        }
    }
}
