//! Every refusal, and the answer that it becomes: in this one place, as `application/problem+json` (RFC 9457).
//!
//! The rest of the program says what is wrong ([`Refusal`]) and knows nothing of statuses, fields and bodies; a client gets them all in
//! one form, with the id under which the log has the request. What the body says is fixed text but for the id, so that a flood of bad
//! requests costs little: one allocation for it.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::admit::RequestId;

/// What is said of a request that was delayed or refused on purpose.
pub const FAULT: &str = "Fault injected.";

/// Why a request is not served. Texts say to the client what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400: malformed or ambiguous.
    BadRequest(&'static str),
    /// 403: the client's address may not come.
    Forbidden,
    /// 404: no route.
    NoRoute,
    /// 405: a route, but for other methods: these.
    MethodNotAllowed(Vec<Method>),
    /// 408: the head or the body took too long to arrive.
    RequestTimeout(&'static str),
    /// 413: the body is over a limit.
    BodyTooLarge,
    /// 414: the target is over a limit.
    UriTooLong,
    /// 421: another host than the one that the connection was let in for.
    Misdirected,
    /// 431: the head is over a limit.
    HeadTooLarge,
    /// 501: something that `lb` does not do.
    NotImplemented(&'static str),
    /// 502: no good answer from a server.
    BadGateway(&'static str),
    /// 503: no server can take it now.
    Unavailable {
        /// Why.
        why: &'static str,
        /// When to try again, in seconds.
        retry_after: u32,
    },
    /// 504: a server took too long.
    GatewayTimeout(&'static str),
    /// This status, on purpose: the route has a `fault`.
    Fault(StatusCode),
    /// 505: a version of HTTP that is not spoken here.
    Version,
}

/// The answer to a refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// `Content-Type`, `Cache-Control`, and `Allow` or `Retry-After` where the status has one. `X-Request-ID` is the caller's, as on every response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body: a JSON object.
    pub body: Bytes,
}

impl Refusal {
    /// The status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Fault(status) => *status,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    /// Whether the connection cannot go on after the answer: where the request ends is not known, or will not be read.
    pub fn closes(&self) -> bool {
        match self {
            Self::BadRequest(_)
            | Self::RequestTimeout(_)
            | Self::BodyTooLarge
            | Self::UriTooLong
            | Self::HeadTooLarge
            | Self::NotImplemented(_)
            | Self::Version => true,
            Self::Forbidden
            | Self::NoRoute
            | Self::MethodNotAllowed(_)
            | Self::Misdirected
            | Self::BadGateway(_)
            | Self::Unavailable { .. }
            | Self::GatewayTimeout(_)
            | Self::Fault(_) => false,
        }
    }

    /// What happened, for people.
    pub fn detail(&self) -> &'static str {
        match self {
            Self::BadRequest(why)
            | Self::RequestTimeout(why)
            | Self::NotImplemented(why)
            | Self::BadGateway(why)
            | Self::Unavailable { why, .. }
            | Self::GatewayTimeout(why) => why,
            Self::Forbidden => "Requests from this address are not allowed here.",
            Self::NoRoute => "No route matches this host and path.",
            Self::MethodNotAllowed(_) => "This path does not take that method.",
            Self::BodyTooLarge => "The request's body is larger than this path takes.",
            Self::Misdirected => "This host has other rules for clients than the one that the connection was opened for.",
            Self::UriTooLong => "The request's target is too long.",
            Self::HeadTooLarge => "The request's head is too large or has too many fields.",
            Self::Fault(_) => FAULT,
            Self::Version => "This version of HTTP is not spoken here.",
        }
    }

    /// The answer to the request of that id.
    pub fn problem(&self, id: &RequestId) -> Problem {
        let mut headers = Vec::with_capacity(3);
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/problem+json")));
        // Some of these statuses may be stored without a word (RFC 9110 §15.1); the id is of this request alone.
        headers.push((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        match self {
            Self::MethodNotAllowed(methods) => headers.push((ALLOW, allow(methods))),
            Self::Unavailable { retry_after, .. } => headers.push((RETRY_AFTER, HeaderValue::from(*retry_after))),
            Self::Fault(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
                headers.push((RETRY_AFTER, HeaderValue::from(1)))
            }
            _ => {}
        }
        Problem {
            status: self.status(),
            headers,
            body: self.body(id.as_str()),
        }
    }

    fn body(&self, id: &str) -> Bytes {
        let (status, title) = (self.status(), self.status().canonical_reason().unwrap_or_default());
        let (detail, id) = (escaped(self.detail()), escaped(id));
        let parts = [
            r#"{"type":"about:blank","title":""#,
            title,
            r#"","status":"#,
            status.as_str(),
            r#","detail":""#,
            &detail,
            r#"","request_id":""#,
            &id,
            "\"}\n",
        ];
        Bytes::from(parts.concat())
    }
}

/// A list of methods; a method is a token, so it can always be a value.
fn allow(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// Text for between the quotes of a JSON string (RFC 8259 §7). Ours has nothing to escape, unless somebody writes a quote into a detail.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
        return Cow::Borrowed(text);
    }
    let quoted = serde_json::Value::from(text).to_string();
    Cow::Owned(quoted[1..quoted.len() - 1].to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<Refusal> {
        vec![
            Refusal::BadRequest("The Host field is missing."),
            Refusal::Forbidden,
            Refusal::NoRoute,
            Refusal::MethodNotAllowed(vec![Method::GET, Method::from_bytes(b"PURGE").unwrap()]),
            Refusal::RequestTimeout("late"),
            Refusal::BodyTooLarge,
            Refusal::UriTooLong,
            Refusal::HeadTooLarge,
            Refusal::NotImplemented("CONNECT"),
            Refusal::BadGateway("The server closed the connection."),
            Refusal::Unavailable {
                why: "No server is up.",
                retry_after: 5,
            },
            Refusal::GatewayTimeout("late"),
            Refusal::Version,
            Refusal::Fault(StatusCode::INTERNAL_SERVER_ERROR),
        ]
    }

    fn json(refusal: &Refusal) -> serde_json::Value {
        serde_json::from_slice(&refusal.problem(&RequestId::new(1, 2)).body).unwrap()
    }

    fn header(refusal: &Refusal, name: HeaderName) -> Option<HeaderValue> {
        refusal
            .problem(&RequestId::new(1, 2))
            .headers
            .into_iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    #[test]
    fn every_refusal_is_a_problem_with_all_its_members() {
        for refusal in all() {
            let json = json(&refusal);
            assert_eq!(json["type"], "about:blank");
            assert_eq!(json["status"], refusal.status().as_u16());
            assert_eq!(json["title"], refusal.status().canonical_reason().unwrap());
            assert_eq!(json["detail"], refusal.detail());
            assert_eq!(json["request_id"], RequestId::new(1, 2).as_str());
            assert_eq!(json.as_object().unwrap().len(), 5);
            assert_eq!(header(&refusal, CONTENT_TYPE).unwrap(), "application/problem+json");
        }
    }

    #[test]
    fn each_has_the_status_that_the_contract_names() {
        let statuses: Vec<u16> = all().iter().map(|refusal| refusal.status().as_u16()).collect();
        assert_eq!(statuses, [400, 403, 404, 405, 408, 413, 414, 431, 501, 502, 503, 504, 505, 500]);
    }

    #[test]
    fn method_not_allowed_says_what_is_and_unavailable_when_to_come_back() {
        assert_eq!(header(&all()[3], ALLOW).unwrap(), "GET, PURGE");
        assert_eq!(header(&all()[10], RETRY_AFTER).unwrap(), "5");
        assert_eq!(header(&all()[2], RETRY_AFTER), None);
    }

    #[test]
    fn a_detail_with_quotes_and_control_characters_is_still_json() {
        let detail = "a \"quote\", a \\ and a \u{1}\n";
        assert_eq!(json(&Refusal::BadRequest(detail))["detail"], detail);
    }

    proptest! {
        #[test]
        fn any_text_escapes_to_json(text in any::<String>()) {
            let json: String = serde_json::from_str(&format!("\"{}\"", escaped(&text))).unwrap();
            prop_assert_eq!(json, text);
        }
    }
}
