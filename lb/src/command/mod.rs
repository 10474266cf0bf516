//! The command line: one file a command.
//!
//! Exit codes: 0 done; 1 it ran and failed; 2 the command line or the configuration is wrong. What a command finds goes to standard output,
//! what is wrong to standard error.

mod check;
mod client;
mod explain;
mod purge;
mod reload;
mod run;
mod schema;
mod server;
mod simulate;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand};

/// The exit code for a command line or a configuration that is wrong.
pub(crate) const WRONG: u8 = 2;

/// The version with the revision that it was built from.
static VERSION: LazyLock<String> = LazyLock::new(|| format!("{} ({})", crate::observe::VERSION, crate::observe::REVISION));

/// A load balancer and caching reverse proxy.
#[derive(Parser)]
#[command(name = "lb", version = VERSION.as_str(), propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Example:\n  lb run -c config/lb.toml")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy
    #[command(
        after_help = "Example:\n  lb run -c config/lb.toml\n\nSignals: TERM, INT stop gracefully; HUP reloads; USR1 opens log files anew."
    )]
    Run(FileArgs),
    /// Validate the configuration file
    #[command(after_help = "Example:\n  lb check -c config/lb.toml\n\nPrints `FILE: ok`, or every error with its line and column.")]
    Check(FileArgs),
    /// Say what would become of a request, without sending anything
    #[command(after_help = "Example:\n  lb explain -X POST -H 'Host: api.example.com' http://127.0.0.1:8080/users")]
    Explain(explain::ExplainArgs),
    /// Try the balancing on simulated servers and arrivals
    #[command(after_help = simulate::HELP)]
    Simulate(Box<simulate::SimulateArgs>),
    /// Have a running lb load its file again
    #[command(after_help = "Example:\n  lb reload --admin 127.0.0.1:9901")]
    Reload(AdminArgs),
    /// Show the state of a running lb
    #[command(after_help = "Example:\n  lb status --json | jq '.upstreams[].servers[]'")]
    Status(status::StatusArgs),
    /// Drain servers of a running lb, take them out and in, and change their weights
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        after_help = "Example:\n  lb server list\n  lb server drain --wait users 127.0.0.1:3001\n  lb server ready users 127.0.0.1:3001"
    )]
    Server(server::ServerArgs),
    /// Take stored responses of a running lb out, or mark them stale
    #[command(
        arg_required_else_help = true,
        after_help = "Example:\n  lb purge http://api.example.com/users\n  lb purge --prefix /users/ --soft\n  lb purge --tag user-42"
    )]
    Purge(purge::PurgeArgs),
    /// Print the JSON Schema of the configuration file
    #[command(after_help = "Example:\n  lb schema > lb.schema.json")]
    Schema,
}

/// Which configuration file.
#[derive(Args)]
pub(crate) struct FileArgs {
    /// The configuration file
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        env = "LB_CONFIG",
        default_value = "config/lb.toml"
    )]
    pub(crate) file: PathBuf,
}

/// Which running `lb`.
#[derive(Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// The admin address; without it, the one in the file
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<String>,
    /// The admin token; without it, the one in the file
    #[arg(long, value_name = "TOKEN", env = "LB_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args.file),
        Command::Check(args) => check::run(&args.file),
        Command::Explain(args) => explain::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Server(args) => server::run(&args),
        Command::Purge(args) => purge::run(&args),
        Command::Schema => schema::run(),
    }
}

/// Loads a file, or says what is wrong with it.
fn load(file: &std::path::Path) -> Result<lb_config::Config, ExitCode> {
    lb_config::load(file).map_err(|problems| {
        eprint!("{problems}");
        ExitCode::from(WRONG)
    })
}

/// Writes to standard output; a reader that has gone (`lb status | head`) is no error.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lb: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As one segment of a path, or one value of a query (RFC 3986 §2.1).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_one_segment() {
        assert_eq!(encoded("unix:/run/a b.sock"), "unix%3A%2Frun%2Fa%20b.sock");
        assert_eq!(encoded("[::1]:80"), "%5B%3A%3A1%5D%3A80");
        assert_eq!(encoded("users-1_2.x~"), "users-1_2.x~");
    }
}
