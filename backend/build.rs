//! Gives `--version` the git revision, and rebuilds when a migration is added: `sqlx::migrate!` cannot see new files by itself.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=../.git/HEAD");
    println!("cargo:rerun-if-changed=../.git/refs/heads");
    println!("cargo:rerun-if-env-changed=REVISION");
    println!("cargo:rustc-env=BACKEND_REVISION={}", revision());
}

/// `REVISION` when the build has no repository (in a container), else what git says, else `unknown`.
fn revision() -> String {
    if let Ok(given) = std::env::var("REVISION") {
        return given;
    }
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    match git {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
