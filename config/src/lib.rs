//! The configuration file of `lb`: what it may say, what is wrong with it, and the model that the proxy is built from.
//!
//! What the user says and what the program uses are two things here. A file becomes a tree of values that know their places (`parse`,
//! `include`), which is read table by table (`fields`, `check`) against the list of what a file may say (`raw`). The result is
//! either a [`Config`], in which nothing needs to be checked again, or all [`Problems`] at once, each at its line and column.

mod check;
mod fields;
mod include;
mod interpolate;
mod layout;
mod mentions;
pub mod model;
mod parse;
mod plain;
mod problem;
mod raw;
mod read;
mod schema;
mod source;
mod suggest;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod tree;
pub mod units;
mod unknown;

use std::path::Path;

pub use interpolate::Environment;
pub use mentions::Mentions;
pub use model::*;
pub use problem::{Problem, Problems};
pub use schema::schema;

/// Reads a file and what it includes, with the environment of this process.
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// Reads a file and what it includes, with this environment.
pub fn load_with(path: &Path, environment: &Environment<'_>) -> Result<Config, Problems> {
    let include::Loaded {
        root,
        sources,
        mut reports,
        lost,
    } = include::load(path, environment);
    let cx = fields::Check::new(&sources, environment, lost);
    let config = root.and_then(|root| check::config(&cx, &root));
    let mentions = cx.mentions();
    reports.extend(cx.into_reports());
    match config {
        Some(config) if reports.is_empty() => Ok(Config {
            sources: sources.into_iter().map(|source| source.path).collect(),
            mentions,
            ..config
        }),
        _ => Err(Problems::new(reports, &sources)),
    }
}
