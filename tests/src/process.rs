//! A program that a test started: its output in files, its end awaited, killed when the test lets go of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::wait::until_some;

/// So much of each log is shown when a test fails.
const SHOWN: usize = 6_000;
/// A process that was told to stop does so within this time.
const STAND: Duration = Duration::from_secs(30);

/// Where the standard output of a program goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    /// Into a file that [`Process::stdout`] reads.
    File,
    /// Into a pipe that nobody reads unless the test takes it with [`Process::take_pipe`].
    Pipe,
}

/// The folder of the binaries under test.
pub fn binary(name: &str) -> PathBuf {
    let folder = match std::env::var_os("LB_TEST_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = std::env::current_exe().expect("the path of the test executable");
            // target/debug/deps/NAME-HASH: the binaries are two levels up
            test.ancestors().nth(2).expect("a folder above the test executable").to_path_buf()
        }
    };
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} does not exist: run `cargo build -p lb -p backend` first, or set LB_TEST_BIN_DIR",
        path.display()
    );
    path
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts it; its logs go to `folder` under its name.
    pub fn spawn(name: &str, mut command: Command, folder: &Path, to: Stdout) -> Process {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.err"));
        let append = |path: &Path| File::options().create(true).append(true).open(path).expect("a log file");
        command.stdin(Stdio::null()).stderr(append(&stderr));
        match to {
            Stdout::File => command.stdout(append(&stdout)),
            Stdout::Pipe => command.stdout(Stdio::piped()),
        };
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Process {
            name: name.to_owned(),
            child,
            status: None,
            stdout,
            stderr,
        }
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The reading end of its standard output, when it was started with [`Stdout::Pipe`].
    pub fn take_pipe(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends a signal. A process that is gone already is none the worse for it. After `SIGSTOP` it stands when this returns: the kernel alone would
    /// let its other threads go on until the one that takes the signal has its turn.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
            if signal == Signal::STOP {
                self.wait_until_it_stands();
            }
        }
    }

    fn wait_until_it_stands(&mut self) {
        let since = Instant::now();
        while self.ended().is_none() && !stands(self.pid()) {
            assert!(since.elapsed() < STAND, "{} does not stop", self.name);
            std::thread::yield_now();
        }
    }

    /// Kills it as a crash does, without a chance to clean up, and waits until it is gone.
    pub fn crash(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("the state of a child");
        }
        self.status
    }

    /// Waits for its end; fails the test when that takes longer than `deadline`.
    pub async fn exit_within(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until_some(deadline, &what, async || self.ended()).await
    }

    /// All that it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// All that it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// What it takes of the machine now.
    pub fn footprint(&self) -> Footprint {
        let folder = PathBuf::from(format!("/proc/{}", self.pid()));
        let status = fs::read_to_string(folder.join("status")).expect("the /proc entry of a running process");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next())
                .and_then(|word| word.parse().ok())
                .unwrap_or(0)
        };
        let descriptors = fs::read_dir(folder.join("fd")).map_or(0, |entries| entries.count() as u64);
        Footprint {
            resident_kib: number("VmRSS:"),
            threads: number("Threads:"),
            descriptors,
        }
    }

    /// Time that it has spent on a processor so far, on all of its threads.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the /proc entry of a running process");
        // The name before it may hold anything but ends with the last bracket (proc_pid_stat(5)): utime and stime are fields 14 and 15.
        let fields = stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
        // 100 a second, on every Linux there is.
        Duration::from_millis(ticks * 10)
    }

    fn show(&self) {
        for (what, path) in [("standard error", &self.stderr), ("standard output", &self.stdout)] {
            let text = read(path);
            let mut start = text.len().saturating_sub(SHOWN);
            while !text.is_char_boundary(start) {
                start += 1;
            }
            eprintln!(
                "--- {} of {} (the last of {} bytes)\n{}",
                what,
                self.name,
                text.len(),
                &text[start..]
            );
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.crash();
        if std::thread::panicking() {
            eprintln!("--- {} ended: {:?}", self.name, self.status);
            self.show();
        }
    }
}

/// What a process takes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory.
    pub resident_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub descriptors: u64,
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Whether all threads of a process are stopped: state `T` of proc_pid_stat(5), after the name in brackets.
fn stands(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    tasks.flatten().all(|task| {
        let stat = read(&task.path().join("stat"));
        // One that has ended meanwhile runs no more either.
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}
