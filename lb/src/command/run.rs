//! `lb run`.

use std::path::Path;
use std::process::ExitCode;

/// Loads the file and runs the proxy until it is told to stop.
pub(super) fn run(file: &Path) -> ExitCode {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let tls = crate::tls::load(&config, None).and_then(|tls| crate::upstream::check_files(&config, true).map(|()| tls));
    match tls {
        Ok(tls) => crate::server::run(config, tls, file.to_path_buf()),
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(2)
        }
    }
}
