//! `lb status`.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use hyper::{Method, StatusCode};

use super::client::{Admin, failed};
use super::{AdminArgs, print};
use crate::admin::status::{Status, UpstreamStatus};

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
    match fetch(&admin) {
        Ok((_, body)) if args.json => print(&format!("{}\n", String::from_utf8_lossy(&body))),
        Ok((status, _)) => print(&render(&status)),
        Err(error) => failed(&error),
    }
}

/// Asks for the state: read, and as it came.
pub(super) fn fetch(admin: &Admin) -> anyhow::Result<(Status, Bytes)> {
    match admin.request(Method::GET, "/api/status")? {
        (StatusCode::OK, body) => match serde_json::from_slice(&body) {
            Ok(status) => Ok((status, body)),
            Err(error) => bail!("the answer is not the status of an lb of this version: {error}"),
        },
        (status, body) => bail!("the answer was {status}: {}", String::from_utf8_lossy(&body)),
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
        writeln!(out)?;
        write_upstream(out, upstream)?;
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

/// An upstream and its servers as a table.
pub(super) fn write_upstream(out: &mut String, upstream: &UpstreamStatus) -> std::fmt::Result {
    let panic = if upstream.panic {
        ", too few are healthy: ejected ones are used"
    } else {
        ""
    };
    let waiting = upstream.queued.map(|queued| format!(", {queued} waiting")).unwrap_or_default();
    let circuit = upstream.circuit.as_deref().filter(|circuit| *circuit != "closed");
    let circuit = circuit.map(|circuit| format!(", circuit {circuit}")).unwrap_or_default();
    writeln!(out, "upstream {} ({}{waiting}){circuit}{panic}", upstream.name, upstream.balance)?;
    for source in &upstream.discovery {
        let since = source.refreshed_at.as_deref().unwrap_or("never");
        match &source.error {
            None => writeln!(out, "  {} refreshed {since}", source.source)?,
            Some(error) => writeln!(out, "  {} refreshed {since}, then failed: {error}", source.source)?,
        }
    }
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
    Ok(())
}
