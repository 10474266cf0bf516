//! The line that a request leaves in the log.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use opentelemetry::trace::TraceId;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What is told of a request. The query is left out: it may hold what is nobody else's business.
#[derive(Serialize)]
pub struct RequestLine<'a> {
    /// From `X-Request-ID`, or made up.
    pub request_id: &'a str,
    /// From `traceparent`, or made up where spans are exported.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub trace_id: Option<TraceId>,
    /// Who asked, as far as trusted proxies tell.
    pub client: IpAddr,
    /// The method, as sent.
    pub method: &'a str,
    /// The path, as sent.
    pub path: &'a str,
    /// The answer's; 499 when the client went away before it.
    pub status: u16,
    /// From the request's head to the answer's.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub duration: Duration,
    /// Why it failed, where that is not the client's mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

fn milliseconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(in_milliseconds(*duration))
}

fn text<S: serde::Serializer>(id: &Option<TraceId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

/// To the microsecond.
fn in_milliseconds(duration: Duration) -> f64 {
    // A request that takes longer than 2^53 microseconds is not a case.
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 285 years")]
    let micros = duration.as_micros() as f64;
    micros / 1000.0
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'a str,
    message: &'a str,
    #[serde(flatten)]
    request: &'a RequestLine<'a>,
}

impl RequestLine<'_> {
    fn level(&self) -> &'static str {
        if self.error.is_some() { "ERROR" } else { "INFO" }
    }

    pub(super) fn json(&self) -> Vec<u8> {
        let timestamp = now();
        let line = Line {
            timestamp: &timestamp,
            level: self.level(),
            message: "request",
            request: self,
        };
        let mut bytes = Vec::with_capacity(256);
        // Writing text and numbers into memory cannot fail.
        let _ = serde_json::to_writer(&mut bytes, &line);
        bytes.push(b'\n');
        bytes
    }

    pub(super) fn pretty(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        let Self {
            request_id,
            client,
            method,
            path,
            status,
            ..
        } = self;
        let (now, level, ms) = (now(), self.level(), in_milliseconds(self.duration));
        // As above. `escape_debug` keeps what a client sent from moving the cursor.
        let path = path.escape_debug();
        let _ = write!(
            bytes,
            "{now} {level:>5} {method} {path} {status} {ms} ms client={client} request_id={request_id}"
        );
        if let Some(trace_id) = self.trace_id {
            let _ = write!(bytes, " trace_id={trace_id}");
        }
        if let Some(error) = self.error {
            let _ = write!(bytes, " error={error:?}");
        }
        bytes.push(b'\n');
        bytes
    }
}

fn now() -> String {
    // Formatting fails only for years beyond 9999.
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> RequestLine<'_> {
        let duration = Duration::from_micros(1500);
        let client = IpAddr::from([192, 0, 2, 1]);
        RequestLine {
            request_id: "r-1",
            trace_id: None,
            client,
            method: "GET",
            path,
            status: 200,
            duration,
            error: None,
        }
    }

    #[test]
    fn json_is_one_line_whatever_was_sent() {
        let bytes = line("/a\"\\\n\u{1b}").json();
        assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(value["path"], "/a\"\\\n\u{1b}");
        assert_eq!(value["duration_ms"], 1.5);
        assert_eq!(value["client"], "192.0.2.1");
        assert_eq!(value["level"], "INFO");
        assert!(value.get("error").is_none() && value.get("trace_id").is_none());
    }

    #[test]
    fn a_trace_is_named_as_everybody_writes_it() {
        let line = RequestLine {
            trace_id: TraceId::from_hex("0bf92f3577b34da6a3ce929d0e0e4736").ok(),
            ..line("/x")
        };
        let value: serde_json::Value = serde_json::from_slice(&line.json()).expect("JSON");
        assert_eq!(value["trace_id"], "0bf92f3577b34da6a3ce929d0e0e4736");
        let text = String::from_utf8(line.pretty()).expect("text");
        assert!(text.contains(" trace_id=0bf92f3577b34da6a3ce929d0e0e4736"), "{text}");
    }

    #[test]
    fn a_failure_of_the_server_says_why() {
        let text = String::from_utf8(
            RequestLine {
                error: Some("no\nroute"),
                ..line("/x\n")
            }
            .pretty(),
        )
        .expect("text");
        assert!(
            text.contains("ERROR") && text.contains(r#"error="no\nroute""#) && text.contains(r"/x\n"),
            "{text}"
        );
        assert_eq!(text.matches('\n').count(), 1);
    }
}
