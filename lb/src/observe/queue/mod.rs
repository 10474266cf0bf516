//! Lines on their way out, for which nobody waits.
//!
//! Writing to a pipe or a disk may take any time: a reader that was stopped, a full disk, a hung network file system. So whoever has a
//! line hands it to a bounded queue and goes on; one thread for each destination formats and writes. The rules:
//!
//! - **A sender never waits.** Where the queue is full, by lines or by bytes, the line is dropped and counted. The queue is std's bounded
//!   channel, in which a send is a few atomic operations; a lock is taken only to wake a sleeping writer, which it never holds while it
//!   writes.
//! - **A writer is woken rarely.** Waking a thread costs more than a whole request. After a write the writer rests for a few milliseconds
//!   ([`Limits::linger`]), in which senders only fill the queue, and then writes all that has come together.
//! - **A line is whole.** A write that took only a part is continued, whatever happens in between (`writer.rs`).
//! - **Each lost line is counted once**: by the sender that found no place, or by the writer that had to give up.

mod batch;
mod sink;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::metrics::Counter;
pub(super) use sink::FileSink;
use sink::Sink;
use writer::Writer;

/// Something that becomes one line.
pub(super) trait Line: Send + 'static {
    /// What the writer keeps from line to line.
    type Scratch: Default + Send;

    /// The memory that it takes while it waits.
    fn weight(&self) -> usize;

    /// Appends the line: one line feed, at its end. Called on the writer's thread.
    fn write(self, scratch: &mut Self::Scratch, out: &mut Vec<u8>);

    /// Appends a line that says how many were lost since the last such line, for a log that has no other place to say so.
    fn write_lost(_count: u64, _out: &mut Vec<u8>) {}

    /// Tells the operator that writing has become impossible, or possible again. Called once a change, on the writer's thread.
    fn report(_name: &str, _what: Trouble<'_>) {}
}

/// What a writer reports.
pub(super) enum Trouble<'a> {
    /// A write failed.
    Write(&'a io::Error),
    /// The file could not be opened anew; the old one is kept.
    Reopen(&'a io::Error),
    /// Writing succeeds again.
    Over,
}

/// How much a queue holds, and how patient its writer is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Lines that may wait.
    pub(super) lines: usize,
    /// Bytes that they may take together; long lines fill the queue sooner, so that a stall costs no more memory than this.
    pub(super) bytes: u64,
    /// How long a writer rests after a write, for lines to come together.
    pub(super) linger: Duration,
    /// How long a writer waits before it repeats a write that failed.
    pub(super) pause: Duration,
    /// How long a writer goes on trying once nobody can send any more.
    pub(super) give_up: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lines: 8192,
            bytes: 8 << 20,
            linger: Duration::from_millis(5),
            pause: Duration::from_millis(250),
            give_up: Duration::from_secs(5),
        }
    }
}

/// The sending end. When it is dropped, the writer writes what is left and ends.
pub(super) struct Queue<T: Line> {
    messages: SyncSender<Message<T>>,
    shared: Arc<Shared>,
    writer: Thread,
}

/// What goes through the channel.
enum Message<T> {
    /// A line.
    Line(T),
    /// Answer once all that came before has been written.
    Flush(SyncSender<()>),
    /// Look at [`Shared`].
    Nudge,
}

/// What both ends see.
struct Shared {
    limits: Limits,
    load: Load,
    dropped: Arc<Counter>,
    reopen: AtomicBool,
    closed: AtomicBool,
}

impl<T: Line> Queue<T> {
    /// Starts the thread that writes to `sink`.
    pub(super) fn start(name: &'static str, sink: impl Sink, dropped: Arc<Counter>, limits: Limits) -> io::Result<Self> {
        let (messages, receiver) = sync_channel(limits.lines);
        let shared = Arc::new(Shared {
            limits,
            load: Load::default(),
            dropped,
            reopen: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let writer = Writer::new(name, receiver, Arc::clone(&shared), sink);
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        Ok(Self {
            messages,
            shared,
            writer: handle.thread().clone(),
        })
    }

    /// Hands a line over, or drops and counts it.
    pub(super) fn send(&self, line: T) {
        let weight = line.weight() as u64;
        if !self.shared.load.fits(weight, self.shared.limits.bytes) {
            self.shared.dropped.add(1);
            return;
        }
        self.shared.load.add(weight);
        if self.messages.try_send(Message::Line(line)).is_err() {
            self.shared.load.take(1, weight);
            self.shared.dropped.add(1);
        }
    }

    /// Has the file opened anew before the next line is written.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.writer.unpark(); // it may be waiting for a full disk
        let _ = self.messages.try_send(Message::Nudge); // it may be asleep; where the queue is full, it is not
    }

    /// Waits until all lines sent so far are written, but no longer than `within`. How many are still waiting then.
    pub(super) fn flush(&self, within: Duration) -> u64 {
        let deadline = Instant::now() + within;
        let (answer, written) = sync_channel(1);
        let mut message = Message::Flush(answer);
        loop {
            match self.messages.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => message = back,
                Err(_) => return self.shared.load.lines(),
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a thread of the log's own, or one that ends: no connection waits for it"
            )]
            thread::sleep(Duration::from_millis(1));
        }
        match written.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(()) => 0,
            Err(_) => self.shared.load.lines(),
        }
    }

    /// Lines lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.get()
    }
}

impl<T: Line> Drop for Queue<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

/// How much waits, in one number, so that a send pays for one atomic operation: lines in the upper 24 bits, their bytes in the lower 40.
/// The lines cannot overflow, as the channel holds fewer; nor can the bytes, of which each sender adds one line's at most beyond the limit.
#[derive(Default)]
#[repr(align(128))]
struct Load(AtomicU64);

impl Load {
    const LINE: u64 = 1 << 40;
    const BYTES: u64 = Self::LINE - 1;

    fn fits(&self, weight: u64, limit: u64) -> bool {
        (self.0.load(Ordering::Relaxed) & Self::BYTES).saturating_add(weight) <= limit
    }

    fn add(&self, weight: u64) {
        self.0.fetch_add(Self::LINE + weight, Ordering::Relaxed);
    }

    fn take(&self, lines: u64, weight: u64) {
        self.0.fetch_sub(Self::LINE * lines + weight, Ordering::Relaxed);
    }

    fn lines(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / Self::LINE
    }
}

#[cfg(test)]
mod tests;
