//! `lb status`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use hyper::{Method, StatusCode};

use super::client::{Admin, failed};
use super::{AdminArgs, print};
use crate::admin::status::Status;

/// Arguments of `lb status`.
#[derive(Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the JSON of /api/status
    #[arg(long)]
    json: bool,
}

/// Prints the state of a running `lb`, once.
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let admin = match Admin::find(&args.admin) {
        Ok(admin) => admin,
        Err(code) => return code,
    };
    match admin.request(Method::GET, "/api/status") {
        Ok((StatusCode::OK, body)) if args.json => print(&format!("{}\n", String::from_utf8_lossy(&body))),
        Ok((StatusCode::OK, body)) => match serde_json::from_slice::<Status>(&body) {
            Ok(status) => print(&render(&status)),
            Err(error) => failed(&anyhow::anyhow!("the answer is not the status of an lb of this version: {error}")),
        },
        Ok((status, body)) => failed(&anyhow::anyhow!("the answer was {status}: {}", String::from_utf8_lossy(&body))),
        Err(error) => failed(&error),
    }
}

fn render(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_status(&mut out, status);
    out
}

fn write_status(out: &mut String, status: &Status) -> std::fmt::Result {
    let state = if status.draining { "draining" } else { "running" };
    writeln!(
        out,
        "lb {} {state} for {} s, {} connections",
        status.version, status.uptime_seconds, status.connections
    )?;
    let config = &status.config;
    writeln!(
        out,
        "{} loaded {}, {} reloads, {} refused",
        config.file, config.loaded_at, config.reloads_ok, config.reloads_failed
    )?;
    for upstream in &status.upstreams {
        let waiting = upstream.queued.map(|queued| format!(", {queued} waiting")).unwrap_or_default();
        writeln!(out, "\nupstream {} ({}{waiting})", upstream.name, upstream.balance)?;
        writeln!(
            out,
            "  {:<28} {:<10} {:>6} {:>9} {:>10} {:>9}",
            "server", "state", "weight", "in flight", "requests", "ejections"
        )?;
        for server in &upstream.servers {
            let state = if server.backup {
                format!("{} (backup)", server.state)
            } else {
                server.state.clone()
            };
            writeln!(
                out,
                "  {:<28} {:<10} {:>6} {:>9} {:>10} {:>9}",
                server.address, state, server.weight, server.in_flight, server.requests, server.ejections
            )?;
        }
    }
    writeln!(out, "\n{:<30} {:>10} {:>10}", "route", "requests", "errors")?;
    for route in &status.routes {
        writeln!(out, "{:<30} {:>10} {:>10}", route.name, route.requests, route.errors)?;
    }
    writeln!(
        out,
        "\ncache {} objects, {} of {} bytes",
        status.cache.objects, status.cache.bytes, status.cache.memory
    )
}
