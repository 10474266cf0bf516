//! `backend`: arguments become one of the commands, and its outcome an exit code.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use backend::log::Log;
use backend::serve;
use backend::settings::{Cli, Command, DatabaseSettings, Mistakes, Settings};
use backend::store;
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
