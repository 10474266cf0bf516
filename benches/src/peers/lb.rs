//! `lb`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use super::{Job, Peer, Prepared, first_line, free_port};
use crate::case::Case;

/// `lb` with one thread.
pub struct Lb {
    /// The binary.
    pub binary: PathBuf,
    /// What `server.engine` says, where it says anything.
    pub engine: Option<&'static str>,
}

impl Peer for Lb {
    fn name(&self) -> &'static str {
        if self.engine.is_some() { "lb-pingora" } else { "lb" }
    }

    fn version(&self) -> String {
        first_line(&self.binary.to_string_lossy(), "--version")
    }

    fn note(&self) -> &'static str {
        match self.engine {
            None => "one thread, metrics on",
            Some(_) => "the same with `engine = \"pingora\"`",
        }
    }

    fn can(&self, case: Case) -> bool {
        !case.api()
    }

    fn prepare(&self, job: &Job<'_>) -> anyhow::Result<Prepared> {
        let file = job.dir.join("lb.toml");
        std::fs::write(&file, self.configuration(job)?)?;
        let check = Command::new(&self.binary)
            .args(["check", "-c"])
            .arg(&file)
            .output()
            .context("cannot run lb check")?;
        if !check.status.success() {
            let said = String::from_utf8_lossy(&check.stderr);
            let first = said.lines().next().unwrap_or_default();
            return Ok(Prepared::Refused(
                first.split_once("error: ").map_or(first, |(_, what)| what).into(),
            ));
        }
        let mut command = Command::new(&self.binary);
        command.args(["run", "-c"]).arg(file);
        Ok(Prepared::Ready(command))
    }
}

impl Lb {
    fn configuration(&self, job: &Job<'_>) -> anyhow::Result<String> {
        let mut text = String::new();
        let (port, folder) = (job.port, job.dir.display());
        writeln!(
            text,
            "[server]\nadmin = \"127.0.0.1:{}\"\nthreads = 1\nlog_level = \"warn\"",
            free_port()?
        )?;
        if let Some(engine) = self.engine {
            writeln!(text, "engine = \"{engine}\"")?;
        }
        if job.case.logged() {
            writeln!(text, "access_log = {{ path = \"{folder}/access.log\" }}")?;
        } else {
            writeln!(text, "access_log = \"off\"")?;
        }
        if job.case.tls() {
            let (certificate, key) = (job.certificate.certificate.display(), job.certificate.key.display());
            writeln!(
                text,
                "[[server.tls]]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\""
            )?;
        } else {
            writeln!(text, "listen = [\"127.0.0.1:{port}\"]")?;
        }
        if job.case.crowded() {
            writeln!(text, "[limits]\nmax_connections = 15000")?;
        }
        let servers: Vec<String> = job.servers.iter().map(|server| format!("\"{server}\"")).collect();
        writeln!(text, "[upstreams.origins]\nservers = [{}]", servers.join(", "))?;
        writeln!(text, "[[routes]]\npath = \"/\"\nupstream = \"origins\"")?;
        if job.case.cached() {
            writeln!(text, "[routes.cache]\nttl = \"1h\"\n[cache]\nmemory = \"512MiB\"")?;
        }
        Ok(text)
    }
}
