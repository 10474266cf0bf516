//! The first line: method, target, version (RFC 9112 §3).
//!
//! A target has one of four forms. Origin form (`/path?query`) is what clients send to servers; absolute form (`http://host/path`) is what
//! they send to proxies and what every server must take; asterisk form belongs to `OPTIONS`; authority form to `CONNECT`, which is refused.
//! Whatever came, the rest of the program sees origin form or `*`, and the authority on the side.

use http::{Method, Version};

use super::chars::{NOT_IN_TARGET, ONLY_IN_QUERY, TARGET, TOKEN};
use super::error::HeadError;
use super::fields::host;
use super::span::Span;

/// Longer methods than any that exists. RFC 9112 §3: 501 for a method longer than those implemented.
const MAX_METHOD: usize = 32;
/// What `http::Uri` can hold, so that no engine has to give up on a target that was accepted here.
const MAX_TARGET: usize = 65_534;

/// The path and query that a target asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    /// As it stands in the head: from a `/`, or `*`.
    InHead(Span),
    /// An absolute form without path: `http://host`.
    Implied(&'static [u8]),
    /// An absolute form with a query and no path, which has a `/` before it in origin form.
    QueryOnly(Box<[u8]>),
}

/// A request line that is in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    /// The target as it came.
    pub(super) target: Span,
    pub(super) path: Path,
    /// The authority of an absolute form.
    pub(super) authority: Option<Span>,
    pub(super) version: Version,
}

/// Reads a request line, without its CRLF. `at` is where it begins in the head.
pub(super) fn parse(line: &[u8], at: usize) -> Result<RequestLine, HeadError> {
    let method_len = method_len(line)?;
    let Some((rest, version)) = line[method_len + 1..].split_last_chunk::<9>() else {
        return Err(HeadError::Malformed("request line without version"));
    };
    let version = parse_version(version)?;
    let method = parse_method(&line[..method_len])?;
    check_bytes(rest)?;
    let target = Span::new(at + method_len + 1, rest.len());
    let (path, authority) = parse_form(rest, target, &method)?;
    Ok(RequestLine {
        method,
        target,
        path,
        authority,
        version,
    })
}

fn method_len(line: &[u8]) -> Result<usize, HeadError> {
    let end = line.iter().take(MAX_METHOD + 1).position(|&byte| !TOKEN[usize::from(byte)]);
    match end {
        Some(len) if len > 0 && line[len] == b' ' => Ok(len),
        None if line.len() > MAX_METHOD => Err(HeadError::NotImplemented("method not implemented")),
        None => Err(HeadError::Malformed("request line without target")),
        Some(0) => Err(HeadError::Malformed("request line without method")),
        Some(len) if line[len] == b'\r' => Err(HeadError::Malformed("request line without target")),
        Some(_) => Err(HeadError::Malformed("invalid byte in the method")),
    }
}

/// Whether what there is of an unfinished first line can still become a request line. It keeps a client that speaks something else
/// (a TLS hello on a plain port) from waiting for the deadline.
pub(super) fn check_beginning(line: &[u8]) -> Result<(), HeadError> {
    match line.first() {
        None | Some(b'\r') => Ok(()),
        Some(_) => match method_len(line) {
            Err(HeadError::Malformed(_)) if line.iter().all(|&byte| TOKEN[usize::from(byte)]) => Ok(()),
            other => other.map(|_| ()),
        },
    }
}

fn parse_version(version: &[u8; 9]) -> Result<Version, HeadError> {
    match version {
        b" HTTP/1.1" => Ok(Version::HTTP_11),
        b" HTTP/1.0" => Ok(Version::HTTP_10),
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(HeadError::Version)
        }
        _ => Err(HeadError::Malformed("invalid HTTP version")),
    }
}

fn parse_method(method: &[u8]) -> Result<Method, HeadError> {
    match method {
        b"GET" => return Ok(Method::GET),
        b"CONNECT" => return Err(HeadError::NotImplemented("CONNECT is not implemented")),
        // It would show fields to the sender that this proxy or one behind it has added (RFC 9110 §9.3.8).
        b"TRACE" => return Err(HeadError::NotImplemented("TRACE is not implemented")),
        _ => {}
    }
    Method::from_bytes(method).map_err(|_| HeadError::Malformed("invalid byte in the method"))
}

fn check_bytes(target: &[u8]) -> Result<(), HeadError> {
    if target.len() > MAX_TARGET {
        return Err(HeadError::TargetTooLong);
    }
    let seen = target.iter().fold(0, |seen, &byte| seen | TARGET[usize::from(byte)]);
    if seen & NOT_IN_TARGET != 0 {
        return Err(HeadError::Malformed("invalid byte in the request target"));
    }
    if seen & ONLY_IN_QUERY != 0 {
        let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
        if path.iter().any(|&byte| TARGET[usize::from(byte)] != 0) {
            return Err(HeadError::Malformed("invalid byte in the path of the request target"));
        }
    }
    Ok(())
}

fn parse_form(target: &[u8], span: Span, method: &Method) -> Result<(Path, Option<Span>), HeadError> {
    match target {
        [b'/', ..] => Ok((Path::InHead(span), None)),
        b"*" if *method == Method::OPTIONS => Ok((Path::InHead(span), None)),
        b"*" => Err(HeadError::Malformed("asterisk form is for OPTIONS only")),
        _ => parse_absolute(target, span, method),
    }
}

fn parse_absolute(target: &[u8], span: Span, method: &Method) -> Result<(Path, Option<Span>), HeadError> {
    let scheme_len = match target {
        _ if starts_with_ignore_case(target, b"http://") => 7,
        _ if starts_with_ignore_case(target, b"https://") => 8,
        _ => return Err(HeadError::Malformed("invalid form of the request target")),
    };
    let rest = &target[scheme_len..];
    let authority_len = rest.iter().position(|&byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_len);
    if authority.is_empty() || !host::is_valid(authority) {
        return Err(HeadError::Malformed("invalid authority in the request target"));
    }
    let path = match path {
        [b'/', ..] => Path::InHead(span.skip(scheme_len + authority_len)),
        // RFC 9112 §3.2.4: without a path, OPTIONS asks about the server as a whole.
        [] if *method == Method::OPTIONS => Path::Implied(b"*"),
        [] => Path::Implied(b"/"),
        query => Path::QueryOnly([b"/", query].concat().into_boxed_slice()),
    };
    Ok((path, Some(span.skip(scheme_len).take(authority_len))))
}

fn starts_with_ignore_case(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
