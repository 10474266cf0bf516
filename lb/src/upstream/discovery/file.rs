//! Files of servers, which another program may write.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lb_config::{Address, Config, Problem, Problems, UpstreamServer};

use crate::watched::{Changed, Look, fingerprint};

/// A file of servers, and what was last taken from it.
pub(super) struct ServersFile {
    path: PathBuf,
    /// Whose servers they are.
    upstream: Arc<lb_config::Upstream>,
    look: Look,
}

/// What a file says, or why that is not known.
type Contents = Result<Vec<u8>, String>;

/// Contents that are in use once somebody says so.
pub(super) struct News {
    pub(super) servers: Result<Vec<UpstreamServer>, String>,
    pub(super) fingerprint: u64,
}

impl ServersFile {
    pub(super) fn new(path: PathBuf, upstream: Arc<lb_config::Upstream>) -> Self {
        let look = Look::default();
        Self { path, upstream, look }
    }

    /// What it says now.
    pub(super) fn read(&self) -> News {
        let contents = read(&self.path);
        let fingerprint = fingerprint(&contents);
        self.news(Changed { contents, fingerprint })
    }

    /// Whether it said at the last look what is in use.
    pub(super) fn is_in_use(&self) -> bool {
        self.look.is_in_use()
    }

    /// Has what it says tried again at the next look, changed or not.
    pub(super) fn try_again(&mut self) {
        self.look.try_again();
    }

    /// What it says now, if that is something else than what is in use, and will stay.
    pub(super) fn look(&mut self) -> Option<News> {
        let Self { path, look, .. } = self;
        let changed = look.again([path.as_path()].into_iter(), || read(path))?;
        Some(self.news(changed))
    }

    /// This is in use from now on.
    pub(super) fn taken(&mut self, fingerprint: u64) {
        self.look.taken(fingerprint);
    }

    /// This cannot be used. Whether that is news.
    pub(super) fn refused(&mut self, fingerprint: u64) -> bool {
        self.look.refused(fingerprint)
    }

    fn news(&self, Changed { contents, fingerprint }: Changed<Contents>) -> News {
        let parse = |bytes: Vec<u8>| lb_config::parse_servers(&self.path, &bytes, &self.upstream).map_err(|problems| problems.to_string());
        News {
            servers: contents.and_then(parse),
            fingerprint,
        }
    }
}

fn read(path: &Path) -> Contents {
    std::fs::read(path).map_err(|error| why(path, &error))
}

fn why(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("cannot read {}: there is no such file", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    }
}

/// Reads every file of servers that a configuration names. Blocks, as reading files does. One that is not there may be written later, for
/// `lb check`; whoever wants to start needs it.
///
/// # Errors
/// Everything that is wrong, each at its place.
pub fn check_files(config: &Config, must_exist: bool) -> Result<(), Problems> {
    let mut problems: Vec<Problem> = Vec::new();
    for upstream in &config.upstreams {
        for server in &upstream.servers {
            let Address::File(path) = &server.address else { continue };
            match std::fs::read(path) {
                Ok(bytes) => problems.extend(
                    lb_config::parse_servers(path, &bytes, upstream)
                        .err()
                        .iter()
                        .flat_map(Problems::iter)
                        .cloned(),
                ),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {}
                Err(error) => problems.push(config.mentions.problem(&server.address.to_string(), why(path, &error), None)),
            }
        }
    }
    Problems::of(problems).map_or(Ok(()), Err)
}
