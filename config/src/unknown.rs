//! What to say of a key that its table does not have.

use crate::problem::{Report, any_of, quote};
use crate::raw::{ROOT, Shape, TableDef};
use crate::suggest::nearest;
use crate::tree::{Entry, Node};

/// The header of the table at `path`, as a file could have it.
pub(crate) fn title(path: &str) -> String {
    match path {
        "" => "the top of the file".to_owned(),
        "servers" => "an entry of `servers`".to_owned(),
        "routes" | "server.tls" => format!("[[{path}]]"),
        _ => match path.strip_suffix(".servers") {
            Some(upstream) => format!("an entry of `servers` of [{upstream}]"),
            None => format!("[{path}]"),
        },
    }
}

/// The key of `def` that an unknown one was probably meant for.
pub(crate) fn meant(key: &str, def: &'static TableDef) -> Option<&'static str> {
    nearest(key, def.keys.iter().map(|key| key.name)).filter(|near| *near != key)
}

/// A key that `def` does not have, in the table `inside`.
///
/// In this order: one that a later version has; a slip of the pen; one that stands under the wrong header; one of a later version under the
/// wrong header; anything else.
pub(crate) fn key(entry: &Entry, def: &'static TableDef, inside: &Node) -> Report {
    let key = entry.key.as_str();
    let known = || def.keys.iter().map(|key| key.name);
    if def.later.contains(&key) {
        return not_supported(entry);
    }
    let near = meant(key, def);
    let owners = owners(key);
    let slip = near.is_some_and(|near| strsim::damerau_levenshtein(key, near) <= 1);
    if !slip && !owners.is_empty() {
        return belongs(entry, &owners, inside);
    }
    if near.is_none() && every_table().iter().any(|table| table.later.contains(&key)) {
        return not_supported(entry);
    }
    let elsewhere = every_table()
        .into_iter()
        .flat_map(|table| table.keys.iter().map(move |known| (known.name, table)));
    let elsewhere = elsewhere
        .filter(|_| near.is_none())
        .find(|(name, _)| strsim::damerau_levenshtein(&key.replace('-', "_"), name) <= 1);
    let help = elsewhere.map(|(name, table)| format!("did you mean \"{name}\", which belongs {}?", place_in(table, name, &inside.path)));
    let message = format!(
        "unknown key {} {} {}",
        quote(key),
        if inside.path.is_empty() { "at" } else { "in" },
        title(&inside.path)
    );
    Report::at(entry.key_at, message)
        .expected(any_of(&known().collect::<Vec<_>>()))
        .found(key)
        .maybe_help(help)
        .did_you_mean(near)
}

fn not_supported(entry: &Entry) -> Report {
    Report::at(entry.key_at, format!("`{}` is not supported by this version of lb", entry.key)).found(&entry.key)
}

fn belongs(entry: &Entry, owners: &[&'static TableDef], inside: &Node) -> Report {
    let key = &entry.key;
    let message = format!(
        "`{key}` does not belong {} {}",
        if inside.path.is_empty() { "at" } else { "to" },
        title(&inside.path)
    );
    let places: Vec<String> = owners.iter().map(|owner| place_in(owner, key, &inside.path)).collect();
    Report::at(entry.key_at, message)
        .found(key)
        .help(format!("`{key}` belongs {}", any_of(&places)))
}

/// Where a key of `owner` is written, seen from a table at `path`: in the same upstream, if it is in one.
fn place_in(owner: &TableDef, key: &str, path: &str) -> String {
    let root = std::ptr::eq(owner, &ROOT)
        .then(|| ROOT.keys.iter().find(|root| root.name == key))
        .flatten();
    match root.map(|root| &root.shape) {
        Some(Shape::List(Shape::Table(_))) => format!("at the top of the file, as [[{key}]]"),
        Some(Shape::Table(_)) => format!("at the top of the file, as [{key}]"),
        Some(Shape::Map(_)) => format!("at the top of the file, as [{key}.NAME]"),
        Some(_) => "at the top of the file, before the first header".to_owned(),
        None => {
            let upstream = path
                .strip_prefix("upstreams.")
                .and_then(|rest| rest.split('.').next())
                .unwrap_or("NAME");
            format!("to {}", owner.title.replace("NAME", upstream))
        }
    }
}

/// The tables that have this key.
fn owners(key: &str) -> Vec<&'static TableDef> {
    every_table()
        .into_iter()
        .filter(|table| table.keys.iter().any(|known| known.name == key))
        .collect()
}

/// Every table of the file format, the outer ones first.
pub(crate) fn every_table() -> Vec<&'static TableDef> {
    fn below(shape: &'static Shape, tables: &mut Vec<&'static TableDef>) {
        match shape {
            Shape::Table(table) if !tables.iter().any(|known| std::ptr::eq(*known, *table)) => tables.push(table),
            Shape::List(inner) | Shape::Map(inner) => below(inner, tables),
            Shape::Either(shapes) => shapes.iter().for_each(|shape| below(shape, tables)),
            _ => {}
        }
    }
    let mut tables = vec![&ROOT];
    let mut next = 0;
    while let Some(table) = tables.get(next).copied() {
        table.keys.iter().for_each(|key| below(&key.shape, &mut tables));
        next += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_found_once() {
        let titles: Vec<&str> = every_table().iter().map(|table| table.title).collect();
        assert_eq!(titles.len(), 26);
        assert_eq!(
            titles[..6],
            [
                "the top of the file",
                "[server]",
                "[limits]",
                "[upstreams.NAME]",
                "[cache]",
                "[[routes]]"
            ]
        );
    }

    #[test]
    fn a_key_of_a_later_version_is_not_a_key_of_this_one() {
        for table in every_table() {
            assert!(
                table
                    .later
                    .iter()
                    .all(|later| owners(later).iter().all(|owner| !std::ptr::eq(*owner, table))),
                "{}",
                table.title
            );
        }
    }
}
