//! The rows of `docs/DRILLS.md`.
//!
//! A drill runs in a short form with every test run. `LB_DRILLS=full` makes it long, and `LB_DRILLS_REPORT` names a file that gets a row
//! of a Markdown table for each drill; `make drills` sets both.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

/// Whether drills run at full length.
pub fn full() -> bool {
    std::env::var("LB_DRILLS").is_ok_and(|value| value == "full")
}

/// The one or the other, as drills run in their short form or at full length.
pub fn length(short: u64, full_length: u64) -> Duration {
    Duration::from_secs(if full() { full_length } else { short })
}

/// The head of the table that [`row`] adds to.
pub const HEAD: &str = "| drill | requests | failed | failed without retry | what else was seen |\n| --- | ---: | ---: | ---: | --- |\n";

/// Prints a row of the report, and adds it to the file when there is to be one. A new file gets the table's head first.
pub fn row(drill: &str, requests: usize, failed: usize, without_retry: Option<usize>, notes: &str) {
    let without_retry = without_retry.map_or_else(|| "–".to_owned(), |count| count.to_string());
    let line = format!("| {drill} | {requests} | {failed} | {without_retry} | {notes} |\n");
    eprint!("{line}");
    let Some(path) = std::env::var_os("LB_DRILLS_REPORT").filter(|_| full()) else {
        return;
    };
    let mut file = File::options().create(true).append(true).open(path).expect("the drills' report");
    // drills run side by side, in one process or several
    file.lock().expect("the report to ourselves");
    if file.metadata().expect("the report's size").len() == 0 {
        file.write_all(HEAD.as_bytes()).expect("the table's head");
    }
    file.write_all(line.as_bytes()).expect("a row of the report");
}
