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
    /// Those of the second come after those of the first, in their indices too.
    received: [Lines<'a>; 2],
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
        Self::of_both(out, [received, Lines::default()])
    }

    /// Edits lines that stand in two places into `out`.
    pub(super) fn of_both(out: &'a mut BytesMut, received: [Lines<'a>; 2]) -> Self {
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
        let mut before = 0;
        for lines in self.received {
            for (index, received, _) in lines.iter() {
                if is(received, name) {
                    self.removed.add(before + index);
                }
            }
            before += lines.len();
        }
    }

    fn is_received(&self, name: &str) -> bool {
        let [first, second] = self.received;
        let stays = |(index, received, _): (usize, &[u8], &[u8]), before: usize| is(received, name) && !self.removed.has(before + index);
        first.iter().any(|line| stays(line, 0)) || second.iter().any(|line| stays(line, first.len()))
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
        let mut before = 0;
        for lines in self.received {
            let mut run = None;
            for index in 0..lines.len() {
                match (self.removed.has(before + index), run) {
                    (false, None) => run = Some(index),
                    (true, Some(first)) => {
                        self.out.extend_from_slice(lines.run(first..index));
                        run = None;
                    }
                    _ => {}
                }
            }
            if let Some(first) = run {
                self.out.extend_from_slice(lines.run(first..lines.len()));
            }
            before += lines.len();
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

    fn put_text(&mut self, name: &HeaderName, value: &[u8]) {
        self.put(name.as_str(), value);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::h1::head::parse;
    use crate::engine::h1::{Head, HeadLimits, Rendered};
    use crate::exchange::head::Fields;

    const LIMITS: HeadLimits = HeadLimits::new(1 << 20, 1000);

    /// One edit.
    #[derive(Debug, Clone)]
    enum Edit {
        Set(&'static str, &'static str),
        Add(&'static str, &'static str),
        Remove(&'static str),
        SetText(&'static str, &'static str),
        AddText(&'static str, &'static str),
    }

    fn make(edit: &Edit, editor: &mut impl Editor) {
        let name = HeaderName::from_static;
        let value = HeaderValue::from_static;
        match *edit {
            Edit::Set(field, text) => editor.set(&name(field), value(text)),
            Edit::Add(field, text) => editor.add(&name(field), value(text)),
            Edit::Remove(field) => editor.remove(&name(field)),
            Edit::SetText(field, text) => editor.set_text(&name(field), text.as_bytes()),
            Edit::AddText(field, text) => editor.add_text(&name(field), text.as_bytes()),
        }
    }

    /// The head that goes out.
    fn edited(received: &[(&str, &str)], edits: &[Edit]) -> Vec<u8> {
        let mut text = b"GET / HTTP/1.1\r\n".to_vec();
        for (name, value) in received {
            text.extend_from_slice(format!("{name}:  {value}\t\r\n").as_bytes());
        }
        text.extend_from_slice(b"\r\nGET /smuggled HTTP/1.1\r\n");
        let parsed = parse(&text, &LIMITS).unwrap().unwrap();
        let mut out = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
        let mut editor = HeadEditor::new(&mut out, Head::new(&text, &parsed).lines());
        edits.iter().for_each(|edit| make(edit, &mut editor));
        editor.finish();
        out.to_vec()
    }

    /// The same, with the received fields rendered in two places.
    fn edited_in_two(received: &[(&str, &str)], at: usize, edits: &[Edit]) -> Vec<u8> {
        let (first, second) = received.split_at(at);
        let [first, second] = [first, second].map(|fields| {
            let mut rendered = Rendered::default();
            for (name, value) in fields {
                rendered.add(&HeaderName::from_bytes(name.as_bytes()).unwrap(), value.as_bytes());
            }
            rendered
        });
        let mut out = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
        let mut editor = HeadEditor::of_both(&mut out, [first.lines(), second.lines()]);
        edits.iter().for_each(|edit| make(edit, &mut editor));
        editor.finish();
        out.to_vec()
    }

    /// The values of a field, in order, as whoever gets the head reads them.
    fn read(head: &[u8], name: &'static str) -> Vec<String> {
        let parsed = parse(head, &LIMITS).unwrap().unwrap();
        assert_eq!(parsed.len(), head.len(), "it is one head and nothing more");
        let name = HeaderName::from_static(name);
        let values = Head::new(head, &parsed);
        let values = values.all(&name).map(|value| String::from_utf8(value.to_vec()).unwrap());
        values.collect()
    }

    #[test]
    fn what_nobody_touches_goes_out_as_it_came() {
        let head = edited(&[("Host", "a"), ("X-Odd", "b")], &[]);
        assert_eq!(head, b"GET / HTTP/1.1\r\nHost:  a\t\r\nX-Odd:  b\t\r\n\r\n");
    }

    #[test]
    fn what_is_added_to_a_received_field_stands_behind_it() {
        let head = edited(&[("Host", "a"), ("cache-status", "near")], &[Edit::Add("cache-status", "lb")]);
        assert_eq!(read(&head, "cache-status"), ["near", "lb"]);
        let head = edited(&[("Host", "a"), ("cache-status", "near")], &[Edit::AddText("cache-status", "lb")]);
        assert_eq!(read(&head, "cache-status"), ["near", "lb"]);
    }

    #[test]
    fn the_last_edit_has_the_last_word() {
        let edits = [
            Edit::Set("x-a", "1"),
            Edit::Set("x-b", "2"),
            Edit::Set("x-a", "3"),
            Edit::Remove("x-b"),
        ];
        let head = edited(&[("Host", "a"), ("X-A", "0"), ("X-B", "0")], &edits);
        assert_eq!((read(&head, "x-a"), read(&head, "x-b")), (vec!["3".to_owned()], vec![]));
    }

    #[test]
    fn more_fields_than_a_word_has_bits_are_edited_alike() {
        let names: Vec<String> = (0..300).map(|n| format!("x-{n}")).collect();
        let mut received: Vec<(&str, &str)> = vec![("Host", "a")];
        received.extend(names.iter().map(|name| (name.as_str(), "v")));
        let head = edited(&received, &[Edit::Remove("x-7"), Edit::Remove("x-130"), Edit::Remove("x-299")]);
        assert!(read(&head, "x-7").is_empty() && read(&head, "x-130").is_empty() && read(&head, "x-299").is_empty());
        assert_eq!(read(&head, "x-131"), ["v"]);
        assert_eq!(parse(&head, &LIMITS).unwrap().unwrap().len(), head.len());
    }

    const NAMES: [&str; 4] = ["x-a", "x-b", "x-cc", "cookie"];

    fn edit() -> impl Strategy<Value = Edit> {
        let name = prop::sample::select(&NAMES[..]);
        let value = prop::sample::select(&["1", "2", ""][..]);
        (0..5, name, value).prop_map(|(kind, name, value)| match kind {
            0 => Edit::Set(name, value),
            1 => Edit::Add(name, value),
            2 => Edit::SetText(name, value),
            3 => Edit::AddText(name, value),
            _ => Edit::Remove(name),
        })
    }

    proptest! {
        #[test]
        fn whatever_is_edited_one_head_goes_out_with_just_the_fields_meant(
            received in prop::collection::vec((prop::sample::select(&["X-A", "x-b", "X-Cc", "Cookie", "x-other"][..]), "[a-z]{0,3}"), 0..12),
            edits in prop::collection::vec(edit(), 0..12),
            at in 0_usize..12,
        ) {
            let mut fields = vec![("Host", "a")];
            fields.extend(received.iter().map(|(name, value)| (*name, value.as_str())));
            // The same on a list, without any cleverness.
            let mut meant: Vec<(String, String)> = fields.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned())).collect();
            for edit in &edits {
                match *edit {
                    Edit::Set(name, value) | Edit::SetText(name, value) => {
                        meant.retain(|(other, _)| other != name);
                        meant.push((name.into(), value.into()));
                    }
                    Edit::Add(name, value) | Edit::AddText(name, value) => meant.push((name.into(), value.into())),
                    Edit::Remove(name) => meant.retain(|(other, _)| other != name),
                }
            }
            for head in [edited(&fields, &edits), edited_in_two(&fields, at.min(fields.len()), &edits)] {
            for name in NAMES.into_iter().chain(["host", "x-other"]) {
                let expected: Vec<&str> = meant.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect();
                prop_assert_eq!(read(&head, name), expected, "{}", name);
            }
            prop_assert_eq!(parse(&head, &LIMITS).unwrap().unwrap().len(), head.len());
            }
        }
    }
}
