//! The log on standard output: one line a request and one for everything else worth telling.
//!
//! Whoever reads standard output may be slow, or stop reading. A request must not wait for that, so lines go through a bounded
//! queue to a thread that writes them; when the queue is full they are dropped and counted. Lines about requests are written by
//! hand, since there is one each time and a general formatter takes longer than the request itself; all others come from
//! `tracing`, in the same form.

mod request;
mod writer;

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

pub use request::RequestLine;
use writer::Writer;

use crate::settings::{LogFormat, LogSettings};

/// The log of the process.
#[derive(Clone)]
pub struct Log {
    settings: LogSettings,
    writer: Writer,
}

impl Log {
    /// Starts the thread that writes.
    pub fn start(settings: LogSettings) -> Self {
        Self {
            settings,
            writer: Writer::start(std::io::stdout()),
        }
    }

    /// Makes it the destination of `tracing`. Only the first call in a process has an effect.
    pub fn install(&self) {
        let builder = tracing_subscriber::fmt()
            .with_max_level(self.settings.level)
            .with_writer(self.writer.clone());
        let installed = match self.settings.format {
            LogFormat::Json => builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish()
                .try_init(),
            LogFormat::Pretty => builder.with_ansi(std::io::stdout().is_terminal()).finish().try_init(),
        };
        // It fails when tracing has a destination already, as in tests.
        let _ = installed;
    }

    /// Writes the line of one request.
    pub fn request(&self, line: &RequestLine<'_>) {
        if self.settings.level < LevelFilter::INFO {
            return;
        }
        self.writer.send(match self.settings.format {
            LogFormat::Json => line.json(),
            LogFormat::Pretty => line.pretty(),
        });
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Waits, though not for long, until everything is written.
    pub fn flush(&self) {
        self.writer.flush();
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
