//! Requests at a fixed rate: an open loop.
//!
//! A client that waits for an answer before it asks again asks less while the server is slow, and so leaves out the latencies that matter (Gil
//! Tene calls it coordinated omission). Here each request has a moment at which it is due, whatever became of those before it, and its latency
//! counts from that moment: it includes the wait for a free connection. A timer of the kernel with nanoseconds gives the pace; tokio's has
//! milliseconds, which is longer than what is measured. The origin, and an attack where there is one, are part of the same loop.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};

use super::client::{Answer, REQUEST, connect};
use super::origin::LocalOrigin;
use super::slowloris::Attack;
use super::{Load, steady_p99};

/// What is asked of a load.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Requests a second.
    pub rate: f64,
    /// Connections.
    pub connections: usize,
    /// How long requests become due.
    pub time: Duration,
}

/// How long answers may take after the last request became due.
const PATIENCE: Duration = Duration::from_secs(2);

/// Not one of the connections.
const TIMER: u64 = u64::MAX;
const ORIGIN: u64 = u64::MAX - 1;

struct Client {
    stream: TcpStream,
    answer: Answer,
    /// Since when its request is due, while there is one.
    due: Option<Instant>,
}

/// Loads the proxy on `port`, whose servers are those of `origin`.
pub fn run(port: u16, pace: Pace, origin: &mut LocalOrigin, mut attack: Option<&mut Attack>) -> anyhow::Result<Load> {
    let mut clients = Clients::connect(port, pace.connections)?;
    epoll::add(&clients.poll, &*origin, epoll::EventData::new_u64(ORIGIN), epoll::EventFlags::IN)?;
    let interval = Duration::from_secs_f64(1.0 / pace.rate);
    let timer = tick(&clients.poll, interval)?;
    let total = (pace.rate * pace.time.as_secs_f64()) as u32;
    let (mut begun, mut waiting) = (0, VecDeque::new());
    let start = Instant::now();
    let mut events = Vec::with_capacity(256);
    while clients.done() < u64::from(total) && start.elapsed() < pace.time + PATIENCE {
        wait(&clients.poll, &mut events)?;
        for event in &events {
            match event.data.u64() {
                // A timer is not set again before it was read.
                TIMER => drop(rustix::io::read(&timer, &mut [0; 8])?),
                ORIGIN => origin.serve()?,
                index => clients.receive(index as usize)?,
            }
        }
        while begun < total && start + interval * begun <= Instant::now() {
            waiting.push_back(start + interval * begun);
            begun += 1;
        }
        while let Some(due) = waiting.front().copied() {
            if !clients.send(due) {
                break;
            }
            waiting.pop_front();
        }
        if let Some(attack) = &mut attack {
            attack.drip()?;
        }
    }
    if clients.latencies.is_empty() {
        bail!("nothing was answered at {:.0} requests a second", pace.rate);
    }
    let unanswered = u64::from(total) - clients.done();
    let steady: Vec<_> = clients
        .latencies
        .iter()
        .map(|(due, latency)| (due.saturating_duration_since(start), *latency))
        .collect();
    let latencies = clients.latencies.iter().map(|(_, latency)| *latency).collect();
    Ok(Load {
        steady_p99_us: Some(steady_p99(&steady)),
        ..Load::of(latencies, clients.errors + unanswered, pace.time.as_secs_f64())
    })
}

/// A timer that wakes at each interval.
fn tick(poll: &OwnedFd, interval: Duration) -> anyhow::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    epoll::add(poll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
    let period = Timespec::try_from(interval).context("no such pace")?;
    let every = Itimerspec {
        it_interval: period,
        it_value: period,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
    Ok(timer)
}

/// Waits until something happens.
fn wait(poll: &OwnedFd, events: &mut Vec<epoll::Event>) -> anyhow::Result<()> {
    events.clear();
    let longest = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    match epoll::wait(poll, spare_capacity(events), Some(&longest)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait"),
    }
}

/// The connections, and what came of them.
struct Clients {
    port: u16,
    poll: OwnedFd,
    buffer: Vec<u8>,
    all: Vec<Client>,
    free: VecDeque<usize>,
    /// When each request was due, and how many microseconds it took.
    latencies: Vec<(Instant, f64)>,
    errors: u64,
}

impl Clients {
    fn connect(port: u16, count: usize) -> anyhow::Result<Clients> {
        let mut clients = Clients {
            port,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            buffer: vec![0; 16 * 1024],
            all: Vec::new(),
            free: (0..count).collect(),
            latencies: Vec::new(),
            errors: 0,
        };
        for index in 0..count {
            let client = clients.open(index)?;
            clients.all.push(client);
        }
        Ok(clients)
    }

    fn open(&self, index: usize) -> anyhow::Result<Client> {
        let stream = connect(None, self.port).context("cannot connect")?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.poll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        Ok(Client {
            stream,
            answer: Answer::default(),
            due: None,
        })
    }

    /// How many requests are over.
    fn done(&self) -> u64 {
        self.latencies.len() as u64 + self.errors
    }

    /// Sends the request of that moment, if a connection is free.
    fn send(&mut self, due: Instant) -> bool {
        let Some(index) = self.free.pop_front() else { return false };
        self.all[index].due = Some(due);
        // So short a request fits into an empty socket buffer; where the connection is gone, reading says so.
        let _ = self.all[index].stream.write_all(REQUEST);
        true
    }

    /// Reads what is there. A broken connection is replaced.
    fn receive(&mut self, index: usize) -> anyhow::Result<()> {
        let client = &mut self.all[index];
        let complete = match client.stream.read(&mut self.buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => client.answer.take(&self.buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        };
        match (complete, client.due.take()) {
            (Ok(false), due) => {
                client.due = due;
                return Ok(());
            }
            (Ok(true), Some(due)) => self.latencies.push((due, due.elapsed().as_secs_f64() * 1e6)),
            // Nothing was asked of it: the proxy closed a connection that waited, as it may.
            (_, None) => {
                self.all[index] = self.open(index)?;
                return Ok(());
            }
            (Err(_), Some(_)) => {
                self.errors += 1;
                self.all[index] = self.open(index)?;
            }
        }
        self.free.push_back(index);
        Ok(())
    }
}
