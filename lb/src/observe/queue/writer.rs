//! The thread that writes.
//!
//! What it does about a write that fails:
//!
//! - **nobody reads any more** (`EPIPE`): what was to be written is lost and counted. A reader that comes later starts with a whole line.
//! - **anything else** (a full disk, a descriptor that somebody made non-blocking): it waits and tries the same bytes again, so that a
//!   half-written line gets its other half. Meanwhile the queue fills, and senders drop and count. A SIGUSR1 may bring another file, in
//!   which the half-written line starts again. Once nobody can send any more, it gives up after a while, and counts what it holds.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::sink::{Reopened, Sink};
use super::{Line, Message, Shared, Trouble};

/// A batch of this size is written before more is taken.
const BATCH_BYTES: usize = 64 * 1024;

/// Before the next write to a pipe that somebody made non-blocking and that is full.
const SLOW_READER_PAUSE: Duration = Duration::from_millis(10);

/// The receiving end.
pub(super) struct Writer<T: Line, S: Sink> {
    name: &'static str,
    messages: Receiver<Message<T>>,
    shared: Arc<Shared>,
    sink: S,
    scratch: T::Scratch,
    batch: Batch,
    /// Who waits for this batch to be written.
    flushes: Vec<SyncSender<()>>,
    /// The last write failed, and this was reported.
    failing: bool,
    /// It failed because the stream's reader is gone.
    nobody_reads: bool,
    /// The lost lines that the log itself has told of.
    told: u64,
    /// When the writer saw that nobody can send any more.
    closed: Option<Instant>,
}

impl<T: Line, S: Sink> Writer<T, S> {
    pub(super) fn new(name: &'static str, messages: Receiver<Message<T>>, shared: Arc<Shared>, sink: S) -> Self {
        let told = shared.dropped.get();
        Self {
            name,
            messages,
            shared,
            sink,
            scratch: T::Scratch::default(),
            batch: Batch::default(),
            flushes: Vec::new(),
            failing: false,
            nobody_reads: false,
            told,
            closed: None,
        }
    }

    /// Writes until the queue is empty and nobody can send any more.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.messages.recv() {
            self.tell_of_lost();
            self.take(first);
            let mut more = true;
            while more && self.batch.bytes.len() < BATCH_BYTES {
                match self.messages.try_recv() {
                    Ok(next) => self.take(next),
                    Err(_) => more = false,
                }
            }
            self.write_out();
            if !more && self.flushes.is_empty() {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a thread of the log's own, or one that ends: no connection waits for it"
                )]
                thread::sleep(self.shared.limits.linger);
            }
            for flush in self.flushes.drain(..) {
                let _ = flush.try_send(()); // who waited may have given up
            }
        }
    }

    fn take(&mut self, message: Message<T>) {
        match message {
            Message::Line(line) => {
                self.batch.lines += 1;
                self.batch.weight += line.weight() as u64;
                line.write(&mut self.scratch, &mut self.batch.bytes);
                debug_assert!(self.batch.bytes.ends_with(b"\n"));
            }
            Message::Flush(answer) => self.flushes.push(answer),
            Message::Nudge => {}
        }
    }

    fn tell_of_lost(&mut self) {
        let lost = self.shared.dropped.get();
        if lost > self.told {
            T::write_lost(lost - self.told, &mut self.batch.bytes);
            self.told = lost;
        }
    }

    /// Writes the whole batch, or gives it up.
    fn write_out(&mut self) {
        loop {
            if self.shared.reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            if self.batch.rest().is_empty() {
                break;
            }
            match self.sink.write(self.batch.rest()) {
                Ok(bytes) if bytes > 0 => {
                    self.batch.advance(bytes);
                    if std::mem::take(&mut self.failing) {
                        T::report(self.name, Trouble::Over);
                    }
                    continue;
                }
                Ok(_) => self.failed(&ErrorKind::WriteZero.into()),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock => {} // the reader is slow, which is no error
                    _ => self.failed(&error),
                },
            }
            if self.nobody_reads || self.gives_up() {
                break;
            }
            thread::park_timeout(if self.failing {
                self.shared.limits.pause
            } else {
                SLOW_READER_PAUSE
            });
        }
        self.shared.dropped.add(self.batch.unfinished());
        self.shared.load.take(self.batch.lines, self.batch.weight);
        self.batch.clear();
    }

    fn failed(&mut self, error: &io::Error) {
        self.nobody_reads = error.kind() == ErrorKind::BrokenPipe;
        if !std::mem::replace(&mut self.failing, true) {
            T::report(self.name, Trouble::Write(error));
        }
    }

    /// Nobody can send any more, and what was sent could not be written for so long.
    fn gives_up(&mut self) -> bool {
        self.shared.closed.load(Ordering::Acquire) && self.closed.get_or_insert_with(Instant::now).elapsed() >= self.shared.limits.give_up
    }

    fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(Reopened::Other) => self.batch.back_to_line_start(),
            Ok(Reopened::Same) => {}
            Err(error) => T::report(self.name, Trouble::Reopen(&error)),
        }
    }
}
