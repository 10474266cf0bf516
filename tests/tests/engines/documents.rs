//! `docs/ENGINES.md` and the harness name the same things.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lb_tests::engine::PINGORA_LACKS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The first cells of the table below that heading.
fn named(document: &str, heading: &str) -> BTreeSet<String> {
    let section = document.split(&format!("\n## {heading}\n")).nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| row.trim_start_matches("| ").split(" | ").next().unwrap_or_default().to_owned())
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn what_the_pingora_engine_lacks_is_documented_and_nothing_else_is() {
    let document = fs::read_to_string(root().join("docs/ENGINES.md")).unwrap();
    let listed: BTreeSet<String> = PINGORA_LACKS.iter().map(ToString::to_string).collect();
    assert_eq!(named(&document, "What the pingora engine lacks"), listed);
}

#[test]
fn every_one_of_them_has_a_test_over_the_relay() {
    let mut texts = Vec::new();
    sources(&root().join("tests/tests"), &mut texts);
    for name in PINGORA_LACKS {
        let asked = format!("lacks(\"{name}\")");
        assert!(texts.iter().any(|text| text.contains(&asked)), "no test asks {asked}");
    }
}
