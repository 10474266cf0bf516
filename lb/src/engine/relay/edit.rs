//! A head on its way out: what was received, less what is taken away, and what is put in its place.
//!
//! The fields that come through, nearly all, are copied as they stand in the head that was received, neighbours in one piece. So the editor
//! only notes which of them go, and writes what comes anew at once, in front of them: the order of fields of different names means nothing
//! (RFC 9110 §5.3), and fields of one name that are added behind received ones are written after them.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};

use crate::engine::h1::Lines;
use crate::exchange::head::Editor;

/// Edits the fields of one head. The first line must be written already.
pub(super) struct HeadEditor<'a> {
    out: &'a mut BytesMut,
    received: Lines<'a>,
    removed: Removed,
    /// What was written anew: where, and the length of its name.
    written: Vec<Written>,
    /// What is added to received fields of the same name.
    late: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Clone, Copy)]
struct Written {
    start: usize,
    name: usize,
    end: usize,
}

impl<'a> HeadEditor<'a> {
    /// Edits `received` into `out`.
    pub(super) fn new(out: &'a mut BytesMut, received: Lines<'a>) -> Self {
        Self {
            out,
            received,
            removed: Removed::default(),
            written: Vec::with_capacity(8),
            late: Vec::new(),
        }
    }

    /// Adds a field of plain text.
    pub(super) fn put(&mut self, name: &str, value: &[u8]) {
        let start = self.out.len();
        line(self.out, name, value);
        self.written.push(Written {
            start,
            name: name.len(),
            end: self.out.len(),
        });
    }

    /// Takes every field of that name away.
    pub(super) fn take_away(&mut self, name: &str) {
        self.remove_received(name);
        self.remove_written(name);
        self.late.retain(|(late, _)| late.as_str() != name);
    }

    /// Whether a field of that name will be sent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.is_received(name) || self.written.iter().any(|line| self.is_named(line, name))
    }

    fn is_named(&self, line: &Written, name: &str) -> bool {
        is(&self.out[line.start..line.start + line.name], name)
    }

    fn remove_received(&mut self, name: &str) {
        for (index, received, _) in self.received.iter() {
            if is(received, name) {
                self.removed.add(index);
            }
        }
    }

    fn is_received(&self, name: &str) -> bool {
        let mut lines = self.received.iter();
        lines.any(|(index, received, _)| is(received, name) && !self.removed.has(index))
    }

    fn remove_written(&mut self, name: &str) {
        let mut at = self.written.len();
        while at > 0 {
            at -= 1;
            let line = self.written[at];
            if !self.is_named(&line, name) {
                continue;
            }
            // Seldom: a route's own edit of what was set before.
            let length = line.end - line.start;
            self.out.copy_within(line.end.., line.start);
            self.out.truncate(self.out.len() - length);
            self.written.remove(at);
            for later in &mut self.written[at..] {
                later.start -= length;
                later.end -= length;
            }
        }
    }

    /// Writes what stays of the received fields, and the empty line.
    pub(super) fn finish(self) {
        let mut run = None;
        for index in 0..self.received.len() {
            match (self.removed.has(index), run) {
                (false, None) => run = Some(index),
                (true, Some(first)) => {
                    self.out.extend_from_slice(self.received.run(first..index));
                    run = None;
                }
                _ => {}
            }
        }
        if let Some(first) = run {
            self.out.extend_from_slice(self.received.run(first..self.received.len()));
        }
        for (name, value) in &self.late {
            line(self.out, name.as_str(), value.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

impl Editor for HeadEditor<'_> {
    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.take_away(name.as_str());
        self.put(name.as_str(), value.as_bytes());
    }

    fn set_text(&mut self, name: &HeaderName, value: &[u8]) {
        self.take_away(name.as_str());
        self.put(name.as_str(), value);
    }

    fn add_text(&mut self, name: &HeaderName, value: &[u8]) {
        match HeaderValue::from_bytes(value) {
            Ok(value) if self.is_received(name.as_str()) => self.late.push((name.clone(), value)),
            _ => self.put(name.as_str(), value),
        }
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        if self.is_received(name.as_str()) {
            self.late.push((name.clone(), value));
        } else {
            self.put(name.as_str(), value.as_bytes());
        }
    }

    fn remove(&mut self, name: &HeaderName) {
        self.take_away(name.as_str());
    }
}

#[inline]
fn is(found: &[u8], name: &str) -> bool {
    found.len() == name.len() && found.eq_ignore_ascii_case(name.as_bytes())
}

/// Writes one field line.
pub(super) fn line(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Which fields go, by their index.
#[derive(Default)]
struct Removed {
    first: u128,
    others: Vec<u64>,
}

impl Removed {
    fn add(&mut self, index: usize) {
        if index < 128 {
            self.first |= 1 << index;
        } else {
            let word = index / 64;
            if self.others.len() <= word {
                self.others.resize(word + 1, 0);
            }
            self.others[word] |= 1 << (index % 64);
        }
    }

    fn has(&self, index: usize) -> bool {
        if index < 128 {
            self.first >> index & 1 == 1
        } else {
            self.others.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
        }
    }
}
