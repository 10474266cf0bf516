//! `lb check`: is this a configuration that `lb run` would take?
//!
//! Nothing is started or resolved, and nothing is opened but certificates and keys, which have to be there and to fit each other, and files
//! of servers, which may yet have to be written. Every error is printed at once, since whoever mends a file wants to mend it once.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use lb_config::{Problem, Problems};

use crate::tls;
use crate::upstream::check_files;

/// Prints `FILE: ok` on standard output, or every error on standard error and exits with 2.
pub fn run(file: &Path) -> ExitCode {
    let checked = lb_config::load(file).and_then(|config| all_of(tls::load(&config, None).err(), check_files(&config, false).err()));
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

/// The problems of both.
fn all_of(one: Option<Problems>, other: Option<Problems>) -> Result<(), Problems> {
    let all: Vec<Problem> = [one, other].iter().flatten().flat_map(Problems::iter).cloned().collect();
    Problems::of(all).map_or(Ok(()), Err)
}
