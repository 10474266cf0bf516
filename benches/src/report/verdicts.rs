//! Each figure that lb is to reach, and whether it does.

use std::fmt::Write;

use super::figures::{RIVALS, beside_the_better, growth, of, ratio};
use crate::case::Case;
use crate::measure::Sample;
use crate::run::Bench;

/// The columns.
const PEERS: [&str; 4] = ["nginx", "haproxy", "lb", "lb-pingora"];

/// What most rows are about.
const CPU: &str = "CPU a request, µs";

/// One figure: what it is, each peer's value, what lb is judged by, and how much that may be.
struct Row {
    case: Case,
    figure: &'static str,
    values: [Option<f64>; 4],
    judged_by: &'static str,
    /// Of lb, and of lb with the pingora engine.
    judged: [Option<f64>; 2],
    bound: f64,
}

/// The table, without rows of what was not measured.
pub fn write(out: &mut String, bench: &Bench) -> std::fmt::Result {
    let mut rows = rows(bench);
    rows.retain(|row| row.judged.iter().any(Option::is_some));
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "| case | figure | nginx | HAProxy | lb | lb-pingora | judged by | lb | to reach | | lb-pingora |"
    )?;
    writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- | ---: |")?;
    for row in rows {
        write!(out, "| {} | {} |", row.case.describe(), row.figure)?;
        for value in row.values {
            write!(out, " {} |", cell(value))?;
        }
        let verdict = match row.judged[0] {
            Some(judged) if judged <= row.bound => "reached",
            Some(_) => "**missed**",
            None => "–",
        };
        writeln!(
            out,
            " {} | {} | ≤ {} | {verdict} | {} |",
            row.judged_by,
            cell(row.judged[0]),
            row.bound,
            cell(row.judged[1])
        )?;
    }
    Ok(())
}

pub fn cell(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn rows(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for (case, bound) in [
        (Case::Proxy, 0.90),
        (Case::Hit, 0.75),
        (Case::HitMany, 0.70),
        (Case::NewConnection, 1.00),
        (Case::Large, 0.55),
        (Case::Tls, 0.95),
        (Case::TlsNew, 1.00),
    ] {
        rows.push(Row {
            case,
            figure: CPU,
            values: PEERS.map(|peer| of(bench, case, peer, |sample| sample.cpu_us)),
            judged_by: "ratio to the better",
            judged: ours(|peer| beside_the_better(bench, case, peer, RIVALS)),
            bound,
        });
    }
    rows.push(Row {
        case: Case::Latency,
        figure: "steady p99, µs",
        values: PEERS.map(|peer| of(bench, Case::Latency, peer, steady_p99)),
        judged_by: "ratio to nginx",
        judged: ours(|peer| ratio(bench, Case::Latency, peer, "nginx", steady_p99)),
        bound: 1.0,
    });
    for case in [Case::Proxy, Case::Large] {
        rows.push(absolute(bench, case, "peak memory, MiB", mebibytes, 30.0));
    }
    rows.push(absolute(bench, Case::Idle, "KiB of memory each", kibibytes_each, 8.0));
    rows.push(absolute(
        bench,
        Case::Stored,
        "bytes of memory for each that is stored",
        stored_ratio,
        1.6,
    ));
    rows.push(absolute(
        bench,
        Case::Slowloris,
        "steady p99 beside that without them",
        slowdown,
        2.0,
    ));
    for (with, without) in [(Case::ProxyLog, Case::Proxy), (Case::HitLog, Case::Hit)] {
        let cpu: fn(&Sample) -> f64 = |sample| sample.cpu_us;
        rows.push(Row {
            case: with,
            figure: CPU,
            values: PEERS.map(|peer| of(bench, with, peer, cpu)),
            judged_by: "rise of the ratio to nginx",
            judged: ours(|peer| Some(ratio(bench, with, peer, "nginx", cpu)? - ratio(bench, without, peer, "nginx", cpu)?)),
            bound: 0.05,
        });
    }
    rows
}

/// Of lb, and of lb with the pingora engine.
fn ours(judge: impl Fn(&str) -> Option<f64>) -> [Option<f64>; 2] {
    [judge("lb"), judge("lb-pingora")]
}

/// A figure that is judged without looking at others.
fn absolute(bench: &Bench, case: Case, what: &'static str, figure: fn(&Sample) -> f64, bound: f64) -> Row {
    Row {
        case,
        figure: what,
        values: PEERS.map(|peer| of(bench, case, peer, figure)),
        judged_by: "itself",
        judged: ours(|peer| of(bench, case, peer, figure)),
        bound,
    }
}

fn steady_p99(sample: &Sample) -> f64 {
    sample.load.steady_p99_us.unwrap_or(f64::NAN)
}

fn mebibytes(sample: &Sample) -> f64 {
    sample.memory as f64 / f64::from(1 << 20)
}

fn kibibytes_each(sample: &Sample) -> f64 {
    sample.idle_bytes.unwrap_or(f64::NAN) / 1024.0
}

fn stored_ratio(sample: &Sample) -> f64 {
    sample.stored_ratio.unwrap_or(f64::NAN)
}

fn slowdown(sample: &Sample) -> f64 {
    steady_p99(sample) / sample.calm_p99_us.unwrap_or(f64::NAN)
}

/// How a proxy's own cost grows with what it holds: servers, then keys. Only lb is judged by it.
pub fn write_scale(out: &mut String, bench: &Bench) -> std::fmt::Result {
    let (servers, keys): (Vec<Case>, Vec<Case>) = Case::all()
        .into_iter()
        .filter(|case| case.scale())
        .partition(|case| matches!(case, Case::Servers(_)));
    for peer in &bench.peers {
        for cases in [&servers, &keys] {
            write_growth(out, bench, peer.name(), cases)?;
        }
    }
    Ok(())
}

fn write_growth(out: &mut String, bench: &Bench, peer: &str, cases: &[Case]) -> std::fmt::Result {
    let cost = |case: Case| of(bench, case, peer, |sample| sample.cpu_us);
    let Some(first) = cases.iter().copied().find(|case| cost(*case).is_some()) else {
        return Ok(());
    };
    writeln!(out, "\n| {peer} | requests/s | CPU a request, µs | beside the first | to reach | |")?;
    writeln!(out, "| --- | ---: | ---: | ---: | ---: | --- |")?;
    for case in cases.iter().copied() {
        let Some((cost, grown)) = cost(case).zip(growth(bench, case, first, peer)) else {
            continue;
        };
        let rate = of(bench, case, peer, |sample| sample.load.rate);
        let verdict = match peer {
            "lb" if grown <= 1.15 => "| ≤ 1.15 | reached |",
            "lb" => "| ≤ 1.15 | **missed** |",
            _ => "| – | |",
        };
        writeln!(out, "| {} | {} | {cost:.2} | {grown:.2} {verdict}", case.describe(), cell(rate))?;
    }
    Ok(())
}
