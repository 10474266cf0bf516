//! Outcomes for people, and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::units::{digits, show};
use super::{Arrivals, Failed, Machine, Outcome, Plan};

/// Up to so many servers, each is shown by itself.
const FEW: usize = 16;
/// Servers that are unlike most, shown one by one, or several that stand together and are alike.
const ODD: usize = 8;

/// What was simulated, in a few lines.
pub fn heading(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_heading(&mut out, plan);
    out
}

fn write_heading(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let usual = usual(&plan.machines);
    let servers = plan.machines.len();
    if let Some(usual) = usual {
        let each = if servers == 1 { "" } else { " each" };
        writeln!(out, "{}: {}{each}", count(servers as u64, "server"), describe(usual))?;
    }
    let runs = plan.machines.chunk_by(|one, next| one == next).scan(1, |first, run| {
        let from = *first;
        *first += run.len();
        Some((from, run))
    });
    let odd: Vec<_> = runs.filter(|(_, run)| run.first() != usual).collect();
    for (from, run) in odd.iter().take(ODD) {
        let Some(machine) = run.first() else { continue };
        match run.len() {
            1 => writeln!(out, "  but server {from}: {}", describe(machine))?,
            n => writeln!(out, "  but servers {from}-{}: {} each", from + n - 1, describe(machine))?,
        }
    }
    let others: usize = odd.iter().skip(ODD).map(|(_, run)| run.len()).sum();
    if others > 0 {
        writeln!(out, "  and {} more that differ", count(others as u64, "server"))?;
    }
    match &plan.arrivals {
        Arrivals::Random { rate, requests, keys } => {
            let seconds = *requests as f64 / rate;
            write!(out, "{} at {}/s for {}", count(*requests, "request"), digits(*rate), show(seconds))?;
            if let Some(capacity) = plan.capacity() {
                write!(out, ": {} % of what the servers can do", digits(rate / capacity * 100.0))?;
            }
            writeln!(out, "; {}; seed {}", count((*keys).into(), "key"), plan.seed)
        }
        Arrivals::Recorded(all) => {
            let seconds = all.last().map_or(0.0, |last| last.at as f64 / 1e9);
            writeln!(
                out,
                "{} from a log, over {}; seed {}",
                count(all.len() as u64, "request"),
                show(seconds),
                plan.seed
            )
        }
    }
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What most of them are like; the first of those of which there are as many.
fn usual(machines: &[Machine]) -> Option<&Machine> {
    let mut kinds: Vec<(&Machine, usize)> = Vec::new();
    for machine in machines {
        match kinds.iter_mut().find(|(kind, _)| *kind == machine) {
            Some((_, n)) => *n += 1,
            None => kinds.push((machine, 1)),
        }
    }
    let most = kinds.iter().map(|(_, n)| *n).max()?;
    kinds.iter().find(|(_, n)| *n == most).map(|(kind, _)| *kind)
}

fn describe(machine: &Machine) -> String {
    let mut text = machine.latency.to_string();
    match machine.workers {
        Some(workers) => text += &format!(", {}", count(workers.get().into(), "worker")),
        None => text += ", any number of workers",
    }
    if machine.fail > 0.0 {
        text += &format!(", {} % of answers are 503", digits(machine.fail * 100.0));
    }
    for (from, to) in &machine.down {
        text += &format!(", down from {} to {}", show(*from as f64 / 1e9), show(*to as f64 / 1e9));
    }
    text
}

/// The table: a line for each algorithm, and, for a few servers, what each of them got.
pub fn table(plan: &Plan, outcomes: &[Outcome]) -> String {
    let mut rows = vec![
        [
            "algorithm",
            "p50",
            "p90",
            "p99",
            "max",
            "max load",
            "mean load",
            "imbalance",
            "variation",
            "failed",
            "retries",
            "ejections",
        ]
        .map(String::from)
        .to_vec(),
    ];
    for outcome in outcomes {
        let time = |share| outcome.quantile(share).map_or("-".into(), show);
        let (imbalance, variation) = outcome.imbalance();
        rows.push(vec![
            outcome.algorithm.into(),
            time(0.5),
            time(0.9),
            time(0.99),
            time(1.0),
            outcome.max_load().to_string(),
            format!("{:.2}", outcome.mean_load),
            format!("{imbalance:.2}"),
            format!("{variation:.3}"),
            outcome.failed.total().to_string(),
            outcome.retries.to_string(),
            outcome.ejections().to_string(),
        ]);
    }
    let mut out = aligned(&rows);
    for outcome in outcomes.iter().filter(|outcome| outcome.failed.total() > 0) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}: {}", outcome.algorithm, failures(&outcome.failed));
    }
    if plan.machines.len() <= FEW {
        out.push('\n');
        out += &shares(outcomes);
    }
    out
}

fn failures(failed: &Failed) -> String {
    let kinds = [
        (failed.connect, "no connection"),
        (failed.reset, "cut as the server went down"),
        (failed.timeout, "no answer in time"),
        (failed.status, "503 from the server"),
        (failed.full, "every server full"),
        (failed.queue_full, "queue full"),
        (failed.queued_too_long, "waited for too long"),
        (failed.no_server, "no server up"),
    ];
    let said: Vec<_> = kinds
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    said.join(", ")
}

fn shares(outcomes: &[Outcome]) -> String {
    let Some(first) = outcomes.first() else { return String::new() };
    let mut rows = vec![vec!["% of tries".to_owned(), "weight".to_owned()]];
    rows[0].extend(outcomes.iter().map(|outcome| outcome.algorithm.to_owned()));
    for (index, server) in first.servers.iter().enumerate() {
        let backup = if server.backup { " (backup)" } else { "" };
        let mut row = vec![format!("{}{backup}", server.name), server.weight.to_string()];
        let got = outcomes.iter().filter_map(|outcome| Some((outcome, outcome.servers.get(index)?)));
        row.extend(got.map(|(outcome, server)| format!("{:.1}", outcome.share(server) * 100.0)));
        rows.push(row);
    }
    aligned(&rows)
}

/// In columns, the first one to the left, all others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = match column {
                0 => write!(out, "{cell:<width$}"),
                _ => write!(out, "  {cell:>width$}"),
            };
        }
        out.push('\n');
    }
    out
}

/// All of it, for programs. Times are in milliseconds, `imbalance` and `variation` are of tries by weight.
pub fn to_json(plan: &Plan, outcomes: &[Outcome]) -> Value {
    let rate = match plan.arrivals {
        Arrivals::Random { rate, .. } => Some(rate),
        Arrivals::Recorded(_) => None,
    };
    json!({
        "upstream": plan.upstream.name,
        "servers": plan.machines.len(),
        "requests": plan.arrivals.count(),
        "rate": rate,
        "capacity": plan.capacity(),
        "seed": plan.seed,
        "algorithms": outcomes.iter().map(algorithm).collect::<Vec<_>>(),
    })
}

fn algorithm(outcome: &Outcome) -> Value {
    let time = |share| outcome.quantile(share).map(|seconds| seconds * 1e3);
    let (imbalance, variation) = outcome.imbalance();
    let server = |server| server_json(outcome, server);
    json!({
        "algorithm": outcome.algorithm,
        "requests": outcome.requests,
        "failed": outcome.failed.total(),
        "failures": outcome.failed,
        "retries": outcome.retries,
        "ejections": outcome.ejections(),
        "latency_ms": {
            "p50": time(0.5), "p90": time(0.9), "p99": time(0.99), "p999": time(0.999), "max": time(1.0),
            "mean": (!outcome.latency.is_empty()).then(|| outcome.latency.mean() / 1e3),
        },
        "max_load": outcome.max_load(),
        "mean_load": outcome.mean_load,
        "imbalance": imbalance,
        "variation": variation,
        "seconds": outcome.seconds,
        "servers": outcome.servers.iter().map(server).collect::<Vec<_>>(),
    })
}

fn server_json(outcome: &Outcome, server: &super::ServerOutcome) -> Value {
    json!({
        "address": server.name,
        "weight": server.weight,
        "backup": server.backup,
        "tries": server.tries,
        "share": outcome.share(server),
        "failures": server.failures,
        "ejections": server.ejections,
        "max_load": server.max_load,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, Latency};
    use super::*;

    #[test]
    fn the_heading_tells_servers_apart() {
        let mut machines = vec![Machine::new(Latency::Constant(0.01), std::num::NonZeroU32::new(1)); 30];
        machines[0].fail = 0.015;
        machines[3..6]
            .iter_mut()
            .for_each(|machine| machine.latency = Latency::Constant(0.2));
        machines[9].down = vec![(1_000_000_000, 2_500_000_000)];
        (10..30).step_by(2).for_each(|n| machines[n].workers = None);
        let arrival = |at| Arrival {
            at,
            hash: 0,
            idempotent: true,
        };
        let plan = Plan {
            upstream: lb_config::Upstream::plain("users", Vec::new()),
            machines,
            arrivals: Arrivals::Recorded(vec![arrival(0), arrival(90_000_000_000)]),
            seed: 7,
        };
        let expected = "\
30 servers: 10ms, 1 worker each
  but server 1: 10ms, 1 worker, 1.5 % of answers are 503
  but servers 4-6: 200ms, 1 worker each
  but server 10: 10ms, 1 worker, down from 1s to 2.5s
  but server 11: 10ms, any number of workers
  but server 13: 10ms, any number of workers
  but server 15: 10ms, any number of workers
  but server 17: 10ms, any number of workers
  but server 19: 10ms, any number of workers
  and 5 servers more that differ
2 requests from a log, over 90s; seed 7
";
        assert_eq!(heading(&plan), expected);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["a", "bb", "c"], ["long", "1", "22"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(aligned(&rows), "a     bb   c\nlong   1  22\n");
    }
}
