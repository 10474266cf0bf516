//! `compare`: `lb` beside its peers, doing the same job on the same machine in the same minutes.
//!
//! Every proxy runs on one core of its own with the load and the origins on another. The proxies of a case are all started before it and
//! then loaded in turns, round by round, so that a machine that is slow for a while is slow for all; what is compared are medians over
//! the rounds. The figure that says most is the CPU time a request, because it does not depend on how fast the load is.
#![allow(clippy::print_stdout)]

mod case;
mod load;
mod measure;
mod origin;
mod peers;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use case::Case;
use measure::Sample;
use peers::Peer;

/// Compares lb with its peers.
#[derive(Parser)]
#[command(after_help = "Example:\n  compare --rounds 3 --seconds 2 --cases proxy,hit --peers nginx,lb")]
struct Args {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// Rounds of each case: every peer is loaded once a round
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load for each peer and round
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Which cases
    #[arg(long, value_delimiter = ',', default_values_t = Case::all().map(Case::name).map(str::to_string))]
    cases: Vec<String>,
    /// Which peers, of those that are installed
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where the table goes
    #[arg(long, default_value = "benches/RESULTS.md")]
    out: PathBuf,
    /// The lb to measure
    #[arg(long, default_value = "target/release/lb")]
    lb: PathBuf,
}

#[derive(Subcommand)]
enum Hidden {
    /// A cheap origin (compare starts it itself)
    #[command(hide = true)]
    Origin {
        /// Its port
        port: u16,
    },
}

/// The core of the proxy under test.
const PROXY_CORE: usize = 1;
/// The core of the load and the origins.
const LOAD_CORE: usize = 0;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Hidden::Origin { port }) = args.command {
        return origin::run(port);
    }
    if std::thread::available_parallelism()?.get() < 2 {
        bail!("expected at least two cores: one for the proxy, one for the load");
    }
    let cases = args
        .cases
        .iter()
        .map(|name| Case::parse(name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (peers, absent) = peers::installed(&args.lb, &args.peers)?;
    let origins = origin::Origins::start(LOAD_CORE, 3)?;
    let mut results = Vec::new();
    for case in cases {
        println!("{}: {}", case.name(), case.describe());
        results.push((case, run_case(&args, case, &peers, &origins)?));
    }
    let table = report::markdown(&results, &peers, &absent, args.rounds, args.seconds, args.connections);
    println!("\n{table}");
    std::fs::write(&args.out, report::page(&table)).with_context(|| format!("cannot write {}", args.out.display()))
}

/// Loads every peer that can do the case, round by round. The samples are in the order of the peers; a peer that cannot has none.
fn run_case(args: &Args, case: Case, peers: &[Box<dyn Peer>], origins: &origin::Origins) -> anyhow::Result<Vec<Vec<Sample>>> {
    let mut running = Vec::new();
    for peer in peers {
        let process = if peer.can(case) {
            Some(peers::start(peer.as_ref(), case, &origins.ports, PROXY_CORE)?)
        } else {
            None
        };
        running.push(process);
    }
    let mut samples: Vec<Vec<Sample>> = peers.iter().map(|_| Vec::new()).collect();
    for process in running.iter().flatten() {
        // The cache is filled and the code is warm before anything counts.
        load::run(
            case,
            process.port,
            LOAD_CORE,
            args.connections,
            Duration::from_secs(2),
            process.dir.path(),
        )?;
    }
    for round in 1..=args.rounds {
        for (index, process) in running.iter().enumerate() {
            let Some(process) = process else { continue };
            let before = measure::cpu(process.pid())?;
            let load = load::run(
                case,
                process.port,
                LOAD_CORE,
                args.connections,
                Duration::from_secs(args.seconds),
                process.dir.path(),
            )?;
            let cpu = measure::cpu(process.pid())? - before;
            let sample = Sample::new(load, cpu, measure::peak_memory(process.pid())?);
            println!("  round {round} {:<8} {sample}", peers[index].name());
            samples[index].push(sample);
        }
    }
    Ok(samples)
}
