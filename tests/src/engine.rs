//! Which engine moves the bytes.
//!
//! `lb` has two engines for HTTP/1.1, its own relay and pingora, behind one brain; `[server] engine` chooses. A test of requests says
//! nothing of them. It runs once as it stands, over the engine that is the default, and once more as a part of the test target `pingora`,
//! which consists of the same files and whose name tells this module what to write into every configuration. `LB_TEST_ENGINE` chooses for
//! every other target.
//!
//! What one of the two cannot do by nature is on a list here, which `docs/ENGINES.md` explains row by row. A test of such a thing asks
//! [`lacks`] and ends; whatever is not on the list has to hold over both.

use std::path::Path;
use std::sync::OnceLock;

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `lb`'s own.
    Relay,
    /// pingora's.
    Pingora,
}

/// What the pingora engine cannot do, by the names that `docs/ENGINES.md` has for it.
pub const PINGORA_LACKS: &[&str] = &[
    "answers that stand",
    "fetches at the server's pace",
    "half-closed tunnels",
    "hedging",
    "kept connections",
    "request deadline",
    "strict answers",
    "strict interim answers",
    "the server's `Date`",
    "trailers",
];

impl Engine {
    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Relay => "relay",
            Engine::Pingora => "pingora",
        }
    }

    /// The engine of this test process; `None`: the one that `lb` takes by itself.
    pub fn of_this_process() -> Option<Engine> {
        static CHOSEN: OnceLock<Option<Engine>> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            if target_is_pingora() {
                return Some(Engine::Pingora);
            }
            let name = std::env::var("LB_TEST_ENGINE").unwrap_or_default();
            match name.as_str() {
                "" => None,
                "relay" => Some(Engine::Relay),
                "pingora" => Some(Engine::Pingora),
                other => panic!("LB_TEST_ENGINE is {other:?}: expected relay or pingora"),
            }
        })
    }

    /// A configuration in which `[server]` names this engine, unless it names one already.
    pub(crate) fn written_into(self, config: &str) -> String {
        let names_one = config.lines().any(|line| line.trim_start().starts_with("engine = "));
        if names_one {
            return config.to_owned();
        }
        config.replacen("[server]\n", &format!("[server]\nengine = \"{}\"\n", self.name()), 1)
    }
}

/// Whether the engine of this test process lacks what a test is about. The name has to be on the list.
pub fn lacks(what: &str) -> bool {
    assert!(PINGORA_LACKS.contains(&what), "{what:?} is not on the list of what an engine lacks");
    Engine::of_this_process() == Some(Engine::Pingora)
}

/// Whether this executable is that of the test target `pingora`: cargo calls it `pingora-` and a hash.
fn target_is_pingora() -> bool {
    let path = std::env::current_exe().expect("the path of the test executable");
    let name = path.file_stem().map(Path::new).and_then(Path::to_str).unwrap_or_default();
    name.rsplit_once('-').is_some_and(|(target, _)| target == "pingora")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_written_below_the_header_and_only_once() {
        let config = "[server]\nlisten = []\n\n[limits]\n";
        let written = Engine::Pingora.written_into(config);
        assert_eq!(written, "[server]\nengine = \"pingora\"\nlisten = []\n\n[limits]\n");
        assert_eq!(Engine::Relay.written_into(&written), written);
    }
}
