//! The table.

use std::fmt::Write;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::case::Case;
use crate::measure::{Sample, median};
use crate::peers::Peer;

/// The results of one case: the samples of each peer, in the order of the peers.
type Results = (Case, Vec<Vec<Sample>>);

/// The whole page around the table.
pub fn page(table: &str) -> String {
    format!(
        "# lb beside its peers\n\nMade by `make bench`. Figures from one machine in one run: compare the columns of one table with each other, and \
         not two tables. The ratio is the CPU time a request beside nginx's, the median over the rounds.\n\n{table}"
    )
}

/// The table, and how it was made.
pub fn markdown(results: &[Results], peers: &[Box<dyn Peer>], absent: &[&str], rounds: usize, seconds: u64, connections: usize) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, results, peers, absent, rounds, seconds, connections);
    out
}

fn write(
    out: &mut String,
    results: &[Results],
    peers: &[Box<dyn Peer>],
    absent: &[&str],
    rounds: usize,
    seconds: u64,
    connections: usize,
) -> std::fmt::Result {
    writeln!(
        out,
        "| case | proxy | requests/s | p50 µs | p99 µs | CPU µs a request | ratio to nginx | peak MiB | errors |"
    )?;
    writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for (case, samples) in results {
        let reference = peers.iter().position(|peer| peer.name() == "nginx").map(|index| &samples[index]);
        for (peer, samples) in peers.iter().zip(samples) {
            if samples.is_empty() {
                continue;
            }
            let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
            let ratio = reference.map_or(f64::NAN, |reference| {
                median(
                    samples
                        .iter()
                        .zip(reference)
                        .map(|(sample, nginx)| sample.cpu_us / nginx.cpu_us)
                        .collect(),
                )
            });
            let errors: u64 = samples.iter().map(|sample| sample.load.errors).sum();
            let memory = samples.iter().map(|sample| sample.memory).max().unwrap_or(0) as f64 / f64::from(1 << 20);
            writeln!(
                out,
                "| {} | {} | {:.0} | {:.0} | {:.0} | {:.2} | {ratio:.2} | {memory:.0} | {errors} |",
                case.describe(),
                peer.name(),
                of(|sample| sample.load.rate),
                of(|sample| sample.load.p50_us),
                of(|sample| sample.load.p99_us),
                of(|sample| sample.cpu_us),
            )?;
        }
    }
    let date = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    writeln!(
        out,
        "\n{date}; {rounds} rounds of {seconds} s, {connections} connections from `wrk`; three origins; proxy on one core, load and origins on another.\n"
    )?;
    for peer in peers {
        writeln!(out, "- {}: {}. {}.", peer.name(), peer.version(), peer.note())?;
    }
    if !absent.is_empty() {
        writeln!(out, "- not installed here, so not measured: {}.", absent.join(", "))?;
    }
    Ok(())
}
