//! Varnish.

use std::fmt::Write;
use std::process::Command;

use super::{Job, Peer, Prepared, first_line};
use crate::case::Case;

/// Varnish, for what it is made for.
pub struct Varnish;

impl Peer for Varnish {
    fn name(&self) -> &'static str {
        "varnish"
    }

    fn version(&self) -> String {
        first_line("varnishd", "-V")
    }

    fn note(&self) -> &'static str {
        "`malloc` storage; measured on cache hits only, since balancing is not what it is for"
    }

    fn can(&self, case: Case) -> bool {
        case.cached() && !case.logged()
    }

    fn prepare(&self, job: &Job<'_>) -> anyhow::Result<Prepared> {
        let mut text = String::from("vcl 4.1;\nimport directors;\n");
        for (index, server) in job.servers.iter().enumerate() {
            writeln!(
                text,
                "backend s{index} {{ .host = \"{}\"; .port = \"{}\"; }}",
                server.ip(),
                server.port()
            )?;
        }
        text.push_str("sub vcl_init {\n new pool = directors.round_robin();\n");
        for index in 0..job.servers.len() {
            writeln!(text, " pool.add_backend(s{index});")?;
        }
        text.push_str("}\nsub vcl_recv { set req.backend_hint = pool.backend(); }\n");
        let file = job.dir.join("default.vcl");
        std::fs::write(&file, text)?;
        let mut command = Command::new("varnishd");
        command.arg("-F").arg("-n").arg(job.dir.join("work")).arg("-f").arg(file);
        command.args(["-a", &format!("127.0.0.1:{}", job.port), "-s", "malloc,256m", "-T", "none"]);
        Ok(Prepared::Ready(command))
    }
}
