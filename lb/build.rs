//! Tells the program which revision it was built from.
//!
//! `LB_REVISION` in the environment wins (a container build has no `.git`), then git is asked; where neither knows, nothing is set and
//! the program says "unknown". Nothing here may fail: a source archive builds without git.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LB_REVISION");
    if std::env::var("LB_REVISION").is_ok_and(|given| !given.trim().is_empty()) {
        return; // rustc sees it as it is
    }
    // An unpacked archive may lie inside somebody else's repository, whose revision says nothing: ours has this crate at `lb/`.
    if git(&["rev-parse", "--show-prefix"]).as_deref() != Some("lb/") {
        return;
    }
    if let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=LB_REVISION={revision}");
    }
    // HEAD changes with a checkout, its log with a commit. A path that is not there would mean a rebuild every time.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", name])
            && std::path::Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// What git prints, in one line; `None` where there is no git, no repository or no answer.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.trim();
    (output.status.success() && !line.is_empty() && !line.contains('\n')).then(|| line.to_owned())
}
