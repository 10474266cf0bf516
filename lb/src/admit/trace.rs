//! The trace that a request belongs to (W3C Trace Context), by which what all servers on its way tell about it can be put together.
//!
//! `lb` is no part of a trace itself: a `traceparent` that somebody could go on with passes as it came, with its `tracestate`, whatever the version that it
//! is written in. Where there is none, or none that can be read, or several, a new trace begins, which nobody may mix up with a `tracestate` that was sent:
//! that one goes. A trace that begins here is sampled, as OpenTelemetry does by default with one that begins at a server.

use std::num::{NonZeroU64, NonZeroU128};

use http::HeaderName;
use http::header::CONNECTION;

use crate::exchange::head::{Editor, Fields};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: TraceId,
    /// The parent that a trace begins with, where it begins here.
    begun: Option<NonZeroU64>,
}

/// Tells a trace from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

impl Trace {
    /// The one that a request is part of, if it is.
    pub fn given(request: &impl Fields) -> Option<Self> {
        let mut values = request.all(&TRACEPARENT);
        let value = values.next().filter(|_| values.next().is_none())?;
        let id = parse(value)?;
        // What is meant for this hop alone ends here.
        let mut options = request.all(&CONNECTION).flat_map(|line| line.split(|&byte| byte == b','));
        let ends = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(TRACEPARENT.as_str().as_bytes()));
        (!ends).then_some(Self { id, begun: None })
    }

    /// The one that a request is part of, or a new one.
    pub fn of(request: &impl Fields, random: impl FnOnce() -> (u128, u64)) -> Self {
        Self::given(request).unwrap_or_else(|| {
            let (id, parent) = random();
            // Of all that random numbers may be, only 0 has a meaning.
            Self {
                id: TraceId(NonZeroU128::new(id).unwrap_or(NonZeroU128::MIN)),
                begun: Some(NonZeroU64::new(parent).unwrap_or(NonZeroU64::MIN)),
            }
        })
    }

    /// Its name.
    pub fn id(self) -> TraceId {
        self.id
    }

    /// Tells a server. One that was received stands in the head already.
    pub fn apply(self, editor: &mut impl Editor) {
        let Some(parent) = self.begun else { return };
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        hexadecimal(self.id.0.get(), &mut text[3..35]);
        hexadecimal(parent.get().into(), &mut text[36..52]);
        editor.set_text(&TRACEPARENT, &text);
        editor.remove(&TRACESTATE);
    }
}

impl TraceId {
    /// As it is written: 32 hexadecimal digits.
    pub fn text(self) -> [u8; 32] {
        let mut text = [0; 32];
        hexadecimal(self.0.get(), &mut text);
        text
    }
}

/// Reads `version-trace-parent-flags`. What a later version has behind these is for those who know it, and must be told from them by a hyphen.
fn parse(value: &[u8]) -> Option<TraceId> {
    let (known, more) = value.split_at_checked(55)?;
    let (version, trace, parent, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    let is_apart = [2, 35, 52].iter().all(|&at| known[at] == b'-');
    let is_whole = match version {
        b"00" => more.is_empty(),
        b"ff" => false,
        _ => more.first().is_none_or(|&byte| byte == b'-'),
    };
    number(version)?;
    number(flags)?;
    NonZeroU128::new(number(parent)?)?;
    let trace = NonZeroU128::new(number(trace)?)?;
    (is_apart && is_whole).then_some(TraceId(trace))
}

/// At most 32 hexadecimal digits, in lower case as all of them must be.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Fills `out` with the last digits of a number.
fn hexadecimal(mut number: u128, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_head::TestHead;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// What goes on of a request with these.
    fn sent(parents: &[&str], states: &[&str]) -> (String, String) {
        let head = TestHead::get("h", "/");
        let head = parents.iter().fold(head, |head, value| head.with("Traceparent", value));
        let head = states.iter().fold(head, |head, value| head.with("TraceState", value));
        let mut out = head.clone();
        Trace::of(&head, || (0xabc, 0xde)).apply(&mut out);
        (out.shows("traceparent"), out.shows("tracestate"))
    }

    fn new() -> (String, String) {
        ("00-00000000000000000000000000000abc-00000000000000de-01".into(), String::new())
    }

    #[test]
    fn one_that_can_be_read_passes_as_it_came() {
        for given in [
            GIVEN,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what.later.will.be",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        ] {
            assert_eq!(sent(&[given], &["a=1", "b=2"]), (given.to_owned(), "a=1 | b=2".into()));
            let head = TestHead::get("h", "/").with("traceparent", given);
            let id = Trace::given(&head).unwrap().id();
            assert_eq!(&id.text(), b"4bf92f3577b34da6a3ce929d0e0e4736", "{given}");
        }
    }

    #[test]
    fn in_the_place_of_one_that_cannot_a_new_trace_begins_without_state() {
        for given in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
        ] {
            assert_eq!(sent(&[given], &["a=1"]), new(), "{given:?}");
        }
        assert_eq!(sent(&[], &["a=1", "b=2"]), new());
        assert_eq!(sent(&[GIVEN, GIVEN], &["a=1"]), new());
    }

    #[test]
    fn one_that_is_for_this_hop_alone_ends_here() {
        let head = TestHead::get("h", "/").with("traceparent", GIVEN);
        assert!(Trace::given(&head.clone().with("Connection", "close, x-traceparent")).is_some());
        assert_eq!(
            Trace::given(&head.with("Connection", "close").with("Connection", "te , TraceParent")),
            None
        );
    }

    proptest! {
        #[test]
        fn what_begins_here_can_be_read_whatever_is_random(id: u128, parent: u64) {
            let mut out = TestHead::get("h", "/");
            let begun = Trace::of(&out, || (id, parent));
            begun.apply(&mut out);
            prop_assert_eq!(Trace::given(&out).map(Trace::id), Some(begun.id()));
            prop_assert_eq!(out.shows("traceparent"), format!("00-{:032x}-{:016x}-01", id.max(1), parent.max(1)));
        }

        #[test]
        fn any_bytes_are_read_or_not(value in "[0-9a-fA-F-]{0,60}") {
            let head = TestHead::get("h", "/").with("traceparent", &value);
            if let Some(trace) = Trace::given(&head) {
                let text = String::from_utf8(trace.id().text().to_vec()).unwrap();
                prop_assert_eq!(&value[3..35], text);
            }
        }
    }
}
