//! Counters by status code.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// A counter for each status from 100 to 999, found by index. Their memory is taken a hundred at a time, when the first of a hundred
/// comes: most see two or three of nine.
#[derive(Default)]
pub(super) struct Codes([OnceLock<Box<Hundred>>; 9]);

#[repr(align(128))]
struct Hundred([AtomicU64; 100]);

impl Codes {
    pub(super) fn add(&self, status: StatusCode) {
        let code = usize::from(status.as_u16());
        // A StatusCode is never below 100 or above 999. Clamped, so that this need not be believed.
        let hundred = self.0[(code / 100).clamp(1, 9) - 1].get_or_init(|| Box::new(Hundred([const { AtomicU64::new(0) }; 100])));
        hundred.0[code % 100].fetch_add(1, Ordering::Relaxed);
    }

    /// Each code that was seen, in ascending order.
    pub(super) fn each(&self, mut each: impl FnMut(u16, u64)) {
        for (class, hundred) in (1..).zip(&self.0) {
            let Some(hundred) = hundred.get() else { continue };
            for (code, counter) in (class * 100..).zip(&hundred.0) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    each(code, count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_there_can_be_has_its_counter() {
        let codes = Codes::default();
        for code in 100..=999 {
            codes.add(StatusCode::from_u16(code).unwrap());
        }
        codes.add(StatusCode::NOT_FOUND);
        let mut seen = Vec::new();
        codes.each(|code, count| seen.push((code, count)));
        let expected: Vec<_> = (100..=999).map(|code| (code, if code == 404 { 2 } else { 1 })).collect();
        assert_eq!(seen, expected);
    }
}
