//! The servers of the users API, and what the backend is to reach beside the other two.

use std::fmt::Write;

use super::figures::{beside_the_better, of, samples};
use super::verdicts::cell;
use crate::case::Case;
use crate::run::Bench;

/// The servers that the backend must be better than.
const RIVALS: [&str; 2] = ["express", "fastapi"];

/// How much of the better one's CPU time a request the backend may need without a cache of its own.
const BOUND: f64 = 0.2;

/// The one that is held to it.
const JUDGED: &str = "backend";

/// The table, where there is anything for it.
pub fn write(out: &mut String, bench: &Bench) -> std::fmt::Result {
    let cases: Vec<Case> = bench.results.iter().map(|(case, _)| *case).filter(|case| case.api()).collect();
    if cases.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## The API\n")?;
    writeln!(
        out,
        "| request | server | requests/s | p50 µs | p99 µs | CPU µs a request | in user space | beside the better peer | to reach | | peak MiB | errors |"
    )?;
    writeln!(
        out,
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |"
    )?;
    for case in cases {
        for peer in &bench.peers {
            write_line(out, bench, case, peer.name())?;
        }
    }
    Ok(())
}

fn write_line(out: &mut String, bench: &Bench, case: Case, name: &str) -> std::fmt::Result {
    let Some(all) = samples(bench, case, name) else {
        return Ok(());
    };
    let figure = |figure| of(bench, case, name, figure).unwrap_or(f64::NAN);
    let beside = beside_the_better(bench, case, name, RIVALS);
    let verdict = match beside {
        Some(beside) if name == JUDGED && beside <= BOUND => format!("≤ {BOUND} | reached"),
        Some(_) if name == JUDGED => format!("≤ {BOUND} | **missed**"),
        _ => "– |".into(),
    };
    let errors: u64 = all.iter().map(|sample| sample.load.errors).sum();
    let memory = all.iter().map(|sample| sample.memory).max().unwrap_or(0) >> 20;
    writeln!(
        out,
        "| `{}` | {name} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {} | {verdict} | {memory} | {errors} |",
        case.describe(),
        figure(|sample| sample.load.rate),
        figure(|sample| sample.load.p50_us),
        figure(|sample| sample.load.p99_us),
        figure(|sample| sample.cpu_us),
        figure(|sample| sample.cpu_us * sample.user),
        cell(beside),
    )
}
