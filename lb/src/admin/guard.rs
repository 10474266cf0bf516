//! Who may use the admin address.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use lb_config::Secret;

use super::problem;
use crate::proxy::Proxy;

/// Lets a request through, or says why not.
pub(super) async fn guard(State(proxy): State<Arc<Proxy>>, request: Request, next: Next) -> Response {
    let token = proxy.snapshot().config.server.admin.as_ref().and_then(|admin| admin.token.clone());
    let headers = request.headers();
    let open = matches!(request.uri().path(), "/healthz" | "/readyz");
    match &token {
        Some(token) if !open && !bears(headers, token) => {
            let mut response = problem(StatusCode::UNAUTHORIZED, "expected Authorization: Bearer and the admin token");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        // A page that was brought here under a name of its own has no token; who has one may call this address what they like.
        None if foreign_host(headers) => return problem(StatusCode::FORBIDDEN, "the Host is not this machine's"),
        _ => {}
    }
    if foreign_origin(headers) {
        return problem(StatusCode::FORBIDDEN, "the Origin is another site");
    }
    next.run(request).await
}

fn bears(headers: &HeaderMap, token: &Secret) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes) else {
        return false;
    };
    let Some((scheme, given)) = value.split_at_checked(7) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ") && same(given, token.0.as_bytes())
}

/// Compares in a time that does not tell how much of it was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Whether the Host is a name that somebody else could have pointed here. An address cannot be.
fn foreign_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return false };
    let Ok(host) = host.to_str() else { return true };
    let name = without_port(host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    !(name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (name.ends_with(']') || !host.starts_with('[')) => name,
        _ => host,
    }
}

fn foreign_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let site = origin
        .as_bytes()
        .strip_prefix(b"http://")
        .or_else(|| origin.as_bytes().strip_prefix(b"https://"));
    site.is_none_or(|site| !site.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn addresses_and_localhost_are_this_machine() {
        for host in ["127.0.0.1:9901", "localhost:9901", "[::1]:9901", "10.0.0.1", "[::1]", "LOCALHOST"] {
            assert!(!foreign_host(&headers(&[(header::HOST, host)])), "{host}");
        }
        for host in ["evil.example:9901", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(foreign_host(&headers(&[(header::HOST, host)])), "{host}");
        }
    }

    #[test]
    fn an_origin_must_be_the_host() {
        assert!(!foreign_origin(&headers(&[
            (header::HOST, "localhost:9901"),
            (header::ORIGIN, "http://localhost:9901")
        ])));
        assert!(foreign_origin(&headers(&[
            (header::HOST, "localhost:9901"),
            (header::ORIGIN, "http://evil.example")
        ])));
        assert!(foreign_origin(&headers(&[
            (header::HOST, "localhost:9901"),
            (header::ORIGIN, "null")
        ])));
    }

    #[test]
    fn only_the_whole_token_is_right() {
        let token = Secret("s3cret".to_string());
        assert!(bears(&headers(&[(header::AUTHORIZATION, "Bearer s3cret")]), &token));
        assert!(bears(&headers(&[(header::AUTHORIZATION, "bearer s3cret")]), &token));
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Basic s3cret", "Bearer", ""] {
            assert!(!bears(&headers(&[(header::AUTHORIZATION, wrong)]), &token), "{wrong}");
        }
    }
}
