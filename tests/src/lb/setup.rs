//! What an `lb` is started with.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Lb;
use crate::engine::Engine;
use crate::ports::Port;
use crate::process::{Process, Stdout, binary};

/// What a configuration without a `[server]` of its own gets.
const SERVER: &str = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\n\n";

/// When [`Setup::start`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// When `/readyz` says 200 and the listener takes connections.
    Ready,
    /// When the listener takes connections.
    Listening,
}

/// What an `lb` is started with.
///
/// In the configuration and in files, `@LISTEN@` and `@LISTEN2@` are addresses for clients, `@ADMIN@` is the admin address and `@DIR@`
/// the folder of the file. A text without `[server]` gets one with `@LISTEN@` and `@ADMIN@`.
#[derive(Debug)]
pub struct Setup {
    pub(super) config: String,
    /// The engine to name in it; `None`: the configuration is written as it is.
    pub(super) engine: Option<Engine>,
    pub(super) folder: TempDir,
    pub(super) listen: [Port; 2],
    pub(super) admin: Port,
    pub(super) environment: Vec<(String, String)>,
    pub(super) stdout: Stdout,
    pub(super) token: Option<String>,
    pub(super) wait: Wait,
}

impl Setup {
    pub(super) fn new(config: &str) -> Setup {
        // without a server to wait for, a listener that takes connections is all there is to wait for
        let wait = if config.contains("[upstreams") {
            Wait::Ready
        } else {
            Wait::Listening
        };
        Setup {
            config: with_server(config),
            engine: Engine::of_this_process(),
            folder: tempfile::Builder::new().prefix("lb-test-").tempdir().expect("a temporary folder"),
            listen: [Port::pick(), Port::pick()],
            admin: Port::pick(),
            environment: Vec::new(),
            stdout: Stdout::File,
            token: None,
            wait,
        }
    }

    /// Has it serve by this engine, whatever the test process is for.
    pub fn engine(mut self, engine: Engine) -> Setup {
        self.engine = Some(engine);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Writes a file beside the configuration.
    pub fn file(self, name: &str, text: &str) -> Setup {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the file");
        fs::write(path, self.fill_in(text)).expect("a file");
        self
    }

    /// Sends standard output into a pipe that nobody reads.
    pub fn piped(mut self) -> Setup {
        self.stdout = Stdout::Pipe;
        self
    }

    /// The token that the admin address asks for.
    pub fn token(mut self, token: &str) -> Setup {
        self.token = Some(token.into());
        self
    }

    /// Does not wait for `/readyz`: its servers may all be down.
    pub fn unready(mut self) -> Setup {
        self.wait = Wait::Listening;
        self
    }

    /// The folder of the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address for clients.
    pub fn listen(&self) -> SocketAddr {
        self.listen[0].address()
    }

    /// Writes the configuration without starting anything, and says where.
    pub fn write(&self) -> PathBuf {
        let path = self.folder.path().join("lb.toml");
        let config = match self.engine {
            Some(engine) => engine.written_into(&self.config),
            None => self.config.clone(),
        };
        let text = self.fill_in(&config);
        // in one step: a reload never sees half a file
        let next = self.folder.path().join(".lb.toml.next");
        fs::write(&next, text).expect("the configuration");
        fs::rename(&next, &path).expect("the configuration in its place");
        path
    }

    fn fill_in(&self, text: &str) -> String {
        text.replace("@LISTEN@", &self.listen[0].address().to_string())
            .replace("@LISTEN2@", &self.listen[1].address().to_string())
            .replace("@ADMIN@", &self.admin.address().to_string())
            .replace("@DIR@", &self.folder.path().display().to_string())
    }

    /// Starts it, and waits until it is there.
    pub async fn start(self) -> Lb {
        let path = self.write();
        let mut command = Command::new(binary("lb"));
        command
            .arg("run")
            .arg("-c")
            .arg(&path)
            .env_remove("LB_CONFIG")
            .current_dir(self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn("lb", command, self.folder.path(), self.stdout);
        Lb::of(process, self).await
    }
}

pub(super) fn with_server(config: &str) -> String {
    if config.contains("[server]") {
        config.to_owned()
    } else {
        format!("{SERVER}{config}")
    }
}
