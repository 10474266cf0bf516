//! `compare`: `lb` beside its peers, doing the same job on the same machine in the same minutes.
//!
//! Every proxy runs on one core of its own with the load and the origin on another. The proxies of a case are all started before it and
//! then loaded in turns, round by round, so that a machine that is slow for a while is slow for all; what is compared are medians over
//! the rounds. The figure that says most is the CPU time a request, because it does not depend on how fast the load is.
//! `benches/README.md` says what each case is and how to read the result.
#![allow(clippy::print_stdout)]

mod api;
mod case;
mod certificate;
mod disturbance;
mod load;
mod machine;
mod measure;
mod origin;
mod peers;
mod report;
mod run;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

use case::Case;
use run::Bench;

/// Compares lb with its peers.
#[derive(Parser)]
#[command(after_help = "Example:\n  compare --case proxy,hit --peer nginx,haproxy,lb --seconds 5 --rounds 1")]
struct Args {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// Rounds of each case: every peer is loaded once a round [default: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of load for each peer and round [default: 3]
    #[arg(long)]
    seconds: Option<u64>,
    /// One round of one second: for a first look
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Which cases; api stands for both of the API [default: all]
    #[arg(long = "case", alias = "cases", value_delimiter = ',', value_name = "NAME")]
    cases: Vec<String>,
    /// Which peers [default: all that are installed]
    #[arg(long = "peer", alias = "peers", value_delimiter = ',', value_name = "NAME")]
    peers: Vec<String>,
    /// Where the tables go [default: benches/RESULTS.md, when all cases of all peers are run; else nowhere]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The lb to measure
    #[arg(long, default_value = "target/release/lb")]
    lb: PathBuf,
    /// The backend to measure
    #[arg(long, default_value = "target/release/backend")]
    backend: PathBuf,
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

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Hidden::Origin { port }) = args.command {
        return origin::run(port);
    }
    let everything = args.cases.is_empty() && args.peers.is_empty() && !args.quick;
    let mut cases = if args.cases.is_empty() {
        Case::all().to_vec()
    } else {
        args.cases
            .iter()
            .map(|name| Case::parse(name))
            .collect::<anyhow::Result<Vec<_>>>()?
            .concat()
    };
    let api_named = cases.iter().all(|case| case.api());
    let api = if cases.iter().any(|case| case.api()) {
        api::Api::find(&args.backend, api_named)?
    } else {
        None
    };
    if api.is_none() {
        cases.retain(|case| !case.api());
    }
    let (peers, absent) = peers::installed(&args.lb, api.as_ref(), &args.peers)?;
    let open_files = machine::prepare()?;
    let once = if args.quick { 1 } else { 3 };
    let mut bench = Bench::start(
        peers,
        api,
        !args.peers.is_empty(),
        args.rounds.unwrap_or(once),
        args.seconds.unwrap_or(once as u64),
        args.connections,
        open_files,
    )?;
    for together in cases.chunk_by(|one, other| one.beside(*other)) {
        bench.run(together)?;
    }
    let tables = report::markdown(&bench, &absent);
    println!("\n{tables}");
    let out = args.out.or_else(|| everything.then(|| PathBuf::from("benches/RESULTS.md")));
    match out {
        Some(out) => std::fs::write(&out, report::page(&tables)).with_context(|| format!("cannot write {}", out.display())),
        None => Ok(()),
    }
}
