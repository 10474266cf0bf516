//! HAProxy.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::{Peer, first_line};
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
        "one thread, `leastconn`, `http-reuse always`, the same forwarded headers, no log; its own small-object cache for the hits"
    }

    fn can(&self, _case: Case) -> bool {
        true
    }

    fn command(&self, case: Case, port: u16, origins: &[u16], dir: &Path) -> anyhow::Result<Command> {
        let mut text = String::new();
        write!(
            text,
            "global\n nbthread 1\n maxconn 4000\n tune.bufsize 65536\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n\
             timeout server 60s\n option http-keep-alive\n http-reuse always\ncache c\n total-max-size 256\n max-object-size 100000\n max-age 3600\n\
             frontend f\n bind 127.0.0.1:{port}\n default_backend b\n\
             backend b\n balance leastconn\n option forwardfor\n http-request set-header X-Real-IP %[src]\n\
             http-request set-header X-Forwarded-Proto http\n http-request set-header X-Forwarded-Host %[req.hdr(host)]\n\
             http-request set-header X-Request-ID %[uuid()]\n"
        )?;
        if case.cached() {
            text.push_str(" http-request cache-use c\n http-response cache-store c\n");
        }
        for (index, origin) in origins.iter().enumerate() {
            writeln!(text, " server s{index} 127.0.0.1:{origin} pool-max-conn 128")?;
        }
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, text)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    }
}
