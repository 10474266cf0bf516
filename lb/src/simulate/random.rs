//! Chance that does not depend on the order of things.
//!
//! A generator that everybody draws from would hand out other numbers as soon as one algorithm asks in another order, and what is compared
//! would be luck. Here a draw is a hash of what it is for: the seed, the purpose, the number of the request. So every algorithm meets the
//! same arrivals, and a request that is a heavy one is heavy wherever it goes (common random numbers: differences between two runs are
//! differences between algorithms).
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).

/// What a draw is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// When requests arrive.
    Arrivals = 1,
    /// Who asks.
    Clients = 2,
    /// How long a server works.
    Work = 3,
    /// Whether a server's answer is a failure.
    Luck = 4,
    /// What the balancer's own generator starts from.
    Balancer = 5,
    /// When servers are checked.
    Checks = 7,
    /// How long a pause before a retry is.
    Pauses = 6,
}

/// A sequence of numbers. Equal arguments give equal sequences.
#[derive(Debug, Clone)]
pub(super) struct Draws(u64);

impl Draws {
    /// The draws of one purpose, for the thing with this number.
    pub(super) fn new(seed: u64, purpose: Purpose, number: u64) -> Self {
        Self(mix(mix(seed ^ mix(purpose as u64)) ^ number))
    }

    /// Any number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Between 0 and 1, and neither of them.
    pub(super) fn unit(&mut self) -> f64 {
        // 52 bits and a half: exact, never 0, never 1.
        ((self.next() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Below `end`, which is above 0.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        // The upper half of a product of 64 bits is below `end` (Lemire 2019; the bias, below 2⁻³², is nothing here).
        (((self.next() >> 32) * u64::from(end)) >> 32) as u32
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_a_function_of_what_they_are_for() {
        let first = |seed, purpose, number| Draws::new(seed, purpose, number).next();
        assert_eq!(first(1, Purpose::Work, 7), first(1, Purpose::Work, 7));
        for other in [first(2, Purpose::Work, 7), first(1, Purpose::Luck, 7), first(1, Purpose::Work, 8)] {
            assert_ne!(first(1, Purpose::Work, 7), other);
        }
    }

    #[test]
    fn units_are_spread_evenly_and_never_at_an_end() {
        let mut draws = Draws::new(1, Purpose::Arrivals, 0);
        let mut tenths = [0u32; 10];
        for _ in 0..100_000 {
            let unit = draws.unit();
            assert!(unit > 0.0 && unit < 1.0);
            tenths[(unit * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|n| n.abs_diff(10_000) < 400), "{tenths:?}");
        assert!((0..1000).all(|_| draws.below(3) < 3));
    }
}
