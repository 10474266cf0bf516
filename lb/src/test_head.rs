//! A request head for tests that keeps names as they were written, as an engine over raw bytes does.

use http::{HeaderName, HeaderValue, Method, Version};

use crate::exchange::head::{Editor, Fields, RequestHead};

/// A head with fields in any spelling and order.
#[derive(Debug, Clone)]
pub(crate) struct TestHead {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) target: Vec<u8>,
    pub(crate) authority: Vec<u8>,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl TestHead {
    /// `GET target` for that host.
    pub(crate) fn get(authority: &str, target: &str) -> Self {
        Self {
            method: Method::GET,
            version: Version::HTTP_11,
            target: target.as_bytes().to_vec(),
            authority: authority.as_bytes().to_vec(),
            fields: Vec::new(),
        }
    }

    /// The same with another method.
    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The same with one field more.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        self
    }

    /// All values of a name, joined by ` | `; the name compares byte by byte in lower case.
    pub(crate) fn shows(&self, name: &str) -> String {
        let values = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        values
            .map(|(_, v)| String::from_utf8_lossy(v).into_owned())
            .collect::<Vec<_>>()
            .join(" | ")
    }

    /// Every name, in order and lower case.
    pub(crate) fn names(&self) -> Vec<String> {
        self.fields.iter().map(|(n, _)| String::from_utf8_lossy(n).to_lowercase()).collect()
    }
}

impl Fields for TestHead {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_str().as_bytes()))
            .map(|(_, v)| v.as_slice())
    }

    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_str().as_bytes()))
            .map(|(_, v)| v.as_slice())
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(n, v)| (n.as_slice(), v.as_slice()))
    }
}

impl RequestHead for TestHead {
    fn method(&self) -> &Method {
        &self.method
    }

    fn version(&self) -> Version {
        self.version
    }

    fn target(&self) -> &[u8] {
        &self.target
    }

    fn authority(&self) -> &[u8] {
        &self.authority
    }
}

impl Editor for TestHead {
    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.remove(name);
        self.add(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.fields.push((name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()));
    }

    fn remove(&mut self, name: &HeaderName) {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name.as_str().as_bytes()));
    }
}
