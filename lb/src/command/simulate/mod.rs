//! `lb simulate`: what a configuration's balancing would do, in simulated time. The simulation itself is [`crate::simulate`].

mod grammar;
mod plan;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lb_config::Balance;

use super::{WRONG, print};
use crate::simulate::{self, Latency, Outcome, Plan, plot, report};
use grammar::{Down, Fail, Rate, Setting, Slow, Workers};

/// What `--help` ends with.
pub(super) const HELP: &str = "\
Examples:
  lb simulate -c config/lb.toml --compare
  lb simulate --servers 10 --slow 1:20x --rate 2000/s --plot latency.svg
  lb simulate -c config/lb.toml --log access.log --down 2@10s..20s --json

Which servers N is: a number (3), several (3-5) or all of them (*), in the order of the file.
Latencies: 10ms, uniform(5ms, 20ms), exponential(10ms), lognormal(10ms, 0.5): median and deviation of the logarithm,
pareto(5ms, 1.5): least and shape.

Simulated: the algorithms, weights, max_connections, adaptive_concurrency, backup servers, the queue, health checks, passive
health, retries with their budget and pauses, timeouts.read and timeouts.request, by the code that serves requests or by its
rules. Not simulated, and left out: the time to connect, caching, hedges, the circuit breaker, more than one lb.";

/// Arguments of `lb simulate`.
#[derive(Args)]
pub(super) struct SimulateArgs {
    /// The configuration file; without it and without --servers, LB_CONFIG or config/lb.toml
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The upstream, where the file has several
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// So many servers of weight 1, instead of the file's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    servers: Option<u32>,
    /// The algorithm; may repeat. Without it: the file's, or all without a file
    #[arg(long = "algorithm", value_name = "NAME")]
    algorithms: Vec<String>,
    /// All algorithms
    #[arg(long, conflicts_with = "algorithms")]
    compare: bool,
    /// How long a worker of a server takes for a request
    #[arg(long, value_name = "LATENCY", default_value = "lognormal(10ms, 0.5)")]
    latency: Latency,
    /// Requests that a server works on at once; the others wait in it. Or unlimited
    #[arg(long, value_name = "N", default_value = "16")]
    workers: Workers,
    /// What is different about a server: latency, workers, weight, max_connections; may repeat
    #[arg(long = "server", value_name = "N:KEY=VALUE")]
    settings: Vec<Setting>,
    /// A server is so many times slower; may repeat
    #[arg(long, value_name = "N:FACTORx")]
    slow: Vec<Slow>,
    /// This share of a server's answers are a 503; may repeat
    #[arg(long, value_name = "N:PERCENT%")]
    fail: Vec<Fail>,
    /// A server is down from one time to another: what it works on is cut, connections are refused; may repeat
    #[arg(long, value_name = "N@FROM..TO")]
    down: Vec<Down>,
    /// Requests a second, at random times, or a share of what the servers can do [default: 50%]
    #[arg(long, value_name = "RATE", conflicts_with = "log")]
    rate: Option<Rate>,
    /// How many requests [default: 100000, or all of the log]
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// How many different clients, or whatever hash_on names, the requests have
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "log")]
    keys: u32,
    /// Requests as in this access log of lb's, JSON or combined; - is standard input
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The same seed gives the same output
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw the latencies into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Simulates and prints what came of it.
pub(super) fn run(args: &SimulateArgs) -> ExitCode {
    match simulate(args) {
        Ok(text) => print(&text),
        Err(Stop::Told(code)) => code,
        Err(Stop::Wrong(why)) => {
            eprintln!("lb: {why}");
            ExitCode::from(WRONG)
        }
        Err(Stop::Failed(why)) => {
            eprintln!("lb: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Why there is nothing to print.
enum Stop {
    /// What was wrong has been printed already.
    Told(ExitCode),
    /// The arguments, or the configuration.
    Wrong(String),
    /// Anything else.
    Failed(String),
}

fn simulate(args: &SimulateArgs) -> Result<String, Stop> {
    let (mut plan, balances) = plan::make(args)?;
    if let Some(path) = &args.log {
        plan.arrivals = from_log(args, path, &plan)?;
    }
    let outcomes = with_progress(&plan, &balances);
    let heading = report::heading(&plan);
    if let Some(path) = &args.plot {
        let failed = |error: io::Error| Stop::Failed(format!("cannot write {}: {error}", path.display()));
        fs::write(path, plot::svg(&heading, &outcomes)).map_err(failed)?;
    }
    if args.json {
        Ok(format!("{:#}\n", report::to_json(&plan, &outcomes)))
    } else {
        Ok(format!("{heading}\n{}", report::table(&plan, &outcomes)))
    }
}

/// The requests of a log; what could not be used is told on standard error.
fn from_log(args: &SimulateArgs, path: &Path, plan: &Plan) -> Result<simulate::Arrivals, Stop> {
    let want = simulate::log::Want {
        upstream: args.servers.is_none().then_some(&*plan.upstream.name),
        hash_on: plan.upstream.balance.hash_on().unwrap_or(&lb_config::HashOn::ClientIp),
    };
    let read = match path.as_os_str() == "-" {
        true => simulate::log::read(io::stdin().lock(), want),
        false => File::open(path).and_then(|file| simulate::log::read(BufReader::new(file), want)),
    };
    let reading = read.map_err(|error| Stop::Failed(format!("cannot read {}: {error}", path.display())))?;
    if reading.elsewhere > 0 {
        eprintln!(
            "lb: {}: left out {} requests that went to no server of this upstream",
            path.display(),
            reading.elsewhere
        );
    }
    if let Some((line, why)) = reading.first_bad {
        eprintln!(
            "lb: {}: left out {} lines that are no requests, the first is line {line}: {why}",
            path.display(),
            reading.bad
        );
    }
    let mut arrivals = reading.arrivals;
    arrivals.truncate(args.requests.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX));
    if arrivals.is_empty() {
        return Err(Stop::Failed(format!("{} has no request to simulate", path.display())));
    }
    Ok(simulate::Arrivals::Recorded(arrivals))
}

/// Where standard error is a terminal, it shows how far things are.
fn with_progress(plan: &Plan, balances: &[Balance]) -> Vec<Outcome> {
    let total = plan.arrivals.count().saturating_mul(balances.len() as u64);
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} requests, {eta} left") {
        bar.set_style(style);
    }
    let outcomes = simulate::compare(plan, balances, &|more| bar.inc(more));
    bar.finish_and_clear();
    outcomes
}
