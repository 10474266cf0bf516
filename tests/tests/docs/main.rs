//! The documents are true: what they show runs, what there is stands in them, and their links lead somewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod examples;
mod links;
mod reference;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files in a folder whose names end so, relative to the root.
fn listed(folder: &str, end: &str) -> Vec<String> {
    let names = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| name.ends_with(end))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    names.sort();
    names
}

fn documents() -> Vec<String> {
    let names = [".", "docs", "backend"].map(|folder| listed(folder, ".md")).concat();
    assert!(names.len() >= 8, "{names:?}");
    names
}

/// A code block.
struct Block {
    info: String,
    text: String,
    line: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(info) => {
                inside = true;
                found.push(Block {
                    info: info.trim().into(),
                    text: String::new(),
                    line: index + 1,
                });
            }
            None if inside => found.last_mut().unwrap().text.extend([line, "\n"]),
            None => {}
        }
    }
    assert!(!inside, "a code block without an end");
    found
}

/// The text without its code blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The rows of the tables below each heading, as their cells, by the heading.
fn rows(document: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut sections: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let mut heading = String::new();
    for line in prose(document).lines() {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().into();
        } else if let Some(row) = line.strip_prefix("| `").and_then(|row| row.strip_suffix('|')) {
            let cells = format!("`{row}").split(" | ").map(|cell| cell.trim().into()).collect();
            sections.entry(heading.clone()).or_default().push(cells);
        }
    }
    sections
}

/// The names in a cell: `` `a`, `b` ``.
fn names(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}
