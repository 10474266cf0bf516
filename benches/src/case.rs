//! What is measured.

use anyhow::bail;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// 1 KiB answers from the origins over kept connections.
    Proxy,
    /// One stored answer of 1 KiB.
    Hit,
    /// 10,000 stored answers of 1 KiB.
    HitMany,
    /// 1 KiB answers from the origins, a new client connection each.
    NewConnection,
    /// 1 MiB answers from the origins.
    Large,
}

/// Keys of [`Case::HitMany`].
pub const KEYS: usize = 10_000;

impl Case {
    /// All of them, in the order of the table.
    pub fn all() -> [Case; 5] {
        [Case::Proxy, Case::Hit, Case::HitMany, Case::NewConnection, Case::Large]
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Case::Proxy => "proxy",
            Case::Hit => "hit",
            Case::HitMany => "hit-many",
            Case::NewConnection => "new-connection",
            Case::Large => "large",
        }
    }

    /// Its name in the table.
    pub fn describe(self) -> &'static str {
        match self {
            Case::Proxy => "proxied, 1 KiB, keep-alive",
            Case::Hit => "cache hit, 1 KiB, one key",
            Case::HitMany => "cache hit, 1 KiB, 10,000 keys",
            Case::NewConnection => "proxied, 1 KiB, a new connection each",
            Case::Large => "proxied, 1 MiB, keep-alive",
        }
    }

    /// Whether answers come from the cache.
    pub fn cached(self) -> bool {
        matches!(self, Case::Hit | Case::HitMany)
    }

    /// The path that is asked for.
    pub fn path(self) -> &'static str {
        match self {
            Case::Large => "/1m",
            _ => "/1k",
        }
    }

    /// The case of that name.
    pub fn parse(name: &str) -> anyhow::Result<Case> {
        match Case::all().into_iter().find(|case| case.name() == name) {
            Some(case) => Ok(case),
            None => bail!("unknown case {name:?}: expected one of {}", Case::all().map(Case::name).join(", ")),
        }
    }
}
