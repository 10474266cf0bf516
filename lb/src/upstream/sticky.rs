//! Cookies by which clients stay with a server.
//!
//! A cookie's value names a server without telling where it is: it is HMAC-SHA256 (RFC 2104) of the upstream's name and the server's
//! address, under a key that only `lb` has, cut to 128 bits. Nobody can make one up, nor find out an address by trying, and there is
//! nothing to remember: every `lb` with the same key makes the same values, and a reload changes none.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use ring::hmac::{HMAC_SHA256, Key, sign};

use super::{Server, ServerId};

/// Bytes of a value before it is written in base64.
const LENGTH: usize = 16;

/// The key of cookies whose configuration has no secret: one for the life of the process.
pub(super) struct OwnKey([u8; 32]);

impl Default for OwnKey {
    fn default() -> Self {
        Self(rand::random())
    }
}

/// The cookies of one upstream.
pub struct Cookies {
    config: lb_config::Sticky,
    /// By the server's position.
    values: Vec<Arc<str>>,
    servers: HashMap<Arc<str>, ServerId>,
}

impl Cookies {
    pub(super) fn new(upstream: &str, config: &lb_config::Sticky, own: &OwnKey, servers: &[Arc<Server>]) -> Self {
        let secret = config.secret.as_ref().map_or(&own.0[..], |secret| secret.0.as_bytes());
        let key = Key::new(HMAC_SHA256, secret);
        let values: Vec<Arc<str>> = servers.iter().map(|server| value(&key, upstream, server.name()).into()).collect();
        Self {
            config: config.clone(),
            servers: values.iter().cloned().zip(servers.iter().map(|server| server.id())).collect(),
            values,
        }
    }

    /// The cookie's name.
    pub fn name(&self) -> &str {
        &self.config.cookie
    }

    /// The server that a cookie's value names; `None`: none of these, or it was made up.
    pub fn server(&self, value: &[u8]) -> Option<ServerId> {
        self.servers.get(std::str::from_utf8(value).ok()?).copied()
    }

    /// The value of `Set-Cookie` for the server at this position (RFC 6265 §4.1). `secure`: the client came by TLS, and must not send it
    /// without.
    pub fn set_cookie(&self, position: usize, secure: bool) -> Option<HeaderValue> {
        let mut text = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Lax",
            self.config.cookie,
            self.values.get(position)?
        );
        if let Some(ttl) = self.config.ttl {
            // Max-Age=0 would take the cookie away again.
            let _ = write!(text, "; Max-Age={}", ttl.as_secs().max(1));
        }
        if secure {
            text.push_str("; Secure");
        }
        HeaderValue::try_from(text).ok()
    }
}

fn value(key: &Key, upstream: &str, address: &str) -> String {
    // No name of an upstream has a line break in it, so that no two pairs are the same text.
    let tag = sign(key, format!("lb sticky\n{upstream}\n{address}").as_bytes());
    URL_SAFE_NO_PAD.encode(&tag.as_ref()[..LENGTH])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{build, config, servers};
    use super::super::{Registry, Upstream};
    use super::*;

    fn sticky(secret: Option<&str>) -> lb_config::Upstream {
        let mut config = config(servers(&[1, 1, 1]));
        config.sticky = Some(lb_config::Sticky {
            cookie: "lb_server".into(),
            ttl: Some(Duration::from_secs(3600)),
            secret: secret.map(|secret| lb_config::Secret(secret.into())),
        });
        config
    }

    fn values(upstream: &Upstream) -> Vec<Arc<str>> {
        upstream.cookies().expect("cookies").values.clone()
    }

    #[test]
    fn a_value_names_its_server_and_nothing_else_does() {
        let users = build(&Registry::new(), &sticky(None));
        let cookies = users.cookies().expect("cookies");
        for (server, value) in users.servers().iter().zip(&cookies.values) {
            assert_eq!(value.len(), 22);
            assert_eq!(cookies.server(value.as_bytes()), Some(server.id()));
            assert_eq!(cookies.server(&value.as_bytes()[..21]), None);
        }
        for made_up in [&b""[..], b"10.0.0.1:80", b"MTAuMC4wLjE6ODA", b"\xff", b"AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(cookies.server(made_up), None);
        }
    }

    #[test]
    fn values_survive_reloads_and_differ_between_processes() {
        let registry = Registry::new();
        let before = values(&build(&registry, &sticky(None)));
        assert_eq!(before, values(&build(&registry, &sticky(None))));
        assert_ne!(before, values(&build(&Registry::new(), &sticky(None))));
    }

    #[test]
    fn with_a_secret_all_agree_who_have_it() {
        let with = |secret: &str| values(&build(&Registry::new(), &sticky(Some(secret))));
        assert_eq!(with("0123456789abcdef"), with("0123456789abcdef"));
        assert_ne!(with("0123456789abcdef"), with("0123456789abcdeg"));
        let mut other = sticky(Some("0123456789abcdef"));
        other.name = "other".into();
        assert_ne!(values(&build(&Registry::new(), &other)), with("0123456789abcdef"));
    }

    #[test]
    fn the_cookie_is_written_as_browsers_want_it() {
        let users = build(&Registry::new(), &sticky(None));
        let cookies = users.cookies().expect("cookies");
        let text = |secure| cookies.set_cookie(1, secure).expect("a cookie").to_str().expect("text").to_owned();
        let plain = format!("lb_server={}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600", cookies.values[1]);
        assert_eq!(text(false), plain);
        assert_eq!(text(true), plain + "; Secure");
        assert_eq!(cookies.set_cookie(3, false), None);
    }
}
