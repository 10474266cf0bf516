//! HAProxy.

use std::fmt::Write;
use std::process::Command;

use super::{Job, Peer, Prepared, first_line};
use crate::case::Case;

/// HAProxy with one thread.
pub struct Haproxy;

impl Peer for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn version(&self) -> String {
        first_line("haproxy", "-v")
    }

    fn note(&self) -> &'static str {
        "one thread, `leastconn`, `http-reuse always`, the same forwarded headers; its own small-object cache for the hits; bodies of 1 MiB \
         by `splice` through pipes of 256 KiB, which is its cheapest way (buffers of 16 to 256 KiB were tried too); the access log \
         with lb's keys as JSON, to a file"
    }

    fn can(&self, case: Case) -> bool {
        // It takes the memory for all that it may store when it starts.
        !case.api() && case != Case::Stored
    }

    fn prepare(&self, job: &Job<'_>) -> anyhow::Result<Prepared> {
        let file = job.dir.join("haproxy.cfg");
        std::fs::write(&file, configuration(job)?)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file);
        Ok(Prepared::Ready(command))
    }
}

/// The same keys as lb writes.
const LOG_FORMAT: &str = r#" log-format '{"time":"%trl","request_id":"%ID","client":"%ci","method":"%HM","host":"%[var(txn.host)]","path":"%HU","protocol":"%HV","status":%ST,"bytes_sent":%B,"bytes_received":%U,"duration_ms":%Ta,"upstream":"%b","server":"%si:%sp","upstream_ms":%Tr,"user_agent":"%[var(txn.agent)]"}'"#;

fn configuration(job: &Job<'_>) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "global\n nbthread 1")?;
    if job.case == Case::Large {
        writeln!(text, " tune.pipesize 262144")?;
    }
    if job.case.crowded() {
        // It would want two open files for each client, which it does not need for clients that idle.
        writeln!(text, " maxconn 12000\n no strict-limits")?;
    } else {
        writeln!(text, " maxconn 4000")?;
    }
    if job.case.logged() {
        writeln!(text, " log stdout len 4096 format raw local0")?;
    }
    writeln!(
        text,
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n option http-keep-alive\n http-reuse always"
    )?;
    if job.case == Case::Large {
        writeln!(text, " option splice-response")?;
    }
    if job.case.cached() {
        writeln!(text, "cache c\n total-max-size 256\n max-object-size 100000\n max-age 3600")?;
    }
    writeln!(text, "frontend f\n default_backend b\n unique-id-format %[uuid()]")?;
    if job.case.tls() {
        let both = job.certificate.both.display();
        writeln!(text, " bind 127.0.0.1:{} ssl crt {both} ssl-min-ver TLSv1.3", job.port)?;
    } else {
        writeln!(text, " bind 127.0.0.1:{}", job.port)?;
    }
    if job.case.logged() {
        writeln!(
            text,
            " log global\n{LOG_FORMAT}\n http-request set-var(txn.host) req.hdr(host)\n http-request set-var(txn.agent) req.hdr(user-agent)"
        )?;
    }
    let scheme = if job.case.tls() { "https" } else { "http" };
    writeln!(
        text,
        "backend b\n balance leastconn\n option forwardfor\n http-request set-header X-Real-IP %[src]\n \
         http-request set-header X-Forwarded-Proto {scheme}\n http-request set-header X-Forwarded-Host %[req.hdr(host)]\n \
         http-request set-header X-Request-ID %[unique-id]\n http-after-response set-header X-Request-ID %[unique-id]"
    )?;
    if job.case.cached() {
        writeln!(text, " http-request cache-use c\n http-response cache-store c")?;
    }
    for (index, server) in job.servers.iter().enumerate() {
        writeln!(text, " server s{index} {server} pool-max-conn 128")?;
    }
    Ok(text)
}
