//! `lb schema`: what a configuration file may say, for editors that complete and check TOML by a JSON Schema.

use std::io::{self, Write};
use std::process::ExitCode;

/// Prints the JSON Schema of the configuration file on standard output.
pub fn run() -> ExitCode {
    match writeln!(io::stdout(), "{:#}", lb_config::schema()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
