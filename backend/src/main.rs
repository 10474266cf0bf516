//! `backend`: arguments become one of the commands, and its outcome an exit code.

use std::io::{BufRead, Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use backend::auth::password::{Busy, Hasher};
use backend::log::Log;
use backend::serve;
use backend::settings::{Cli, Command, DatabaseSettings, Mistakes, Settings};
use backend::store;
use backend::users::{Email, Name, NewUser, Password};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => match Settings::serve(&args, |name| std::env::var_os(name)) {
            Ok(settings) => {
                let log = Log::start(settings.log);
                log.install();
                finish(&log, serve(settings, log.clone()))
            }
            Err(mistakes) => refuse(&mistakes),
        },
        Command::Migrate(args) => match Settings::migrate(&args) {
            Ok((database, settings)) => {
                let log = Log::start(settings);
                log.install();
                finish(&log, migrate(database))
            }
            Err(mistakes) => refuse(&mistakes),
        },
        Command::CreateAdmin(args) => match Settings::create_admin(&args) {
            Ok((database, settings, name, email)) => {
                let log = Log::start(settings);
                log.install();
                finish(&log, create_admin(database, name, email))
            }
            Err(mistakes) => refuse(&mistakes),
        },
    }
}

/// Runs a command to its end.
fn finish(log: &Log, command: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(command));
    log.flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// The settings are wrong: nothing was started.
fn refuse(mistakes: &Mistakes) -> ExitCode {
    for mistake in mistakes.to_string().lines() {
        eprintln!("error: {mistake}");
    }
    ExitCode::from(2)
}

async fn serve(settings: Settings, log: Log) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    serve::serve(settings, log, stop).await
}

async fn migrate(settings: DatabaseSettings) -> anyhow::Result<()> {
    store::open(&settings).migrate().await?;
    writeln!(std::io::stdout(), "the database's schema is up to date")?;
    Ok(())
}

async fn create_admin(settings: DatabaseSettings, name: Name, email: Email) -> anyhow::Result<()> {
    let mut line = String::new();
    // A password is never as long; without a bound, a mistaken redirection could fill the memory.
    std::io::stdin()
        .lock()
        .take(4096)
        .read_line(&mut line)
        .context("cannot read the password from standard input")?;
    let text = line
        .strip_suffix('\n')
        .map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    let password = Password::new(text).map_err(|expected| anyhow::anyhow!("the password on standard input: {expected}"))?;
    let hash = Hasher::new().hash(password.as_str()).await;
    let hash = hash.map_err(|Busy| anyhow::anyhow!("cannot hash the password: there is no memory for it"))?;
    let store = store::open(&settings);
    store.migrate().await?;
    let new = NewUser {
        name,
        email,
        password: Some(password),
    };
    let admin = store.make_admin(&new, &hash).await?;
    store.close().await;
    writeln!(std::io::stdout(), "{} is an administrator (user {})", admin.email, admin.id)?;
    Ok(())
}
