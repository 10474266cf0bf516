//! Where the configuration names files that others read.
//!
//! This crate reads no file but the configuration: whether a certificate is one is found out by whoever loads it. For their problems to
//! look like all others, with line, column and the line itself, the places of such values are kept here by their keys.

use std::fmt;

use crate::problem::Problem;

/// The places of values that name files, by keys such as `server.tls[0].certificate` or `upstreams.users.tls.ca`.
#[derive(Clone, Default)]
pub struct Mentions(Vec<(String, Problem)>);

impl Mentions {
    pub(crate) fn new(places: Vec<(String, Problem)>) -> Self {
        Self(places)
    }

    /// A problem with the value of a key. One that is not there has no place.
    pub fn problem(&self, key: &str, message: impl Into<String>, help: Option<String>) -> Problem {
        let message = message.into();
        match self.0.iter().find(|(known, _)| known == key) {
            Some((_, place)) => place.saying(message, help),
            None => Problem::without_place(format!("{key}: {message}"), help),
        }
    }
}

impl fmt::Debug for Mentions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |problem: &Problem| (problem.line.unwrap_or(0), problem.column.unwrap_or(0));
        f.debug_map()
            .entries(self.0.iter().map(|(key, problem)| (key, place(problem))))
            .finish()
    }
}
