//! Ports that nobody else takes.
//!
//! A server that is stopped and started again needs a port that stays its own in between. The kernel hands out ports from 32768 up to
//! outgoing connections, so these are below; and test processes that run side by side agree through locked files, which the kernel unlocks
//! when a process ends, however it ends.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rand::Rng;

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
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Port { number, _lock: lock };
            }
        }
        panic!("no free port between 10000 and 30000");
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
