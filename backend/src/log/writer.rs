//! The bounded queue between those who log and the thread that writes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Lines that may wait.
const QUEUE: usize = 8192;
/// Bytes that are written at once when lines come faster than they are written.
const BATCH: usize = 64 * 1024;
/// How long the first line of a batch waits for others. To wake the thread for each line costs more than to write it.
const GATHER: Duration = Duration::from_millis(2);
/// How long the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    /// Answer when everything before this is written.
    Flush(SyncSender<()>),
}

/// The end of the queue that takes lines.
#[derive(Clone)]
pub(super) struct Writer {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    /// Starts a thread that writes to `out` until the last clone of this writer is gone.
    pub(super) fn start(out: impl Write + Send + 'static) -> Self {
        let (queue, lines) = sync_channel(QUEUE);
        let dropped = Arc::default();
        let lost = Arc::clone(&dropped);
        let spawned = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&lines, out, &lost));
        // Without the thread the queue has no reader: lines are counted as dropped, and the server works on.
        drop(spawned);
        Self { queue, dropped }
    }

    /// Takes one line with its line feed, or drops and counts it.
    pub(super) fn send(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(Message::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // Either outcome ends the wait.
            let _ = wait.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// For `tracing`, which writes a whole line in one call.
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(lines: &Receiver<Message>, mut out: impl Write, lost: &AtomicU64) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(first) = lines.recv() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread of the log's own, or one that ends: no connection waits for it"
        )]
        std::thread::sleep(GATHER);
        let (mut flushed, mut taken) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    taken += 1;
                    batch.extend_from_slice(&line);
                }
                Message::Flush(done) => flushed.push(done),
            }
            next = if batch.len() < BATCH { lines.try_recv().ok() } else { None };
        }
        // A closed standard output is no reason to stop serving. Some of the lines may have come out; which, nobody can tell.
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            lost.fetch_add(taken, Ordering::Relaxed);
        }
        batch.clear();
        for done in flushed {
            let _ = done.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic elsewhere").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let memory = Memory::default();
        let writer = Writer::start(memory.clone());
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            writer.send(line.clone().into_bytes());
        }
        writer.flush();
        assert_eq!(
            String::from_utf8_lossy(&memory.0.lock().expect("no panic elsewhere")),
            lines.concat()
        );
        assert_eq!(writer.dropped(), 0);
    }

    /// Takes nothing.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let writer = Writer::start(Closed);
        for _ in 0..10 {
            writer.send(b"line\n".to_vec());
        }
        writer.flush();
        assert_eq!(writer.dropped(), 10);
    }

    /// Blocks until the other end of the channel is gone.
    struct Stalled(Mutex<Receiver<()>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.lock().expect("no panic elsewhere").recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_delays_nobody_and_lost_lines_are_counted() {
        let (release, stall) = sync_channel(1);
        let writer = Writer::start(Stalled(Mutex::new(stall)));
        // At most one batch and one full queue can be taken; all others must be dropped, at once.
        let line = vec![b'x'; 1024];
        let most = QUEUE + BATCH / line.len();
        for _ in 0..most + 100 {
            writer.send(line.clone());
        }
        assert!(writer.dropped() >= 100, "{} dropped", writer.dropped());
        drop(release);
    }
}
