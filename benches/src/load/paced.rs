//! Requests at a fixed rate: an open loop.
//!
//! A client that waits for an answer before it asks again asks less while the server is slow, and so leaves out the latencies that matter (Gil
//! Tene calls it coordinated omission). Here each request has a moment at which it is due, whatever became of those before it, and its latency
//! counts from that moment: it includes the wait for a free connection. A timer of the kernel with nanoseconds gives the pace; tokio's has
//! milliseconds, which is longer than what is measured.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};

use super::Load;
use super::client::{Answer, REQUEST, connect};

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

/// The timer's place among the connections.
const TIMER: u64 = u64::MAX;

struct Client {
    stream: TcpStream,
    answer: Answer,
    due: Instant,
}

/// Loads the proxy on `port`.
pub fn run(port: u16, pace: Pace) -> anyhow::Result<Load> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = Vec::new();
    for index in 0..pace.connections {
        let stream = connect(Ipv4Addr::LOCALHOST, port).context("cannot connect")?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        clients.push(Client {
            stream,
            answer: Answer::default(),
            due: Instant::now(),
        });
    }
    let interval = Duration::from_secs_f64(1.0 / pace.rate);
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let period = Timespec::try_from(interval).context("no such pace")?;
    let every = Itimerspec {
        it_interval: period,
        it_value: period,
    };
    // Edge-triggered: each tick wakes once, and nothing needs to be read.
    let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), edge)?;
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;

    let start = Instant::now();
    let total = (pace.rate * pace.time.as_secs_f64()) as u32;
    let mut latencies: Vec<f64> = Vec::with_capacity(total as usize);
    let (mut begun, mut errors) = (0, 0);
    let mut waiting = VecDeque::new();
    let mut free: VecDeque<usize> = (0..clients.len()).collect();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 16 * 1024];
    while latencies.len() as u64 + errors < u64::from(total) && start.elapsed() < pace.time + PATIENCE {
        events.clear();
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        match epoll::wait(&poll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        for event in &events {
            let index = event.data.u64();
            if index == TIMER {
                continue;
            }
            let index = index as usize;
            match receive(&mut clients[index], &mut buffer) {
                Ok(false) => {}
                Ok(true) => {
                    latencies.push(clients[index].due.elapsed().as_secs_f64() * 1e6);
                    free.push_back(index);
                }
                Err(_) => {
                    errors += 1;
                    clients[index] = again(port, index, &poll)?;
                    free.push_back(index);
                }
            }
        }
        while begun < total && start + interval * begun <= Instant::now() {
            waiting.push_back(start + interval * begun);
            begun += 1;
        }
        while let Some(due) = waiting.front().copied() {
            let Some(index) = free.pop_front() else { break };
            waiting.pop_front();
            clients[index].due = due;
            // So short a request fits into an empty socket buffer; where the connection is gone, reading says so.
            let _ = clients[index].stream.write_all(REQUEST);
        }
    }
    if latencies.is_empty() {
        bail!("nothing was answered at {:.0} requests a second", pace.rate);
    }
    errors += u64::from(total) - latencies.len() as u64 - errors;
    Ok(Load::of(latencies, errors, pace.time.as_secs_f64()))
}

/// Reads what is there. Whether it completes the answer.
fn receive(client: &mut Client, buffer: &mut [u8]) -> std::io::Result<bool> {
    match client.stream.read(buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(read) => client.answer.take(&buffer[..read]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A new connection in the place of a broken one.
fn again(port: u16, index: usize, poll: &impl std::os::fd::AsFd) -> anyhow::Result<Client> {
    let stream = connect(Ipv4Addr::LOCALHOST, port).context("cannot connect again")?;
    stream.set_nonblocking(true)?;
    epoll::add(poll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
    Ok(Client {
        stream,
        answer: Answer::default(),
        due: Instant::now(),
    })
}
