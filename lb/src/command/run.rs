//! `lb run`.

use std::path::Path;
use std::process::ExitCode;

/// Loads the file and runs the proxy until it is told to stop.
pub(super) fn run(file: &Path) -> ExitCode {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match crate::tls::load(&config, None) {
        Ok(tls) => crate::server::run(config, tls, file.to_path_buf()),
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(2)
        }
    }
}
