//! `lb`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Peer, first_line};
use crate::case::Case;

/// `lb` with one thread.
pub struct Lb {
    /// The binary.
    pub binary: PathBuf,
}

impl Peer for Lb {
    fn name(&self) -> &'static str {
        "lb"
    }

    fn version(&self) -> String {
        first_line(&self.binary.to_string_lossy(), "--version")
    }

    fn note(&self) -> &'static str {
        "one thread, metrics on, no access log"
    }

    fn can(&self, _case: Case) -> bool {
        true
    }

    fn command(&self, case: Case, port: u16, origins: &[u16], dir: &Path) -> anyhow::Result<Command> {
        let servers: Vec<String> = origins.iter().map(|origin| format!("\"127.0.0.1:{origin}\"")).collect();
        let admin = super::free_port()?;
        let mut text = format!(
            "[server]\nlisten = [\"127.0.0.1:{port}\"]\nadmin = \"127.0.0.1:{admin}\"\nthreads = 1\naccess_log = \"off\"\nlog_level = \"warn\"\n\n\
             [upstreams.origins]\nservers = [{}]\n\n[[routes]]\npath = \"/\"\nupstream = \"origins\"\n",
            servers.join(", ")
        );
        if case.cached() {
            text.push_str("\n[routes.cache]\nttl = \"1h\"\n");
        }
        let file = dir.join("lb.toml");
        std::fs::write(&file, text)?;
        let mut command = Command::new(&self.binary);
        command.args(["run", "-c"]).arg(file);
        Ok(command)
    }
}
