//! Time as an argument.
//!
//! Nothing in the cache reads a clock: whoever calls says what time it is, so that a test may stand at any moment it likes.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One moment, on both clocks.
///
/// What happened here is measured on the monotonic one, which nobody can set back; what an origin wrote (`Date`, `Expires`) can only be
/// compared with the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

impl Now {
    /// What the clocks say.
    pub fn read() -> Self {
        Self {
            mono: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// The wall clock, in milliseconds since 1970.
    pub(super) fn millis(self) -> u64 {
        let since = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
impl std::ops::Add<std::time::Duration> for Now {
    type Output = Self;

    fn add(self, later: std::time::Duration) -> Self {
        Self {
            mono: self.mono + later,
            wall: self.wall + later,
        }
    }
}
