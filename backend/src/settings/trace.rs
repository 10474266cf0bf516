//! Where traces go. The variables are those of OpenTelemetry, which have the same names in every program, so they are no options of this one.

use std::ffi::OsString;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::{Check, value};

const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

/// OpenTelemetry's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// The collector's URL for traces.
    pub endpoint: Uri,
    /// How long it may take to accept a batch.
    pub timeout: Duration,
}

impl TraceSettings {
    /// Whether it is reached by TLS.
    pub fn is_secure(&self) -> bool {
        self.endpoint.scheme() == Some(&Scheme::HTTPS)
    }
}

impl Check {
    /// The inner `None`: traces go nowhere.
    pub(super) fn trace(&mut self, environment: impl Fn(&str) -> Option<OsString>) -> Option<Option<TraceSettings>> {
        // An empty value is none, by OpenTelemetry's own rule.
        let find = |name: &'static str| {
            let value = environment(name).filter(|value| !value.is_empty())?;
            Some((name, value.to_string_lossy().into_owned()))
        };
        let is = |name, expected: &str| find(name).is_some_and(|(_, value)| value.trim().eq_ignore_ascii_case(expected));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Some(None);
        }
        let (name, url, path) = match (find(TRACES_ENDPOINT), find(ENDPOINT)) {
            (Some((name, url)), _) => (name, url, ""),
            (None, Some((name, url))) => (name, url, "/v1/traces"),
            (None, None) => return Some(None),
        };
        let endpoint = self.hidden(name, endpoint(&url, path));
        let exporter = find("OTEL_TRACES_EXPORTER").is_none_or(|(name, text)| self.value(name, &text, |text| only(text, "otlp")).is_some());
        let protocol = PROTOCOLS
            .into_iter()
            .find_map(find)
            .is_none_or(|(name, text)| self.value(name, &text, |text| only(text, "http/protobuf")).is_some());
        let timeout = match TIMEOUTS.into_iter().find_map(find) {
            Some((name, text)) => self.value(name, &text, milliseconds),
            None => Some(TIMEOUT),
        };
        let settings = TraceSettings {
            endpoint: endpoint?,
            timeout: timeout?,
        };
        (exporter && protocol).then_some(Some(settings))
    }
}

fn endpoint(url: &str, path: &str) -> Result<Uri, value::Expected> {
    let expected = || String::from("the URL of a collector, as http://HOST:4318 or https://…");
    let whole = if path.is_empty() {
        url.to_owned()
    } else {
        format!("{}{path}", url.trim_end_matches('/'))
    };
    let uri: Uri = whole.parse().map_err(|_| expected())?;
    let is_http = [&Scheme::HTTP, &Scheme::HTTPS].iter().any(|scheme| uri.scheme() == Some(scheme));
    if is_http && uri.host().is_some_and(|host| !host.is_empty()) {
        Ok(uri)
    } else {
        Err(expected())
    }
}

fn only(text: &str, known: &str) -> Result<(), value::Expected> {
    if text == known {
        Ok(())
    } else {
        Err(format!("{known}, which is all that this version knows"))
    }
}

fn milliseconds(text: &str) -> Result<Duration, value::Expected> {
    value::number(text, 1, 3_600_000).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, String> {
        let mut check = Check::default();
        let found = check.trace(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).into()));
        match found {
            Some(found) if check.mistakes.is_empty() => Ok(found),
            _ => Err(check.mistakes.join("\n")),
        }
    }

    fn url(variables: &[(&str, &str)]) -> String {
        let settings = read(variables).expect("all of it is right").expect("it is on");
        settings.endpoint.to_string()
    }

    #[test]
    fn without_an_endpoint_there_are_none() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(ENDPOINT, "")]), Ok(None));
        assert_eq!(read(&[(ENDPOINT, "http://c:4318"), ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(read(&[(ENDPOINT, "http://c:4318"), ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert_eq!(read(&[(PROTOCOLS[0], "grpc")]), Ok(None), "what is not used is not judged");
    }

    #[test]
    fn the_endpoint_of_all_signals_has_a_path_for_traces() {
        assert_eq!(url(&[(ENDPOINT, "http://c:4318")]), "http://c:4318/v1/traces");
        assert_eq!(url(&[(ENDPOINT, "https://c/otlp/")]), "https://c/otlp/v1/traces");
        assert_eq!(url(&[(ENDPOINT, "http://c"), (TRACES_ENDPOINT, "http://t:1/x")]), "http://t:1/x");
        assert_eq!(url(&[(TRACES_ENDPOINT, "http://[::1]:4318")]), "http://[::1]:4318/");
    }

    #[test]
    fn the_timeout_is_in_milliseconds() {
        let timeout = |variables: &[(&str, &str)]| {
            let all = [&[(ENDPOINT, "http://c")], variables].concat();
            read(&all).map(|settings| settings.map(|settings| settings.timeout))
        };
        assert_eq!(timeout(&[]), Ok(Some(TIMEOUT)));
        assert_eq!(timeout(&[(TIMEOUTS[1], "300")]), Ok(Some(Duration::from_millis(300))));
        assert_eq!(
            timeout(&[(TIMEOUTS[0], "200"), (TIMEOUTS[1], "300")]),
            Ok(Some(Duration::from_millis(200)))
        );
        assert!(timeout(&[(TIMEOUTS[0], "2s")]).is_err());
    }

    #[test]
    fn what_this_version_does_not_know_is_refused_all_at_once() {
        let wrong = [
            (ENDPOINT, "c:4317?key=secret"),
            (PROTOCOLS[1], "grpc"),
            (TIMEOUTS[0], "0"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
        ];
        let mistakes = read(&wrong).expect_err("all of it is wrong");
        let names: Vec<&str> = mistakes.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(names, [ENDPOINT, "OTEL_TRACES_EXPORTER", PROTOCOLS[1], TIMEOUTS[0]]);
        assert!(!mistakes.contains("secret"), "{mistakes}");
        for endpoint in ["ftp://c", "http://", "/v1/traces", "c"] {
            assert!(read(&[(TRACES_ENDPOINT, endpoint)]).is_err(), "{endpoint}");
        }
    }
}
