//! A number that only grows.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with cache lines of its own (two, as processors fetch them in pairs): threads that count different things do not meet.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
