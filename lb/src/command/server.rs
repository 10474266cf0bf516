//! `lb server`: what an operator wants of servers while `lb` runs.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use hyper::StatusCode;

use super::client::{Admin, detail, failed};
use super::status::{fetch, write_upstream};
use super::{AdminArgs, WRONG, encoded, print};
use crate::admin::server::{Change, Wanted};
use crate::admin::status::{ServerStatus, Status};

/// Between two looks at what is under way.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `lb server`.
#[derive(Args)]
pub(super) struct ServerArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List the servers with their state
    #[command(after_help = "Example:\n  lb server list users")]
    List(ListArgs),
    /// Give a server no new request; those under way go on
    #[command(
        override_usage = "lb server drain [OPTIONS] [UPSTREAM] ADDRESS",
        after_help = "Example:\n  lb server drain --wait users 127.0.0.1:3001 && systemctl restart users-1"
    )]
    Drain(OutArgs),
    /// Let a server serve again
    #[command(
        override_usage = "lb server ready [OPTIONS] [UPSTREAM] ADDRESS",
        after_help = "Example:\n  lb server ready users 127.0.0.1:3001"
    )]
    Ready(TargetArgs),
    /// Take a server out: as drain, and shown as down
    #[command(
        override_usage = "lb server down [OPTIONS] [UPSTREAM] ADDRESS",
        after_help = "Example:\n  lb server down users unix:/run/users.sock"
    )]
    Down(OutArgs),
    /// Change a server's weight; 0 gets no new client
    #[command(
        override_usage = "lb server weight [OPTIONS] [UPSTREAM] ADDRESS WEIGHT",
        after_help = "Example:\n  lb server weight users '[::1]:3001' 3"
    )]
    Weight(WeightArgs),
}

#[derive(Args)]
struct ListArgs {
    /// Only this upstream
    upstream: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args)]
struct TargetArgs {
    /// The server's address as `lb status` shows it, after its upstream's name; the name may be left out where there is only one upstream
    #[arg(required = true, num_args = 1..=2, value_name = "[UPSTREAM] ADDRESS")]
    target: Vec<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args)]
struct OutArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Return only when nothing is under way on the server
    #[arg(long)]
    wait: bool,
    /// With --wait: fail when something is still under way after this time, such as 30s
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = time)]
    timeout: Option<Duration>,
}

#[derive(Args)]
struct WeightArgs {
    /// As for the other commands, and the weight last: 0 to 65535
    #[arg(required = true, num_args = 2..=3, value_name = "[UPSTREAM] ADDRESS WEIGHT")]
    target: Vec<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

fn time(text: &str) -> Result<Duration, String> {
    lb_config::units::duration(text).map_err(|error| format!("{error}; expected a duration such as 30s or 5m"))
}

/// Runs one of the commands.
pub(super) fn run(args: &ServerArgs) -> ExitCode {
    let done = match &args.what {
        What::List(args) => list(args),
        What::Ready(target) => order(&target.admin, &target.target, &to(Wanted::Ready), None),
        What::Drain(args) => take_out(args, Wanted::Drain),
        What::Down(args) => take_out(args, Wanted::Down),
        What::Weight(args) => weigh(args),
    };
    done.unwrap_or_else(|code| code)
}

/// What is wrong with the command line, and its exit code.
fn wrong(why: &str) -> ExitCode {
    eprintln!("lb: {why}");
    ExitCode::from(WRONG)
}

fn list(args: &ListArgs) -> Result<ExitCode, ExitCode> {
    let admin = Admin::find(&args.admin)?;
    let (status, _) = fetch(&admin).map_err(|error| failed(&error))?;
    let mut out = String::new();
    for upstream in &status.upstreams {
        if args.upstream.as_ref().is_none_or(|wanted| *wanted == upstream.name) {
            if !out.is_empty() {
                out.push('\n');
            }
            // Writing to a String cannot fail.
            let _ = write_upstream(&mut out, upstream);
        }
    }
    match &args.upstream {
        Some(wanted) if out.is_empty() => {
            let why = format!("there is no upstream {wanted}; there is {}", names(&status));
            Err(failed(&anyhow::anyhow!(why)))
        }
        _ => Ok(print(&out)),
    }
}

fn names(status: &Status) -> String {
    let names: Vec<_> = status.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn to(wanted: Wanted) -> Change {
    Change {
        state: Some(wanted),
        weight: None,
    }
}

fn take_out(args: &OutArgs, wanted: Wanted) -> Result<ExitCode, ExitCode> {
    let target = &args.target;
    let patience = args.wait.then(|| args.timeout.unwrap_or(Duration::MAX));
    order(&target.admin, &target.target, &to(wanted), patience)
}

fn weigh(args: &WeightArgs) -> Result<ExitCode, ExitCode> {
    // clap has seen to it that there are at least two.
    let (weight, target) = args.target.split_last().ok_or_else(|| wrong("expected an ADDRESS and a WEIGHT"))?;
    let number = weight.parse().ok().filter(|weight| *weight <= 65_535u32);
    let number = number.ok_or_else(|| {
        wrong(&format!(
            "bad weight {weight}: expected a whole number from 0 to 65535, after the ADDRESS"
        ))
    })?;
    let change = Change {
        state: None,
        weight: Some(number),
    };
    order(&args.admin, target, &change, None)
}

/// Sends a change, and waits for its effect as long as `patience` says, if it says anything.
fn order(admin: &AdminArgs, target: &[String], change: &Change, patience: Option<Duration>) -> Result<ExitCode, ExitCode> {
    let admin = Admin::find(admin)?;
    let (upstream, address) = match target {
        [upstream, address] => (upstream.clone(), address),
        [address] => (only_upstream(&admin)?, address),
        _ => return Err(wrong("expected [UPSTREAM] ADDRESS")),
    };
    let path = format!("/api/upstreams/{}/servers/{}", encoded(&upstream), encoded(address));
    let server = match admin.post(&path, change) {
        Ok((StatusCode::OK, body)) => serde_json::from_slice::<ServerStatus>(&body)
            .map_err(|error| failed(&anyhow::anyhow!("the answer is not that of an lb of this version: {error}")))?,
        Ok((_, body)) => return Err(failed(&anyhow::anyhow!("{}", detail(&body)))),
        Err(error) => return Err(failed(&error)),
    };
    match patience {
        None => Ok(print(&line(&upstream, &server))),
        Some(patience) => wait(&admin, &upstream, server, patience),
    }
}

fn only_upstream(admin: &Admin) -> Result<String, ExitCode> {
    let (mut status, _) = fetch(admin).map_err(|error| failed(&error))?;
    match status.upstreams.len() {
        1 => Ok(status.upstreams.remove(0).name),
        _ => Err(wrong(&format!("expected UPSTREAM before ADDRESS: one of {}", names(&status)))),
    }
}

/// Looks again and again until nothing is under way on a server that is out.
#[expect(clippy::disallowed_methods, reason = "a command has nothing else to do meanwhile")]
fn wait(admin: &Admin, upstream: &str, mut server: ServerStatus, patience: Duration) -> Result<ExitCode, ExitCode> {
    let began = Instant::now();
    while server.in_flight > 0 {
        if began.elapsed() >= patience {
            let count = server.in_flight;
            return Err(failed(&anyhow::anyhow!(
                "{count} still under way on {} after {patience:?}",
                server.address
            )));
        }
        std::thread::sleep(LOOK.min(patience.saturating_sub(began.elapsed())));
        let (status, _) = fetch(admin).map_err(|error| failed(&error))?;
        let mut found = status.upstreams.into_iter().filter(|state| state.name == upstream);
        let found = found.find_map(|state| state.servers.into_iter().find(|other| other.address == server.address));
        match found {
            Some(now) if now.ordered == "ready" => {
                let why = format!("{} has been made ready again meanwhile", server.address);
                return Err(failed(&anyhow::anyhow!(why)));
            }
            Some(now) => server = now,
            None => {
                let why = format!("{} has been taken out of the configuration meanwhile", server.address);
                return Err(failed(&anyhow::anyhow!(why)));
            }
        }
    }
    Ok(print(&line(upstream, &server)))
}

fn line(upstream: &str, server: &ServerStatus) -> String {
    let ServerStatus {
        address,
        state,
        weight,
        in_flight,
        ..
    } = server;
    format!("{upstream} {address}: {state}, weight {weight}, {in_flight} in flight\n")
}
