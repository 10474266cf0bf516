//! What choosing a server costs: every algorithm, over 3, 100 and 1,000 servers.
//!
//! `pick` is what a request pays: the lock, the choice, the count, and the count's return when the lease ends. `algorithm` is the choice alone,
//! over the same plain data.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lb::balance::{Entrant, Field, Latency, build, hash_key, rank, shares};
use lb::observe::Metrics;
use lb::upstream::{Discovery, Registry, Upstream, Wanted, resolve};
use lb_config::Balance;
use rand::SeedableRng;
use rand::rngs::SmallRng;

const ALGORITHMS: [&str; 7] = ["least_conn", "round_robin", "random", "p2c", "ewma", "hash", "maglev"];
const SERVERS: [usize; 3] = [3, 100, 1000];

/// What a configuration file with so many equal servers says of its upstream.
fn configured(balance: &str, servers: usize) -> Result<lb_config::Upstream, String> {
    let mut list = String::new();
    for n in 0..servers {
        let _ = write!(list, "\"10.0.{}.{}:80\", ", n / 250, n % 250 + 1);
    }
    let text = format!("[server]\nlisten = [\"127.0.0.1:8080\"]\n[upstreams.app]\nbalance = \"{balance}\"\nservers = [{list}]\n");
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("lb.toml");
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    let mut config = lb_config::load(&path).map_err(|problems| problems.to_string())?;
    config.upstreams.pop().ok_or_else(|| "no upstream".to_owned())
}

/// Over live state as it is in a server that has requests under way everywhere.
fn upstream(config: &lb_config::Upstream) -> Result<Arc<Upstream>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let resolved = runtime
        .block_on(resolve(config, &Discovery::new(Metrics::new())))
        .map_err(|error| error.to_string())?;
    Ok(Registry::new().build(config, &resolved, None))
}

fn pick(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick");
    for name in ALGORITHMS {
        for servers in SERVERS {
            let upstream = match configured(name, servers).and_then(|config| upstream(&config)) {
                Ok(upstream) => upstream,
                Err(why) => return eprintln!("{name} over {servers} servers: {why}"),
            };
            let held: Vec<_> = (0..2 * servers as u64).map(|n| upstream.pick(&wanted(n))).collect();
            let mut n = 0;
            group.bench_function(BenchmarkId::new(name, servers), |b| {
                b.iter(|| {
                    n += 1;
                    black_box(upstream.pick(&wanted(n)))
                });
            });
            drop(held);
        }
    }
    group.finish();
}

/// A request with a key of its own.
fn wanted(n: u64) -> Wanted<'static> {
    Wanted {
        hash: hash_key(&n.to_le_bytes()),
        ..Wanted::default()
    }
}

fn algorithm(c: &mut Criterion) {
    let mut group = c.benchmark_group("algorithm");
    for name in ALGORITHMS {
        for servers in SERVERS {
            let balance = match configured(name, servers) {
                Ok(config) => config.balance,
                Err(why) => return eprintln!("{name} over {servers} servers: {why}"),
            };
            let mut plain = Plain::new(servers);
            let algorithm = plain.algorithm(&balance);
            let mut n = 0u64;
            group.bench_function(BenchmarkId::new(name, servers), |b| {
                b.iter(|| {
                    n += 1;
                    let hash = hash_key(&n.to_le_bytes());
                    let (mut field, random) = plain.field();
                    black_box(algorithm.pick(&mut field, hash, random))
                });
            });
        }
    }
    group.finish();
}

/// The data that algorithms see, of equal servers with one request each.
struct Plain {
    weights: Vec<u32>,
    ranks: Vec<u32>,
    shares: Vec<i32>,
    turns: Vec<i32>,
    latencies: Vec<Latency>,
    now: Instant,
    random: SmallRng,
}

impl Plain {
    fn new(servers: usize) -> Self {
        let (weights, now) = (vec![1; servers], Instant::now());
        let mut latencies = vec![Latency::default(); servers];
        for latency in &mut latencies {
            latency.observe(Duration::from_millis(10), true, now);
        }
        Self {
            ranks: weights.iter().map(|weight| rank(1, *weight)).collect(),
            shares: shares(&weights),
            turns: vec![0; servers],
            latencies,
            now,
            random: SmallRng::seed_from_u64(1),
            weights,
        }
    }

    fn algorithm(&self, balance: &Balance) -> Box<dyn lb::balance::Algorithm> {
        let entrants = self.weights.iter().enumerate();
        let entrants = entrants.map(|(position, weight)| Entrant {
            position,
            weight: *weight,
            name: format!("10.0.{}.{}:80", position / 250, position % 250 + 1).into(),
        });
        build(balance, &entrants.collect::<Vec<_>>(), self.weights.len())
    }

    fn field(&mut self) -> (Field<'_>, &mut SmallRng) {
        let field = Field {
            ranks: &self.ranks,
            weights: &self.weights,
            shares: &self.shares,
            // Their weights are 1, and so are their loads.
            loads: &self.weights,
            latencies: &self.latencies,
            now: self.now,
            turns: &mut self.turns,
        };
        (field, &mut self.random)
    }
}

/// Short: medians move by a few per cent, and everything takes about a minute.
fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20)
}

criterion_group! {
    name = benches;
    config = settings();
    targets = pick, algorithm
}
criterion_main!(benches);
