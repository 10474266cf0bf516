//! `lb run`.

use std::path::Path;
use std::process::ExitCode;

/// Loads the file and runs the proxy until it is told to stop.
pub(super) fn run(file: &Path) -> ExitCode {
    match super::load(file) {
        Ok(config) => crate::server::run(config, file.to_path_buf()),
        Err(code) => code,
    }
}
