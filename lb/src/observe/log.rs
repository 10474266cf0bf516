//! `lb`'s own log: what an operator should know, on standard error.
//!
//! ```text
//! 2026-01-02T03:04:05.678901Z  WARN lb::upstream: server is unhealthy upstream="users" server="127.0.0.1:3001"
//! ```
//!
//! Code says what happened with `tracing`'s macros. Libraries that use the older `log` crate, pingora above all, come through a bridge
//! into the same lines; what pingora says below a warning is about its own workings, and is shown only to those who ask for `debug`.
//!
//! Lines go through the same kind of queue as the access log's, so that a terminal that was stopped with Ctrl-S stops nothing else. A
//! line stays one line: control characters in it, which may come from a client, are shown as `\n` or `\xNN`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lb_config::LogLevel;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use super::metrics::Counter;
use super::queue::{FileSink, Limits, Line, Queue};

/// The running log. Dropping it stops nothing.
pub struct Handle {
    level: reload::Handle<Targets, Registry>,
    lines: Lines,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// No standard error, or no thread to write to it.
    #[error("standard error cannot be written to: {0}")]
    Writer(#[from] io::Error),
    /// This process has a log already.
    #[error("the process has a log already")]
    Twice,
}

/// Starts the log of this process.
pub fn init(level: LogLevel) -> Result<Handle, InitError> {
    let queue = Queue::start(
        "log",
        FileSink::stream(&io::stderr())?,
        Arc::new(Counter::default()),
        Limits::default(),
    )?;
    let (subscriber, handle) = build(level, Lines(Arc::new(queue)));
    subscriber.try_init().map_err(|_| InitError::Twice)?;
    handle.set_level(level);
    Ok(handle)
}

impl Handle {
    /// Changes the least severe level that is written.
    pub fn set_level(&self, level: LogLevel) {
        let _ = self.level.reload(filter(level)); // fails only where there is no log any more
        ::log::set_max_level(for_log_crate(level));
    }

    /// Waits until what was said is written, but no longer than `within`. How many lines were not. Blocks the thread: for shutdown.
    pub fn flush(&self, within: Duration) -> u64 {
        self.lines.0.flush(within)
    }

    /// Lines lost since the process began.
    pub fn dropped(&self) -> u64 {
        self.lines.0.dropped()
    }
}

fn build(level: LogLevel, lines: Lines) -> (impl Subscriber + Send + Sync, Handle) {
    let (levels, handle) = reload::Layer::new(filter(level));
    let text = fmt::layer().with_ansi(false).with_writer(lines.clone());
    (
        tracing_subscriber::registry().with(levels).with(text),
        Handle { level: handle, lines },
    )
}

fn filter(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let pingora = if ours >= LevelFilter::DEBUG {
        ours
    } else {
        ours.min(LevelFilter::WARN)
    };
    Targets::new().with_default(ours).with_target("pingora", pingora) // a prefix: pingora_core and the others too
}

fn for_log_crate(level: LogLevel) -> ::log::LevelFilter {
    match level {
        LogLevel::Error => ::log::LevelFilter::Error,
        LogLevel::Warn => ::log::LevelFilter::Warn,
        LogLevel::Info => ::log::LevelFilter::Info,
        LogLevel::Debug => ::log::LevelFilter::Debug,
        LogLevel::Trace => ::log::LevelFilter::Trace,
    }
}

/// Takes formatted lines: tracing writes each of them in one piece.
#[derive(Clone)]
struct Lines(Arc<Queue<Formatted>>);

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(Formatted(line.into()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Formatted(Box<[u8]>);

impl Line for Formatted {
    type Scratch = ();

    fn weight(&self) -> usize {
        size_of::<Self>() + self.0.len()
    }

    fn write(self, (): &mut (), out: &mut Vec<u8>) {
        for &byte in self.0.strip_suffix(b"\n").unwrap_or(&self.0) {
            match byte {
                b'\n' | b'\r' | b'\t' | 0..b' ' | 0x7f => out.extend(byte.escape_ascii()),
                _ => out.push(byte),
            }
        }
        out.push(b'\n');
    }

    fn write_lost(count: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{count} lines of this log were lost here: it could not be written fast enough\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// What the log writes while `say` runs.
    fn written(level: LogLevel, say: impl FnOnce(&Handle)) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let sink = FileSink::stream(&writer).unwrap();
        drop(writer);
        let queue = Queue::start("test", sink, Arc::new(Counter::default()), Limits::default()).unwrap();
        let (subscriber, handle) = build(level, Lines(Arc::new(queue)));
        tracing::subscriber::with_default(subscriber, || say(&handle));
        drop(handle); // the last sender: the writer ends, and with it the pipe
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    fn say_all() {
        tracing::error!(target: "lb::server", number = 7, name = "a b", "an error");
        tracing::info!(target: "lb::server", "an info");
        tracing::debug!(target: "lb::server", "a debug");
        tracing::warn!(target: "pingora_core::server", "a pingora warning");
        tracing::info!(target: "pingora_core::server", "a pingora info");
    }

    fn messages(text: &str) -> Vec<&str> {
        text.lines().map(|line| line.rsplit_once(": ").unwrap().1).collect()
    }

    #[test]
    fn a_line_has_time_level_target_message_and_fields() {
        let text = written(LogLevel::Error, |_| say_all());
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{text}");
        assert_eq!(rest, "ERROR lb::server: an error number=7 name=\"a b\"\n");
    }

    #[test]
    fn pingora_is_heard_below_a_warning_only_when_debug_is_asked_for() {
        let text = written(LogLevel::Info, |_| say_all());
        assert_eq!(messages(&text), ["an error number=7 name=\"a b\"", "an info", "a pingora warning"]);
        let text = written(LogLevel::Debug, |_| say_all());
        assert_eq!(messages(&text).len(), 5);
    }

    #[test]
    fn the_level_changes_while_it_runs() {
        let text = written(LogLevel::Error, |handle| {
            say_all();
            let _ = handle.level.reload(filter(LogLevel::Warn));
            say_all();
        });
        let error = "an error number=7 name=\"a b\"";
        assert_eq!(messages(&text), [error, error, "a pingora warning"]);
    }

    #[test]
    fn a_message_cannot_forge_a_line_or_command_a_terminal() {
        let text = written(LogLevel::Info, |_| tracing::warn!(target: "lb", "bad\n2026 INFO fine\x1b[2J\té"));
        assert_eq!(text.lines().count(), 1);
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text}");
        assert!(text.contains("2026 INFO fine") && text.contains('é'), "{text}");
    }
}
