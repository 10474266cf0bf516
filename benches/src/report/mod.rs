//! The page of results.

mod api;
mod figures;
mod verdicts;

use std::fmt::Write;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::figures::{of, ratio, samples};
use crate::case::{Case, Work};
use crate::run::Bench;

/// The whole page around the tables.
pub fn page(tables: &str) -> String {
    format!(
        "# lb beside its peers\n\nMade by `make bench`; [README.md](README.md) says what is measured, and how to read it. Figures are of one machine and \
         one run: compare the columns of one table with each other, and not two tables.\n\n{tables}"
    )
}

/// The tables, and how they were made.
pub fn markdown(bench: &Bench, absent: &[&str]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, bench, absent);
    out
}

fn write(out: &mut String, bench: &Bench, absent: &[&str]) -> std::fmt::Result {
    let proxies = bench.results.iter().any(|(case, _)| !case.api());
    if proxies {
        writeln!(out, "## What is to be reached\n")?;
        verdicts::write(out, bench)?;
        verdicts::write_scale(out, bench)?;
    }
    api::write(out, bench)?;
    if proxies {
        writeln!(out, "\n## All that was measured\n")?;
        details(out, bench)?;
    }
    footer(out, bench, absent)
}

/// A line for each case and peer.
fn details(out: &mut String, bench: &Bench) -> std::fmt::Result {
    writeln!(
        out,
        "| case | proxy | requests/s | p50 µs | p99 µs | CPU µs a request | in user space | ratio to nginx | to HAProxy | peak MiB | errors |"
    )?;
    writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for (case, _) in bench
        .results
        .iter()
        .filter(|(case, _)| !matches!(case.work(), Work::Idle | Work::Fill) && !case.api())
    {
        for peer in &bench.peers {
            let Some(all) = samples(bench, *case, peer.name()) else {
                continue;
            };
            let figure = |figure| of(bench, *case, peer.name(), figure).unwrap_or(f64::NAN);
            let beside = |rival| {
                let ratio = ratio(bench, *case, peer.name(), rival, |sample| sample.cpu_us);
                ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"))
            };
            let errors: u64 = all.iter().map(|sample| sample.load.errors).sum();
            let memory = all.iter().map(|sample| sample.memory).max().unwrap_or(0) >> 20;
            writeln!(
                out,
                "| {} | {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {} | {} | {memory} | {errors} |",
                case.describe(),
                peer.name(),
                figure(|sample| sample.load.rate),
                figure(|sample| sample.load.p50_us),
                figure(|sample| sample.load.p99_us),
                figure(|sample| sample.cpu_us),
                figure(|sample| sample.cpu_us * sample.user),
                beside("nginx"),
                beside("haproxy"),
            )?;
        }
    }
    Ok(())
}

fn footer(out: &mut String, bench: &Bench, absent: &[&str]) -> std::fmt::Result {
    let date = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let Bench {
        rounds,
        seconds,
        connections,
        idle,
        ..
    } = bench;
    writeln!(
        out,
        "\n{date}; {rounds} rounds of {seconds} s, {connections} connections, {idle} idle ones; proxy on one core, load and origin on another; \
         no access log unless said.\n"
    )?;
    if let Some(rate) = bench
        .half_of_peak
        .filter(|_| bench.results.iter().any(|(case, _)| *case == Case::Latency))
    {
        writeln!(out, "Half of nginx's peak rate is {rate:.0} requests a second.\n")?;
    }
    let foreign = bench.results.iter().flat_map(|(_, samples)| samples.iter().flatten());
    let worst = foreign.map(|sample| sample.foreign).fold(0.0, f64::max);
    writeln!(
        out,
        "Processes that have nothing to do with it took at most {:.0} % of a core meanwhile.\n",
        worst * 100.0
    )?;
    let measured = |place: usize| bench.results.iter().any(|(_, samples)| !samples[place].is_empty());
    for (_, peer) in bench.peers.iter().enumerate().filter(|(place, _)| measured(*place)) {
        writeln!(out, "- {}: {}. {}.", peer.name(), peer.version(), peer.note())?;
    }
    if !absent.is_empty() {
        writeln!(out, "- not installed here, so not measured: {}.", absent.join(", "))?;
    }
    Ok(())
}
