//! Connections that have made one request and wait, as those of browsers and of other servers' pools do most of the time.

use std::io::Write;
use std::net::TcpStream;

use anyhow::Context;

use super::client::{REQUEST, ask, connect, read_answer};

/// How many of them make their request at the same time.
const AT_ONCE: usize = 64;

/// Opens `count` connections to the proxy on `port`.
pub fn open(port: u16, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let first = all.len();
        for _ in 0..AT_ONCE.min(count - first) {
            all.push(connect(None, port).context("cannot open one more idle connection")?);
        }
        for stream in &mut all[first..] {
            stream.write_all(REQUEST)?;
        }
        for stream in &mut all[first..] {
            read_answer(stream).context("a connection that was to idle got no answer")?;
        }
    }
    Ok(all)
}

/// How many of them the proxy still serves: each that is asked again answers.
pub fn alive(connections: &mut [TcpStream]) -> usize {
    connections.iter_mut().filter_map(|stream| ask(stream).ok()).count()
}
