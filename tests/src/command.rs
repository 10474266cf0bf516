//! Runs a binary once and looks at what came of it.

use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use crate::process::binary;
use crate::wait::DEADLINE;

/// What a finished command left behind.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `lb` with these arguments.
pub async fn lb<S: AsRef<str>>(arguments: &[S]) -> Outcome {
    run("lb", arguments, &[]).await
}

/// Runs a binary with these arguments and this environment besides the test's own.
pub async fn run<S: AsRef<str>>(name: &str, arguments: &[S], environment: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(binary(name));
    command
        .env_remove("LB_CONFIG")
        .args(arguments.iter().map(AsRef::as_ref))
        .envs(environment.iter().copied());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output())
        .await
        .expect("the command ends by itself")
        .expect("the command starts");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
