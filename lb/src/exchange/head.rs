//! What the exchange may know of a message head, whoever holds it.
//!
//! An engine implements these traits over what it has read: pingora's header maps in one, offsets into raw bytes in the other. The
//! exchange asks through them and never sees a socket or an engine's own type. Edits go the other way: the exchange calls an [`Editor`],
//! and the engine writes what it is told into the form that it sends.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

/// Header fields, in the order in which they came. Names compare without case (RFC 9110 §5.1).
pub trait Fields {
    /// The first field of that name.
    fn get(&self, name: &HeaderName) -> Option<&[u8]>;
    /// Every field of that name, in order.
    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]>;
    /// Every field: name as it came, value.
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
}

/// A request head (RFC 9110 §6.2) that is well-formed and unambiguous: engines refuse the others before they ask.
pub trait RequestHead: Fields {
    /// The method.
    fn method(&self) -> &Method;
    /// The version that the client spoke.
    fn version(&self) -> Version;
    /// Path and query as received (origin form), or `*`. Never empty.
    fn target(&self) -> &[u8];
    /// `Host` or `:authority` as received, with its port; empty where an HTTP/1.0 client sent none.
    fn authority(&self) -> &[u8];
    /// A body follows that no field announces, as HTTP/2 allows (RFC 9113 §8.1).
    fn has_unannounced_body(&self) -> bool {
        false
    }
}

/// A response head (RFC 9110 §6.2).
pub trait ResponseHead: Fields {
    /// The status.
    fn status(&self) -> StatusCode;
}

/// Takes edits of a head on its way out.
pub trait Editor {
    /// Replaces every field of that name by one.
    fn set(&mut self, name: &HeaderName, value: HeaderValue);
    /// As [`Self::set`], from text that is visible ASCII, which need not become a value of its own.
    fn set_text(&mut self, name: &HeaderName, value: &[u8]) {
        // What is no value is none for nobody.
        match HeaderValue::from_bytes(value) {
            Ok(value) => self.set(name, value),
            Err(_) => self.remove(name),
        }
    }
    /// As [`Self::add`], from such text.
    fn add_text(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.add(name, value);
        }
    }
    /// As [`Self::add_text`], where no field of that name is there.
    fn put_text(&mut self, name: &HeaderName, value: &[u8]) {
        self.add_text(name, value);
    }
    /// Adds a field beside those that are there.
    fn add(&mut self, name: &HeaderName, value: HeaderValue);
    /// Takes every field of that name away.
    fn remove(&mut self, name: &HeaderName);
}

impl Fields for HeaderMap {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        HeaderMap::get(self, name).map(HeaderValue::as_bytes)
    }

    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        HeaderMap::iter(self).map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
    }
}

impl Editor for HeaderMap {
    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.append(name, value);
    }

    fn remove(&mut self, name: &HeaderName) {
        HeaderMap::remove(self, name);
    }
}
