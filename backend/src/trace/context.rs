//! The trace that a request says it is part of (W3C Trace Context, levels 1 and 2).

use http::{HeaderMap, HeaderName};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Sampled, and random: the flags that have a meaning.
const FLAGS: u8 = 0b11;

/// The most of `tracestate` that is looked at: what everybody has to pass on.
const STATE: usize = 512;

/// Whose work a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The span within it.
    pub span: SpanId,
    /// Whether it is recorded, and the like.
    pub flags: TraceFlags,
}

/// Whose work a request is, where it bears exactly one `traceparent` that can be read.
pub fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    parse(value.to_str().ok()?)
}

/// Reads `version-trace-parent-flags`. What a later version has behind these must be told from them by a hyphen.
fn parse(value: &str) -> Option<Parent> {
    let (known, more) = value.split_at_checked(55)?;
    let mut parts = known.split('-');
    let mut part = |digits| {
        let lower = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        parts.next().filter(|part| part.len() == digits && part.bytes().all(lower))
    };
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_whole = match version {
        "00" => more.is_empty(),
        "ff" => false,
        _ => more.is_empty() || more.starts_with('-'),
    };
    let parent = Parent {
        trace: TraceId::from_hex(trace).ok()?,
        span: SpanId::from_hex(span).ok()?,
        flags: TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & FLAGS),
    };
    (is_whole && parent.trace != TraceId::INVALID && parent.span != SpanId::INVALID).then_some(parent)
}

/// What vendors have noted beside it; nothing where it cannot be read.
pub(super) fn state(headers: &HeaderMap) -> TraceState {
    let fields = headers.get_all(&TRACESTATE).iter().map(|field| field.to_str());
    let list = fields.collect::<Result<Vec<_>, _>>().unwrap_or_default().join(",");
    if list.is_empty() || list.len() > STATE {
        return TraceState::NONE;
    }
    list.parse().unwrap_or(TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    fn read(value: &str) -> Option<Parent> {
        parent(&headers(&[("traceparent", value)]))
    }

    #[test]
    fn what_can_be_read_is_taken() {
        for (value, flags) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", 1),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", 0),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", 3),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what.is.new", 1),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", 1),
        ] {
            let parent = read(value).expect(value);
            assert_eq!(parent.trace.to_string(), TRACE, "{value}");
            assert_eq!(parent.span.to_string(), "00f067aa0ba902b7", "{value}");
            assert_eq!(parent.flags.to_u8(), flags, "{value}");
        }
    }

    #[test]
    fn what_cannot_is_nobodys() {
        for value in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
        let one = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parent(&headers(&[("traceparent", one), ("traceparent", one)])), None);
        assert_eq!(parent(&headers(&[])), None);
    }

    #[test]
    fn the_states_of_several_fields_are_one() {
        let state = |fields: &[&str]| {
            let fields: Vec<_> = fields.iter().map(|value| ("tracestate", *value)).collect();
            state(&headers(&fields)).header()
        };
        assert_eq!(state(&["a=1", "b=2, c=3"]), "a=1,b=2,c=3");
        assert_eq!(state(&[]), "");
        assert_eq!(state(&["no list"]), "");
        assert_eq!(state(&[&format!("a={}", "1".repeat(STATE))]), "");
    }
}
