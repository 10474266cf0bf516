//! Drills with real pipes and files, and with a destination that fails as it likes.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Mutex;

use proptest::prelude::*;

use super::sink::Reopened;
use super::*;

/// A numbered line; long ones fill a pipe sooner.
struct Numbered(usize);

const PADDING: &str = "................................................................................";

impl Line for Numbered {
    type Scratch = ();

    fn weight(&self) -> usize {
        100
    }

    fn write(self, (): &mut (), out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} {PADDING}\n", self.0).as_bytes());
    }
}

/// The number of a line that is whole.
fn numbered(line: &str) -> usize {
    let (number, padding) = line.split_once(' ').expect("a whole line");
    assert_eq!(padding, PADDING, "a whole line");
    number.parse().expect("a whole line")
}

/// In order, though some may be missing.
fn ascending(numbers: &[usize]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

fn quick() -> Limits {
    Limits {
        linger: Duration::ZERO,
        pause: Duration::from_millis(1),
        give_up: Duration::from_millis(5),
        ..Limits::default()
    }
}

/// Long enough for anything on a busy machine; nothing waits so long when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lb-queue-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_stalled_pipe_delays_no_sender_and_each_line_is_written_or_counted() {
    const LINES: usize = 50_000;
    let (reader, writer) = io::pipe().unwrap();
    let dropped = Arc::new(Counter::default());
    let queue = Queue::start("test", FileSink::stream(&writer).unwrap(), Arc::clone(&dropped), quick()).unwrap();
    drop(writer);

    // Nobody reads: the pipe fills, then the queue.
    let begin = Instant::now();
    (0..LINES).for_each(|number| queue.send(Numbered(number)));
    assert!(begin.elapsed() < Duration::from_secs(5), "50,000 sends took {:?}", begin.elapsed());
    let lost_in_stall = dropped.get();
    assert!(lost_in_stall > 0);
    assert!(queue.flush(Duration::from_millis(20)) > 0, "flush gives up at its deadline");

    // The reader is back: what waited arrives, and so does what comes after.
    let lines = thread::spawn(move || {
        BufReader::new(reader)
            .lines()
            .map(|line| numbered(&line.unwrap()))
            .collect::<Vec<_>>()
    });
    assert_eq!(queue.flush(PATIENCE), 0);
    queue.send(Numbered(LINES));
    drop(queue);
    let lines = lines.join().unwrap();
    assert!(ascending(&lines));
    assert_eq!(lines.last(), Some(&LINES));
    assert_eq!(dropped.get(), lost_in_stall);
    assert_eq!(lines.len() as u64 + lost_in_stall, LINES as u64 + 1);
}

#[test]
fn long_lines_fill_the_queue_by_their_bytes() {
    let (reader, writer) = io::pipe().unwrap();
    let dropped = Arc::new(Counter::default());
    let limits = Limits { bytes: 1_000, ..quick() };
    let queue = Queue::start("test", FileSink::stream(&writer).unwrap(), Arc::clone(&dropped), limits).unwrap();
    drop(writer);
    // One more than ten would be beyond 1,000 bytes, except for what the writer is holding.
    while dropped.get() == 0 {
        queue.send(Numbered(0));
    }
    assert!(queue.shared.load.lines() <= 10);
    drop(reader);
    queue.flush(PATIENCE);
    assert_eq!(queue.shared.load.0.load(Ordering::Relaxed), 0);
}

#[test]
fn a_reader_that_is_gone_costs_its_lines_and_nothing_else() {
    let (reader, writer) = io::pipe().unwrap();
    let dropped = Arc::new(Counter::default());
    let queue = Queue::start("test", FileSink::stream(&writer).unwrap(), Arc::clone(&dropped), quick()).unwrap();
    drop((reader, writer));
    for round in 1..=3 {
        (0..100).for_each(|number| queue.send(Numbered(number)));
        assert_eq!(queue.flush(PATIENCE), 0);
        assert_eq!(dropped.get(), round * 100);
    }
}

#[test]
fn a_full_disk_holds_lines_back_until_another_file_is_opened() {
    let folder = Folder::new("full");
    let path = folder.0.join("log");
    symlink("/dev/full", &path).unwrap();
    let dropped = Arc::new(Counter::default());
    let queue = Queue::start("test", FileSink::open(&path).unwrap(), Arc::clone(&dropped), quick()).unwrap();
    (0..100).for_each(|number| queue.send(Numbered(number)));
    assert_eq!(queue.flush(Duration::from_millis(20)), 100);

    fs::remove_file(&path).unwrap();
    queue.reopen();
    assert_eq!(queue.flush(PATIENCE), 0);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().map(numbered).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!(dropped.get(), 0);
}

#[test]
fn a_writer_that_cannot_write_ends_when_nobody_sends_and_counts_what_it_held() {
    let dropped = Arc::new(Counter::default());
    let queue = Queue::start("test", FileSink::open("/dev/full".as_ref()).unwrap(), Arc::clone(&dropped), quick()).unwrap();
    let shared = Arc::clone(&queue.shared);
    (0..100).for_each(|number| queue.send(Numbered(number)));
    drop(queue);
    let begin = Instant::now();
    while Arc::strong_count(&shared) > 1 {
        assert!(begin.elapsed() < PATIENCE);
        thread::yield_now();
    }
    assert_eq!(dropped.get(), 100);
}

#[test]
fn a_rotated_file_keeps_its_lines_and_a_new_one_takes_the_next() {
    let folder = Folder::new("rotate");
    let (path, old) = (folder.0.join("log"), folder.0.join("log.1"));
    let queue = Queue::start("test", FileSink::open(&path).unwrap(), Arc::default(), quick()).unwrap();
    queue.send(Numbered(1));
    assert_eq!(queue.flush(PATIENCE), 0);
    fs::rename(&path, &old).unwrap();
    queue.send(Numbered(2));
    assert_eq!(queue.flush(PATIENCE), 0);
    assert!(!path.exists());
    queue.reopen();
    queue.send(Numbered(3));
    assert_eq!(queue.flush(PATIENCE), 0);
    let numbers = |path| fs::read_to_string(path).unwrap().lines().map(numbered).collect::<Vec<_>>();
    assert_eq!((numbers(&old), numbers(&path)), (vec![1, 2], vec![3]));
}

#[test]
fn a_file_that_cannot_be_opened_anew_is_kept() {
    let folder = Folder::new("gone");
    let inner = folder.0.join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("log");
    let queue = Queue::start("test", FileSink::open(&path).unwrap(), Arc::default(), quick()).unwrap();
    let moved = folder.0.join("moved");
    fs::rename(&inner, &moved).unwrap();
    queue.reopen();
    queue.send(Numbered(1));
    assert_eq!(queue.flush(PATIENCE), 0);
    assert_eq!(
        fs::read_to_string(moved.join("log"))
            .unwrap()
            .lines()
            .map(numbered)
            .collect::<Vec<_>>(),
        [1]
    );
}

#[test]
fn a_half_line_that_another_process_left_is_ended_first() {
    let folder = Folder::new("half");
    let path = folder.0.join("log");
    fs::write(&path, "whole\nhal").unwrap();
    let queue = Queue::start("test", FileSink::open(&path).unwrap(), Arc::default(), quick()).unwrap();
    queue.send(Numbered(1));
    assert_eq!(queue.flush(PATIENCE), 0);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("whole\nhal\n1 {PADDING}\n"));
}

#[test]
fn a_flush_waits_for_what_was_sent_before_it() {
    let (mut reader, writer) = io::pipe().unwrap();
    let queue = Queue::start("test", FileSink::stream(&writer).unwrap(), Arc::default(), Limits::default()).unwrap();
    queue.send(Numbered(5));
    assert_eq!(queue.flush(PATIENCE), 0);
    drop((queue, writer));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().map(numbered).collect::<Vec<_>>(), [5]);
}

/// What a destination does at one write.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Takes at most so many bytes.
    Take(usize),
    Fail(ErrorKind),
}

/// Goes through its steps, then takes everything.
struct Moody {
    steps: VecDeque<Step>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Sink for Moody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self.steps.pop_front() {
            Some(Step::Fail(kind)) => return Err(kind.into()),
            Some(Step::Take(most)) => bytes.len().min(most),
            None => bytes.len(),
        };
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn reopen(&mut self) -> io::Result<Reopened> {
        Ok(Reopened::Same)
    }
}

fn steps() -> impl Strategy<Value = VecDeque<Step>> {
    let kinds = [ErrorKind::Interrupted, ErrorKind::WouldBlock, ErrorKind::StorageFull];
    let step = prop_oneof![3 => (0..300usize).prop_map(Step::Take), 1 => prop::sample::select(kinds.to_vec()).prop_map(Step::Fail)];
    proptest::collection::vec(step, 0..12).prop_map(VecDeque::from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_write_does_lines_come_out_whole_and_in_order(steps in steps(), lines in 0..30usize) {
        let written = Arc::default();
        let sink = Moody { steps, written: Arc::clone(&written) };
        let queue = Queue::start("test", sink, Arc::default(), quick()).unwrap();
        (0..lines).for_each(|number| queue.send(Numbered(number)));
        prop_assert_eq!(queue.flush(PATIENCE), 0);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        prop_assert!(text.is_empty() || text.ends_with('\n'));
        prop_assert_eq!(text.lines().map(numbered).collect::<Vec<_>>(), (0..lines).collect::<Vec<_>>());
        prop_assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn a_reader_that_leaves_in_the_middle_of_a_line_loses_exactly_what_is_counted(
        before in 0..2_000usize, lines in 0..30usize,
    ) {
        let written = Arc::default();
        let steps = VecDeque::from([Step::Take(before), Step::Fail(ErrorKind::BrokenPipe)]);
        let queue = Queue::start("test", Moody { steps, written: Arc::clone(&written) }, Arc::default(), quick()).unwrap();
        (0..lines).for_each(|number| queue.send(Numbered(number)));
        prop_assert_eq!(queue.flush(PATIENCE), 0);
        let text = written.lock().unwrap().clone();
        let whole = text.iter().filter(|&&byte| byte == b'\n').count();
        prop_assert_eq!(whole as u64 + queue.dropped(), lines as u64);
    }
}
