//! `lb check`: is this a configuration that `lb run` would take?
//!
//! Nothing is started or resolved, and nothing is opened but certificates and keys, which have to be there and to fit each other. Every
//! error is printed at once, since whoever mends a file wants to mend it once.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::tls;

/// Prints `FILE: ok` on standard output, or every error on standard error and exits with 2.
pub fn run(file: &Path) -> ExitCode {
    let checked = lb_config::load(file).and_then(|config| tls::load(&config, None));
    match checked {
        Ok(_) => match writeln!(io::stdout(), "{}: ok", file.display()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(problems) => {
            // Where even standard error is gone, the exit code still tells.
            let _ = writeln!(io::stderr(), "{problems}");
            ExitCode::from(2)
        }
    }
}
