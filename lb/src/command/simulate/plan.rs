//! From arguments, and a configuration file, to a plan.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lb_config::{Address, Balance, HashOn, Upstream, UpstreamServer};

use super::grammar::{Change, Rate, Setting, Which};
use super::{SimulateArgs, Stop};
use crate::simulate::{Arrivals, Machine, Plan};

/// Requests that are enough to see a tail.
const REQUESTS: u64 = 100_000;
/// How busy servers are when nobody says.
const BUSY: Rate = Rate::Share(0.5);

/// The plan, and the algorithms to run it with. Arrivals from a log are not in it yet.
pub(super) fn make(args: &SimulateArgs) -> Result<(Plan, Vec<Balance>), Stop> {
    let file = args.file.clone().or_else(|| args.servers.is_none().then(default_file));
    let mut upstream = match &file {
        Some(path) => chosen(super::super::load(path).map_err(Stop::Told)?.upstreams, args.upstream.as_deref())?,
        None => Upstream::plain(args.upstream.as_deref().unwrap_or("servers"), Vec::new()),
    };
    if let Some(servers) = args.servers {
        upstream.servers = (1..=servers).map(made_up).collect();
    }
    let balances = balances(args, &upstream, file.is_some())?;
    let machines = machines(args, &mut upstream)?;
    if upstream.servers.iter().all(|server| server.weight == 0) {
        return Err(Stop::Wrong("every server has the weight 0: none takes requests".into()));
    }
    let mut plan = Plan {
        upstream,
        machines,
        arrivals: Arrivals::Recorded(Vec::new()),
        seed: args.seed,
    };
    if args.log.is_none() {
        plan.arrivals = Arrivals::Random {
            rate: rate(args.rate.unwrap_or(BUSY), &plan)?,
            requests: args.requests.unwrap_or(REQUESTS),
            keys: args.keys,
        };
    }
    Ok((plan, balances))
}

/// As for the other commands.
fn default_file() -> PathBuf {
    std::env::var_os("LB_CONFIG").map_or_else(|| "config/lb.toml".into(), PathBuf::from)
}

/// The upstream of this name, or the only one.
fn chosen(mut upstreams: Vec<Upstream>, name: Option<&str>) -> Result<Upstream, Stop> {
    let names: Vec<String> = upstreams.iter().map(|upstream| upstream.name.to_string()).collect();
    let index = match name {
        Some(name) => names.iter().position(|other| other == name),
        None => (names.len() == 1).then_some(0),
    };
    let expected = || match (&*names, name) {
        ([], _) => "the file has no upstream: expected one, or --servers N".to_owned(),
        (_, Some(name)) => format!("expected an upstream of the file ({}), found {name:?}", names.join(", ")),
        (_, None) => format!(
            "the file has several upstreams: expected --upstream with one of {}",
            names.join(", ")
        ),
    };
    index
        .map(|index| upstreams.swap_remove(index))
        .ok_or_else(|| Stop::Wrong(expected()))
}

/// The nth server that no file has, from 1: 10.0.0.1:80 and so on.
fn made_up(number: u32) -> UpstreamServer {
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
    UpstreamServer {
        address: Address::Ip(SocketAddr::from((address, 80))),
        weight: 1,
        max_connections: None,
        backup: false,
    }
}

fn balances(args: &SimulateArgs, upstream: &Upstream, from_file: bool) -> Result<Vec<Balance>, Stop> {
    let hash_on = || upstream.balance.hash_on().cloned().unwrap_or(HashOn::ClientIp);
    let named = |name: &str| {
        let wrong = || Stop::Wrong(format!("expected an algorithm ({}), found {name:?}", Balance::names().join(", ")));
        Balance::named(name, hash_on()).ok_or_else(wrong)
    };
    if !args.algorithms.is_empty() {
        args.algorithms.iter().map(|name| named(name)).collect()
    } else if args.compare || !from_file {
        Balance::names().iter().map(|name| named(name)).collect()
    } else {
        Ok(vec![upstream.balance.clone()])
    }
}

fn machines(args: &SimulateArgs, upstream: &mut Upstream) -> Result<Vec<Machine>, Stop> {
    let servers = upstream.servers.len();
    let of = |which: Which, option: &str| which.of(servers).map_err(|why| Stop::Wrong(format!("{option}: {why}")));
    let mut machines = vec![Machine::new(args.latency, args.workers.0); servers];
    for Setting(which, change) in &args.settings {
        for index in of(*which, "--server")? {
            let (server, machine) = (&mut upstream.servers[index], &mut machines[index]);
            match change {
                Change::Latency(latency) => machine.latency = *latency,
                Change::Workers(workers) => machine.workers = workers.0,
                Change::Weight(weight) => server.weight = *weight,
                Change::MaxConnections(most) => server.max_connections = *most,
            }
        }
    }
    for slow in &args.slow {
        for index in of(slow.0, "--slow")? {
            machines[index].latency = machines[index].latency.times(slow.1);
        }
    }
    for fail in &args.fail {
        for index in of(fail.0, "--fail")? {
            machines[index].fail = fail.1;
        }
    }
    for down in &args.down {
        for index in of(down.0, "--down")? {
            machines[index].down.push(down.1);
        }
    }
    Ok(machines)
}

fn rate(rate: Rate, plan: &Plan) -> Result<f64, Stop> {
    match (rate, plan.capacity()) {
        (Rate::Number(rate), _) => Ok(rate),
        (Rate::Share(share), Some(capacity)) => Ok(share * capacity),
        (Rate::Share(_), None) => Err(Stop::Wrong(
            "servers with any number of workers have no limit: expected a --rate in requests a second, such as 5000/s".into(),
        )),
    }
}
