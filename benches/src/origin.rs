//! A cheap origin: it answers every request with the same prepared bytes, so that the proxy is what is measured.
//!
//! One process stands for any number of servers: it listens on one port of as many loopback addresses, from 127.0.1.1 on.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peers::{free_port, wait_for};

/// The most servers that a case has.
const MOST: usize = 1000;

/// The process of the origin.
pub struct Origin {
    port: u16,
    process: Child,
}

impl Origin {
    /// Starts it, on the core of this program.
    pub fn start() -> anyhow::Result<Origin> {
        let port = free_port()?;
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(std::env::current_exe()?)
            .args(["origin", &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the origin")?;
        let origin = Origin { port, process };
        // The last one that it binds.
        wait_for(address(MOST - 1, port))?;
        Ok(origin)
    }

    /// The addresses of `count` servers.
    pub fn servers(&self, count: usize) -> Vec<SocketAddrV4> {
        (0..count.min(MOST)).map(|index| address(index, self.port)).collect()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// 250 in each of 127.0.1.0/24, 127.0.2.0/24 …
fn address(index: usize, port: u16) -> SocketAddrV4 {
    // MOST keeps both far below 256.
    SocketAddrV4::new(Ipv4Addr::new(127, 0, 1 + (index / 250) as u8, 1 + (index % 250) as u8), port)
}

/// Answers on `port` until it is killed.
pub fn run(port: u16) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (small, large): (&'static [u8], &'static [u8]) = (answer(1024).leak(), answer(1 << 20).leak());
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for index in 0..MOST {
            let listener = TcpListener::bind(address(index, port)).await?;
            tasks.push(tokio::spawn(accept(listener, small, large)));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

/// An answer with so long a body.
pub fn answer(size: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nserver: origin\r\ncontent-type: application/octet-stream\r\n\
         cache-control: max-age=3600\r\ncontent-length: {size}\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    bytes
}

async fn accept(listener: TcpListener, small: &'static [u8], large: &'static [u8]) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, small, large));
    }
}

async fn serve(mut stream: TcpStream, small: &'static [u8], large: &'static [u8]) {
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => filled += read,
        }
        while let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            let answer = if buffer.starts_with(b"GET /1m") { large } else { small };
            if stream.write_all(answer).await.is_err() {
                return;
            }
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
        }
    }
}
