//! The access log: a line for each request, written off its path.
//!
//! A request that is over sends a [`Record`] and forgets it; a thread formats and writes (what happens when it cannot is told in
//! `queue`). The forms of a line are told in `format/json.rs` and `format/combined.rs`.
//!
//! The log belongs to the snapshot, like everything that the configuration names. A reload makes the next one from the last
//! ([`AccessLog::reload`]): where the destination stays, both share its writer, so that their lines do not get mixed up; where it is
//! another one, the last log's writer ends by itself when the last request of the old snapshot has.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lb_config::{LogFormat, LogPath};

use super::format::{self, Clock};
use super::metrics::Counter;
use super::queue::{FileSink, Limits, Line, Queue, Trouble};
use super::record::Record;

/// The access log of a snapshot, which may be off.
#[derive(Clone)]
pub struct AccessLog {
    dropped: Arc<Counter>,
    on: Option<On>,
}

#[derive(Clone)]
struct On {
    queue: Arc<Queue<Entry>>,
    config: lb_config::AccessLog,
}

/// The destination cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the access log {} cannot be opened: {source}", name(path))]
pub struct OpenError {
    path: LogPath,
    source: io::Error,
}

impl AccessLog {
    /// Opens what the configuration names (`None`: off). Lost lines are counted in `dropped`, which outlives this log.
    pub fn open(config: Option<&lb_config::AccessLog>, dropped: Arc<Counter>) -> Result<Self, OpenError> {
        let on = config.map(|config| On::open(config, Arc::clone(&dropped))).transpose()?;
        Ok(Self { dropped, on })
    }

    /// The log of the next snapshot. On an error nothing has changed.
    pub fn reload(&self, config: Option<&lb_config::AccessLog>) -> Result<Self, OpenError> {
        if let (Some(on), Some(config)) = (&self.on, config)
            && on.config.path == config.path
        {
            let on = On {
                queue: Arc::clone(&on.queue),
                config: config.clone(),
            };
            return Ok(Self {
                dropped: Arc::clone(&self.dropped),
                on: Some(on),
            });
        }
        Self::open(config, Arc::clone(&self.dropped))
    }

    /// Whether a record would be written. When it would not, none need be built.
    pub fn enabled(&self) -> bool {
        self.on.is_some()
    }

    /// Hands a record to the writer, or drops and counts it. Never waits.
    pub fn send(&self, record: Record) {
        if let Some(on) = &self.on {
            on.queue.send(Entry {
                format: on.config.format,
                record,
            });
        }
    }

    /// Opens the file anew, after a log rotation has renamed it. Standard output stays as it is.
    pub fn reopen(&self) {
        if let Some(on) = &self.on {
            on.queue.reopen();
        }
    }

    /// Waits until what was sent is written, but no longer than `within`. How many lines were not. Blocks the thread: for shutdown.
    pub fn flush(&self, within: Duration) -> u64 {
        self.on.as_ref().map_or(0, |on| on.queue.flush(within))
    }

    /// Lines lost since the process began.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

impl On {
    fn open(config: &lb_config::AccessLog, dropped: Arc<Counter>) -> Result<Self, OpenError> {
        let queue = match &config.path {
            LogPath::Stdout => FileSink::stream(&io::stdout()),
            LogPath::File(path) => FileSink::open(path),
        }
        .and_then(|sink| Queue::start("access log", sink, dropped, Limits::default()))
        .map_err(|source| OpenError {
            path: config.path.clone(),
            source,
        })?;
        Ok(Self {
            queue: Arc::new(queue),
            config: config.clone(),
        })
    }
}

fn name(path: &LogPath) -> std::path::Display<'_> {
    match path {
        LogPath::Stdout => Path::new("standard output").display(),
        LogPath::File(path) => path.display(),
    }
}

/// A record on its way. The format goes with it, as a reload may change it between two of them.
struct Entry {
    format: LogFormat,
    record: Record,
}

impl Line for Entry {
    type Scratch = Clock;

    fn weight(&self) -> usize {
        size_of::<Self>() + self.record.text.len()
    }

    fn write(self, clock: &mut Clock, out: &mut Vec<u8>) {
        format::write(self.format, &self.record, clock, out);
    }

    fn report(name: &str, what: Trouble<'_>) {
        match what {
            Trouble::Write(error) => tracing::warn!(%error, "the {name} cannot be written, lines may be lost"),
            Trouble::Reopen(error) => tracing::error!(%error, "the {name} cannot be opened anew, the old file is kept"),
            Trouble::Over => tracing::info!("the {name} can be written again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::observe::record::tests::example;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn config(path: &Path, format: LogFormat) -> lb_config::AccessLog {
        lb_config::AccessLog {
            path: LogPath::File(path.to_owned()),
            format,
        }
    }

    /// A path where nothing is.
    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lb-access-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_log_that_is_off_wants_no_records() {
        let log = AccessLog::open(None, Arc::default()).unwrap();
        assert!(!log.enabled());
        log.send(example());
        log.reopen();
        assert_eq!((log.flush(PATIENCE), log.dropped()), (0, 0));
    }

    #[test]
    fn a_reload_changes_the_format_without_opening_the_file_again() {
        let path = path("format");
        let json = AccessLog::open(Some(&config(&path, LogFormat::Json)), Arc::default()).unwrap();
        json.send(example());
        let moved = path.with_extension("1");
        fs::rename(&path, &moved).unwrap();
        let combined = json.reload(Some(&config(&path, LogFormat::Combined))).unwrap();
        combined.send(example());
        json.send(example()); // a request that began before the reload
        assert_eq!(combined.flush(PATIENCE), 0);
        let text = fs::read_to_string(&moved).unwrap();
        assert_eq!(text.lines().map(|line| &line[..1]).collect::<String>(), "{1{");
        assert!(!path.exists());
        fs::remove_file(moved).unwrap();
    }

    #[test]
    fn a_reload_to_another_file_loses_nothing_of_the_old_one() {
        let (old_path, new_path) = (path("old"), path("new"));
        let old = AccessLog::open(Some(&config(&old_path, LogFormat::Json)), Arc::default()).unwrap();
        let new = old.reload(Some(&config(&new_path, LogFormat::Json))).unwrap();
        new.send(example());
        old.send(example());
        assert_eq!(old.flush(PATIENCE) + new.flush(PATIENCE), 0);
        assert!(!new.reload(None).unwrap().enabled());
        for path in [old_path, new_path] {
            assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let path = Path::new("/nowhere/access.log");
        let Err(error) = AccessLog::open(Some(&config(path, LogFormat::Json)), Arc::default()) else {
            panic!("it was opened")
        };
        let said = error.to_string();
        assert!(
            said.starts_with("the access log /nowhere/access.log cannot be opened: No such file"),
            "{said}"
        );
    }
}
