//! Ports that nobody else takes.
//!
//! A server that is stopped and started again needs a port that stays its own in between. The kernel hands out ports from 32768 up to
//! outgoing connections, so these are below; and test processes that run side by side agree through locked files, which the kernel unlocks
//! when a process ends, however it ends.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::net::{TcpListener, TcpSocket};

/// A port of 127.0.0.1 that is ours until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Picks a free one at random.
    pub fn pick() -> Port {
        let folder = std::env::temp_dir().join("lb-tests-ports");
        fs::create_dir_all(&folder).expect("a folder for the locks of ports");
        for _ in 0..10_000 {
            let number = rand::rng().random_range(10_000..30_000);
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(number.to_string()));
            let Ok(lock) = lock else { continue };
            if lock.try_lock().is_ok() && is_free(number) {
                return Port { number, _lock: lock };
            }
        }
        panic!("no free port between 10000 and 30000");
    }

    /// Listens there. A process that another test starts has, for a moment, a copy of every socket of this one, also of one that was
    /// closed; so it is tried for a while.
    pub async fn listen(&self) -> std::io::Result<TcpListener> {
        let patience = Instant::now() + Duration::from_secs(5);
        loop {
            match TcpListener::bind(self.address()).await {
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < patience => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                result => return result,
            }
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The address on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// Whether nobody listens there. A socket that is bound and does not listen is in nobody's way, however long a copy of it lives.
fn is_free(number: u16) -> bool {
    let bound = TcpSocket::new_v4().and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, number).into())
    });
    bound.is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_ports_held_at_once_are_the_same() {
        let held: Vec<Port> = (0..200).map(|_| Port::pick()).collect();
        let numbers: HashSet<u16> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), held.len());
        assert!(numbers.iter().all(|number| *number < 32768));
    }
}
