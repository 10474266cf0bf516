//! `POST /api/upstreams/{name}/servers/{address}`: what an operator wants of a server while `lb` runs.
//!
//! The change is one step: a request that comes after the answer sees it, whole. It belongs to the server's live state and not to the
//! configuration in force, so a reload at the same moment cannot lose it; it ends when the file says something new about the server.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::problem;
use super::status::ServerStatus;
use crate::proxy::Proxy;
use crate::snapshot::{Snapshot, UpstreamState};
use crate::upstream::{Duty, Order, Server};

/// As in the file.
const MAX_WEIGHT: u32 = 65_535;
const EXPECTED: &str = r#"expected {"state": "drain"}, {"weight": 3}, or both; states are drain, ready and down"#;

/// The body: either key, or both.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What it shall do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Wanted>,
    /// Its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// What a server shall do.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// End what it has, and get nothing new.
    Drain,
    /// Serve.
    Ready,
    /// As drain, and be shown as down.
    Down,
}

/// Changes a server and answers with its new state.
pub(super) async fn change(
    State(proxy): State<Arc<Proxy>>,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Ok(Path((upstream, address))) = path else {
        return problem(StatusCode::BAD_REQUEST, "the name or the address is no percent-encoded text");
    };
    let order = match body.map_err(|error| error.to_string()).and_then(|body| read(&body)) {
        Ok(order) => order,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    let snapshot = proxy.snapshot();
    match find(&snapshot, &upstream, &address) {
        Ok((state, server)) => {
            server.order(order);
            Json(ServerStatus::of(server, state.of(server))).into_response()
        }
        Err(why) => problem(StatusCode::NOT_FOUND, &why),
    }
}

fn read(body: &[u8]) -> Result<Order, String> {
    // serde would read a list as the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(format!("the body is no JSON object; {EXPECTED}"));
    }
    let change: Change = serde_json::from_slice(body).map_err(|error| format!("{error}; {EXPECTED}"))?;
    if change.state.is_none() && change.weight.is_none() {
        return Err(format!("neither a state nor a weight; {EXPECTED}"));
    }
    if let Some(weight) = change.weight.filter(|weight| *weight > MAX_WEIGHT) {
        return Err(format!("weight cannot be {weight}; expected a whole number from 0 to {MAX_WEIGHT}"));
    }
    let duty = change.state.map(|wanted| match wanted {
        Wanted::Drain => Duty::Drain,
        Wanted::Ready => Duty::Ready,
        Wanted::Down => Duty::Down,
    });
    Ok(Order {
        duty,
        weight: change.weight,
    })
}

/// The server at this address of this upstream, or who there is instead.
fn find<'a>(snapshot: &'a Snapshot, upstream: &str, address: &str) -> Result<(&'a UpstreamState, &'a Server), String> {
    let named = snapshot.upstreams.iter().find(|state| &**state.upstream.name() == upstream);
    let Some(state) = named else {
        let names = snapshot.upstreams.iter().map(|state| &**state.upstream.name());
        return Err(format!("there is no upstream {upstream}; there is {}", list(names)));
    };
    let servers = state.upstream.servers();
    match servers.iter().find(|server| is_at(server.name(), address)) {
        Some(server) => Ok((state, server)),
        None => {
            let names = servers.iter().map(|server| &**server.name());
            Err(format!("there is no server {address} in {upstream}; there is {}", list(names)))
        }
    }
}

/// IP addresses have several spellings (RFC 4291 §2.2).
fn is_at(name: &str, address: &str) -> bool {
    let parsed = |text: &str| text.parse::<SocketAddr>().ok();
    name == address || parsed(address).is_some_and(|address| parsed(name) == Some(address))
}

/// No more than somebody reads.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let names: Vec<_> = names.collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count <= SHOWN => names.join(", "),
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_key_or_both_make_an_order() {
        let order = |text: &str| read(text.as_bytes()).expect("an order");
        assert_eq!(
            order(r#"{"state": "drain"}"#),
            Order {
                duty: Some(Duty::Drain),
                weight: None
            }
        );
        assert_eq!(
            order(r#"{"weight": 0, "state": "ready"}"#),
            Order {
                duty: Some(Duty::Ready),
                weight: Some(0)
            }
        );
        assert_eq!(order(r#"{"weight": 65535}"#).weight, Some(65_535));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (body, part) in [
            ("", "no JSON object"),
            (r#"["drain"]"#, "no JSON object"),
            ("{", "EOF"),
            ("{}", "neither"),
            (r#"{"state": null}"#, "neither"),
            (r#"{"state": "off"}"#, "unknown variant `off`"),
            (r#"{"sate": "down"}"#, "unknown field `sate`"),
            (r#"{"state": "down", "state": "ready"}"#, "duplicate field"),
            (r#"{"weight": -1}"#, "invalid value"),
            (r#"{"weight": 1.5}"#, "invalid type"),
            (r#"{"weight": "3"}"#, "invalid type"),
            (r#"{"weight": 65536}"#, "weight cannot be 65536"),
            (r#"{"weight": 99999999999}"#, "invalid value"),
            (r#"{"weight": 1} x"#, "trailing"),
        ] {
            let why = read(body.as_bytes()).expect_err(body);
            assert!(why.contains(part) && why.contains("expected"), "{body}: {why}");
        }
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        assert!(is_at("[::1]:80", "[0:0:0:0:0:0:0:1]:80"));
        assert!(is_at("unix:/run/a.sock", "unix:/run/a.sock"));
        assert!(!is_at("127.0.0.1:80", "127.0.0.1:81") && !is_at("127.0.0.1:80", "127.0.0.1"));
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<_> = (0..25).map(|n| n.to_string()).collect();
        assert!(list(names.iter().map(String::as_str)).ends_with("19 and 5 more"));
        assert_eq!(list([].into_iter()), "none");
    }
}
