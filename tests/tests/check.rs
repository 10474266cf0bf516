//! What `lb check` says of broken files: exit code and every line of output, from the real binary.
//!
//! Each `broken/NAME.toml` is one case; what it includes stands in a folder of its own. The snapshots are the contract: a change of a
//! message shows as a change of a file. `INSTA_UPDATE=always` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary that was built beside this test.
fn lb() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let lb = test
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join(format!("lb{}", std::env::consts::EXE_SUFFIX));
    assert!(lb.exists(), "{} is missing: build it first, with `cargo build -p lb`", lb.display());
    lb
}

fn broken() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("broken")
}

/// Runs `lb` in a folder, with no environment but what the files of these tests refer to.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let environment = [("NUMBER", "1"), ("WORD", "many"), ("KEYS", "127.0.0.1:3001\"\nbackup = true")];
    Command::new(lb())
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment)
        .output()
        .unwrap()
}

fn show(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!(
        "exit code: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// The names of the cases.
fn cases() -> Vec<String> {
    let files = std::fs::read_dir(broken()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_error_of_every_broken_file_is_reported_at_its_place() {
    let cases = cases();
    assert!(cases.len() >= 60, "only {} cases were found", cases.len());
    for name in cases {
        let output = run(&broken(), &["check", "-c", &format!("{name}.toml")]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(output.stdout.is_empty(), "{name}");
        insta::assert_snapshot!(name, show(&output));
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    insta::assert_snapshot!(show(&run(&broken(), &["check", "-c", "no_such_file.toml"])));
    insta::assert_snapshot!(show(&run(&broken(), &["check", "-c", "include"])));
}

#[test]
fn a_good_file_is_ok() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    // `full.toml` names certificates, which the test of the documents makes for it.
    for name in ["lb.toml", "minimal.toml"] {
        assert_eq!(
            show(&run(&examples, &["check", "-c", name])),
            format!("exit code: 0\n--- stdout\n{name}: ok\n--- stderr\n")
        );
    }
}

#[test]
fn the_schema_is_json() {
    let output = run(&broken(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["upstreams"].is_object());
}
