//! Why a route takes a request, or does not: what `lb explain` prints.
//!
//! The look-up itself never learns why a route that it did not meet would have failed. Here every route is held against the request on
//! its own, condition by condition, without the tables. So it is slow, and a second reading of the rules that tests hold the first against.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use lb_config::{HostMatch, PathMatch};

use super::{Conditions, Found, Router, Target, header_holds, host, target};
use crate::exchange::head::RequestHead;

/// What became of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Its place in the file.
    pub index: usize,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it matched.
    pub verdict: Verdict,
}

/// Whether a route matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the request.
    Taken,
    /// All its conditions hold, but another is more specific, or as specific and earlier in the file.
    LessSpecific,
    /// These conditions do not hold; at least one.
    Failed(Vec<Mismatch>),
}

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The host is another.
    Host {
        /// As in the file.
        expected: String,
        /// The request's, as it is compared.
        found: String,
    },
    /// The path is another.
    Path {
        /// As in the file.
        expected: String,
        /// The request's, as it is compared.
        found: String,
    },
    /// The method is not among the route's.
    Method {
        /// The route's.
        expected: Vec<Method>,
        /// The request's.
        found: Method,
    },
    /// No field of that name has that value.
    Header {
        /// The field's name.
        name: HeaderName,
        /// The value that it must have.
        expected: HeaderValue,
        /// The values that it has.
        found: Vec<String>,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { expected, found } => write!(f, "host is {found:?}, not {expected:?}"),
            Self::Path { expected, found } => write!(f, "path is {found:?}, which {expected:?} does not match"),
            Self::Method { expected, found } => {
                write!(f, "method is {found}, not")?;
                expected
                    .iter()
                    .enumerate()
                    .try_for_each(|(at, method)| write!(f, "{} {method}", if at == 0 { "" } else { " or" }))
            }
            Self::Header { name, expected, found } if found.is_empty() => write!(f, "header {name} is missing, {expected:?} is expected"),
            Self::Header { name, expected, found } => {
                write!(f, "header {name} is ")?;
                found
                    .iter()
                    .enumerate()
                    .try_for_each(|(at, value)| write!(f, "{}{value:?}", if at == 0 { "" } else { " and " }))?;
                write!(f, ", not {expected:?}")
            }
        }
    }
}

impl Router {
    /// What becomes of each route, in file order.
    pub fn explain(&self, request: &impl RequestHead, target: &Target<'_>) -> Vec<Explained> {
        let found = self.find(request, target);
        let explained = self.conditions.iter().enumerate().map(|(index, conditions)| {
            let failed = conditions.mismatches(request, target);
            let verdict = match failed.is_empty() {
                false => Verdict::Failed(failed),
                true if found == Found::Route(index) => Verdict::Taken,
                true => Verdict::LessSpecific,
            };
            Explained {
                index,
                name: conditions.name.clone(),
                verdict,
            }
        });
        explained.collect()
    }
}

impl Conditions {
    fn mismatches(&self, request: &impl RequestHead, target: &Target<'_>) -> Vec<Mismatch> {
        let mut failed = Vec::new();
        let host = host::name(request.authority());
        if !host_matches(&self.host, &host) {
            failed.push(Mismatch::Host {
                expected: written_host(&self.host),
                found: text(&host),
            });
        }
        if !path_matches(&self.path, target) {
            failed.push(Mismatch::Path {
                expected: written_path(&self.path),
                found: text(target.path()),
            });
        }
        if !self.method_holds(request.method()) {
            failed.push(Mismatch::Method {
                expected: self.methods.clone(),
                found: request.method().clone(),
            });
        }
        for (name, value) in self.headers.iter().filter(|(name, value)| !header_holds(request, name, value)) {
            let found = request.all(name).map(text).collect();
            failed.push(Mismatch::Header {
                name: name.clone(),
                expected: value.clone(),
                found,
            });
        }
        failed
    }
}

fn host_matches(condition: &HostMatch, found: &[u8]) -> bool {
    match condition {
        HostMatch::Any => true,
        HostMatch::Exact(name) => *host::name(name.as_bytes()) == *found,
        HostMatch::Wildcard(suffix) => {
            let suffix = host::name(suffix.as_bytes());
            found.len() > suffix.len() && found.ends_with(&suffix)
        }
    }
}

fn path_matches(condition: &PathMatch, target: &Target<'_>) -> bool {
    let path = target.path();
    match condition {
        PathMatch::Prefix(prefix) if target.is_asterisk() => &**prefix == "/",
        _ if target.is_asterisk() => false,
        PathMatch::Exact(exact) => *target::canonical(exact) == *path,
        PathMatch::Regex(regex) => regex.is_match(path),
        PathMatch::Prefix(prefix) => {
            let prefix = target::canonical(prefix);
            let below = path.strip_prefix(prefix.strip_suffix(b"/").unwrap_or(&prefix));
            below.is_some_and(|below| below.first().is_none_or(|&byte| byte == b'/'))
        }
    }
}

/// A host condition as the file writes it.
fn written_host(host: &HostMatch) -> String {
    match host {
        HostMatch::Any => "*".into(),
        HostMatch::Exact(name) => name.to_string(),
        HostMatch::Wildcard(suffix) => format!("*{suffix}"),
    }
}

/// A path condition as the file writes it.
fn written_path(path: &PathMatch) -> String {
    match path {
        PathMatch::Prefix(prefix) => prefix.to_string(),
        PathMatch::Exact(exact) => format!("={exact}"),
        PathMatch::Regex(regex) => format!("~{regex}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
