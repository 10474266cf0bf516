//! `lb reload`.

use std::process::ExitCode;

use hyper::{Method, StatusCode};

use super::client::{Admin, detail, failed};
use super::{AdminArgs, print};

/// Has a running `lb` reload and prints what changed, or why nothing did.
pub(super) fn run(args: &AdminArgs) -> ExitCode {
    let admin = match Admin::find(args) {
        Ok(admin) => admin,
        Err(code) => return code,
    };
    match admin.request(Method::POST, "/api/reload") {
        Ok((StatusCode::OK, body)) => print(&format!("reloaded\n{}", changes(&body))),
        Ok((_, body)) => {
            eprintln!("lb: not reloaded; the old configuration stays in force\n{}", detail(&body));
            ExitCode::FAILURE
        }
        Err(error) => failed(&error),
    }
}

fn changes(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let mut out = String::new();
    for kind in ["listeners", "upstreams", "routes"] {
        for how in ["added", "changed", "removed"] {
            let names = value["changes"][kind][how]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str());
            for name in names {
                out.push_str(&format!("  {} {how}: {name}\n", &kind[..kind.len() - 1]));
            }
        }
    }
    out
}
