//! What was seen on one side, in a form that can be compared with the other side's.

use std::collections::BTreeMap;

use lb_tests::client::{Failure, Response};
use lb_tests::framing::Headers;
use lb_tests::lb::Lb;
use lb_tests::origin::Seen;
use lb_tests::wait::until;
use serde_json::Value;

use super::script;

/// What, on the relay's side, on pingora's.
pub(super) type Difference = (String, String, String);

/// What became of one case: each thing that is compared, by its name.
pub(super) struct Exchange(BTreeMap<String, String>);

impl Exchange {
    pub(super) fn new(answers: &[Result<Response, Failure>], received: &[Seen]) -> Exchange {
        let mut things = BTreeMap::new();
        for (number, answer) in answers.iter().enumerate() {
            let mut add = |what: &str, value: String| drop(things.insert(format!("answer {number}: {what}"), value));
            match answer {
                Err(failure) => add("failure", format!("{failure:?}")),
                Ok(answer) => {
                    add("status", format!("{:?} {}", answer.interim, answer.status));
                    add("fields", fields(&answer.headers, &["connection"]));
                    add("body", body(&answer.body, answer.cut));
                    add("trailers", format!("{:?}", answer.trailers));
                }
            }
        }
        // whether a request that was refused half-way has reached the server before is chance
        let whole: Vec<&Seen> = received.iter().filter(|seen| seen.whole).collect();
        things.insert("requests at the servers".into(), whole.len().to_string());
        for (number, seen) in whole.iter().enumerate() {
            let mut add = |what: &str, value: String| drop(things.insert(format!("request {number}: {what}"), value));
            add("line", format!("{} {} HTTP/1.{}", seen.method, seen.target, seen.version));
            add("fields", fields(&seen.headers, &[]));
            add("body", body(&seen.body, false));
        }
        Exchange(things)
    }
}

/// Fields in the order of their names; those of one name in the order in which they came. Without those that differ by nature, and without
/// `besides`: whether a connection goes on is compared by what it does.
fn fields(headers: &Headers, besides: &[&str]) -> String {
    let mut all: Vec<(String, &str)> = headers
        .0
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.as_str()))
        .collect();
    all.retain(|(name, _)| !["date", "x-request-id", "traceparent"].contains(&name.as_str()) && !besides.contains(&name.as_str()));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let lines: Vec<String> = all.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    lines.join(" | ")
}

fn body(bytes: &[u8], cut: bool) -> String {
    // an error tells its request's ID
    let text = match serde_json::from_slice::<Value>(bytes) {
        Ok(mut problem) if problem["request_id"].is_string() => {
            problem["request_id"] = Value::Null;
            problem.to_string()
        }
        _ if bytes.len() > 300 => format!("{} bytes, {:x}", bytes.len(), checksum(bytes)),
        _ => format!("{:?}", String::from_utf8_lossy(bytes)),
    };
    // how much of a body came before it was cut is chance
    if cut { "cut".to_owned() } else { text }
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// What differs between the sides.
pub(super) fn differences(relay: &Exchange, pingora: &Exchange) -> Vec<Difference> {
    differing(&relay.0, &pingora.0)
}

pub(super) fn differing(relay: &BTreeMap<String, String>, pingora: &BTreeMap<String, String>) -> Vec<Difference> {
    let names = relay.keys().chain(pingora.keys().filter(|name| !relay.contains_key(*name)));
    let of = |side: &BTreeMap<String, String>, name: &String| side.get(name).map_or("nothing", String::as_str).to_owned();
    names
        .filter(|name| relay.get(*name) != pingora.get(*name))
        .map(|name| (name.clone(), of(relay, name), of(pingora, name)))
        .collect()
}

/// What an `lb` has logged and counted. The log's lines are taken for a set: two requests may end in either order.
pub(super) async fn counted(lb: &Lb) -> BTreeMap<String, String> {
    let mut things = BTreeMap::new();
    let total = lb.metrics().await.sum("lb_requests_total", &[]) as usize;
    until("every request is counted and logged", async || {
        let now = lb.metrics().await.sum("lb_requests_total", &[]) as usize;
        now >= total && lb.process.stdout().lines().count() >= now
    })
    .await;
    let metrics = lb.metrics().await;
    for name in [
        "lb_requests_total",
        "lb_upstream_requests_total",
        "lb_retries_total",
        "lb_cache_requests_total",
    ] {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for sample in metrics.find(name, &[]) {
            if sample.labels.get("route").is_some_and(|route| route == script::PROBE) {
                continue;
            }
            let labels = sample.labels.iter().filter(|(label, _)| *label != "server");
            let labels: Vec<String> = labels.map(|(label, value)| format!("{label}={value}")).collect();
            *sums.entry(format!("{name} {}", labels.join(" "))).or_default() += sample.value;
        }
        things.extend(
            sums.into_iter()
                .filter(|(_, sum)| *sum > 0.0)
                .map(|(name, sum)| (name, sum.to_string())),
        );
    }
    for line in lb_tests::access_log::parse(&lb.process.stdout()) {
        if line["path"] == script::PROBE {
            continue;
        }
        let keys = [
            "method",
            "host",
            "path",
            "protocol",
            "status",
            "route",
            "upstream",
            "tries",
            "cache",
            "bytes_sent",
        ];
        let text: Vec<String> = keys.iter().map(|key| format!("{key}={}", line[*key])).collect();
        let lines = things.entry(format!("logged {}", text.join(" "))).or_insert_with(|| "0".into());
        *lines = (lines.parse::<u32>().unwrap() + 1).to_string();
    }
    things
}
