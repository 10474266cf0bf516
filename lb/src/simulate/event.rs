//! What is going to happen, soonest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A server goes down.
    Down(u32),
    /// A server is back.
    Up(u32),
    /// A server is checked.
    Check(u32),
    /// An ejection ends: a request that waits for a server looks whether that helps.
    Look {
        /// Its place among the requests under way.
        flight: u32,
        /// As it was when the waiting began.
        stamp: u32,
    },
    /// A try ends, or the pause before one: of which request, and which of its tries, so that one that was cut short before is told
    /// from it.
    Due {
        /// Its place among the requests under way.
        flight: u32,
        /// As it was when the try or the pause began.
        stamp: u32,
    },
}

/// A queue of events. Those of the same time come in the order in which they were put in.
#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    count: u64,
}

impl Events {
    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.heap.push(Reverse((at, self.count, event)));
    }

    /// When the next one is due.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soonest_is_first_and_of_equals_the_first_that_was_put_in() {
        let mut events = Events::default();
        for (at, server) in [(7, 1), (3, 2), (7, 0), (3, 9), (5, 4)] {
            events.push(at, Event::Up(server));
        }
        assert_eq!(events.next_at(), Some(3));
        let order: Vec<_> = std::iter::from_fn(|| events.pop()).collect();
        let expected = [(3, 2), (3, 9), (5, 4), (7, 1), (7, 0)].map(|(at, server)| (at, Event::Up(server)));
        assert_eq!(order, expected);
    }
}
