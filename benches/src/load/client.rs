//! A client connection as the loads of this program need it: one request under way, whose answer has a `Content-Length`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// The request that all of them make.
pub const REQUEST: &[u8] = b"GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection to 127.0.0.1 from there, or from `source`. Who opens many from one `source` runs out of its ports: binding takes one that no
/// connection has, to whatever peer.
pub fn connect(source: Option<Ipv4Addr>, port: u16) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), Duration::from_secs(5))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// What is still to come of an answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// The head, as long as it is not complete.
    head: Vec<u8>,
    /// Bytes of the body that are missing.
    missing: Option<usize>,
}

impl Answer {
    /// Takes what was read, and says whether the answer is complete. An error when it is no 200, has no length, or goes on past its end.
    pub fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let missing = match self.missing {
            Some(missing) => missing.checked_sub(bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    return Ok(false);
                };
                length(&self.head[..end]).and_then(|length| (length + end + 4).checked_sub(self.head.len()))
            }
        };
        let missing = missing.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not the answer that was expected"))?;
        self.missing = Some(missing);
        if missing > 0 {
            return Ok(false);
        }
        self.head.clear();
        self.missing = None;
        Ok(true)
    }
}

fn length(head: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    lines.next()?.strip_prefix("HTTP/1.1 200")?;
    lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            value.trim().parse().ok()
        } else {
            None
        }
    })
}

/// Reads one answer, on a stream that waits.
pub fn read_answer(stream: &mut impl Read) -> io::Result<()> {
    let (mut answer, mut buffer) = (Answer::default(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if answer.take(&buffer[..read])? {
            return Ok(());
        }
    }
}

/// Makes one request.
pub fn ask(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    read_answer(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says_wherever_it_is_cut() {
        let bytes = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\n\r\nxyz";
        for cut in 0..bytes.len() {
            let mut answer = Answer::default();
            assert!(!answer.take(&bytes[..cut]).unwrap());
            assert!(answer.take(&bytes[cut..]).unwrap());
        }
    }

    #[test]
    fn other_answers_are_errors() {
        for bytes in [
            "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
        ] {
            assert!(Answer::default().take(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
