//! Cheap origins: they answer every request with the same prepared bytes, so that the proxy is what is measured.

use std::process::{Child, Command, Stdio};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peers::{free_port, wait_for_port};

/// Origins in processes of their own.
pub struct Origins {
    /// Where they are.
    pub ports: Vec<u16>,
    processes: Vec<Child>,
}

impl Origins {
    /// Starts `count` origins on `core`.
    pub fn start(core: usize, count: usize) -> anyhow::Result<Origins> {
        let mut origins = Origins {
            ports: Vec::new(),
            processes: Vec::new(),
        };
        let program = std::env::current_exe()?;
        for _ in 0..count {
            let port = free_port()?;
            let child = Command::new("taskset")
                .args(["-c", &core.to_string()])
                .arg(&program)
                .args(["origin", &port.to_string()])
                .stdin(Stdio::null())
                .spawn()
                .context("cannot start an origin")?;
            origins.processes.push(child);
            wait_for_port(port)?;
            origins.ports.push(port);
        }
        Ok(origins)
    }
}

impl Drop for Origins {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Answers on `port` until it is killed.
pub fn run(port: u16) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (small, large): (&'static [u8], &'static [u8]) = (answer(1024).leak(), answer(1 << 20).leak());
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, small, large));
        }
    })
}

fn answer(size: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nserver: origin\r\ncontent-type: application/octet-stream\r\n\
         cache-control: max-age=3600\r\ncontent-length: {size}\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    bytes
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
