//! Parts of a configuration that no file says: what a program makes up itself, with the defaults that a file would get.

use std::path::PathBuf;

use crate::check;
use crate::fields::Check;
use crate::model::{Balance, HashOn, Upstream, UpstreamServer};
use crate::parse::{Lost, parse};
use crate::raw::BALANCE;
use crate::source::{Place, Source};
use crate::tree::{Node, Value};

/// The inside of the smallest `[upstreams.NAME]`.
const SMALLEST: &str = "servers = [\"127.0.0.1:1\"]";

impl Upstream {
    /// An upstream of which a file says nothing but its servers: every other key has its default.
    pub fn plain(name: &str, servers: Vec<UpstreamServer>) -> Self {
        #[allow(clippy::expect_used, reason = "the text is constant and right, as the test shows")]
        let upstream = smallest(name).expect("the smallest upstream has no error");
        Self { servers, ..upstream }
    }
}

fn smallest(name: &str) -> Option<Upstream> {
    let sources = [Source {
        path: PathBuf::new(),
        text: SMALLEST.into(),
    }];
    let node = Node {
        at: Place { file: 0, start: 0, end: 0 },
        path: format!("upstreams.{name}"),
        value: Value::Table(parse(0, SMALLEST).table),
    };
    check::upstream(&Check::new(&sources, &|_| None, Lost::Nothing), &node, name)
}

impl Balance {
    /// All names, as a file may write them.
    pub fn names() -> &'static [&'static str] {
        BALANCE.names
    }

    /// The algorithm of this name; those that hash go by `hash_on`.
    pub fn named(name: &str, hash_on: HashOn) -> Option<Self> {
        check::balance(name, &Some(hash_on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_upstream_has_the_defaults() {
        let upstream = Upstream::plain("users", Vec::new());
        assert_eq!((&*upstream.name, &upstream.balance), ("users", &Balance::LeastConn));
        assert!(upstream.servers.is_empty() && upstream.retry.is_some() && upstream.passive_health.is_some());
    }

    #[test]
    fn every_name_is_an_algorithm_of_that_name() {
        for name in Balance::names() {
            assert_eq!(Balance::named(name, HashOn::Path).map(|balance| balance.name()), Some(*name));
        }
        assert_eq!(Balance::named("fastest", HashOn::Path), None);
    }
}
