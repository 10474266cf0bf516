//! In flight ÷ weight as one integer.
//!
//! Comparing `a / v` with `b / w` exactly takes two multiplications, and a scan over a thousand servers would pay them for each. A rank
//! pays once, when a load changes: it is the quotient in fixed point, rounded down, with 16 binary digits behind the point. Rounding
//! keeps the order, and equal quotients have equal ranks. Two different quotients differ by at least `1 / (v · w)`, hence have different
//! ranks as long as `v · w ≤ 2¹⁶`. Ranks are therefore exact for weights up to 256 and below 65,535 requests a unit of weight
//! ([`is_exact`]); beyond, those of equal rank are compared by [`compare`].
//!
//! 32 bits and not 64, because every processor that this runs on compares four of them at once.

use std::cmp::Ordering;

/// The rank of what may not be chosen: above every real one.
pub const NOT_ELIGIBLE: u32 = u32::MAX;

/// Where ranks stop telling loads apart.
const HIGHEST: u32 = NOT_ELIGIBLE - 1;

/// `load / weight` in fixed point. A weight of 0 is never eligible.
#[inline]
pub fn rank(load: u32, weight: u32) -> u32 {
    let quotient = match weight {
        0 => return NOT_ELIGIBLE,
        1 => u64::from(load) << 16,
        _ => (u64::from(load) << 16) / u64::from(weight),
    };
    u32::try_from(quotient).unwrap_or(HIGHEST).min(HIGHEST)
}

/// Whether equal ranks of this value mean equal quotients, where no weight is above `max_weight`.
#[inline]
pub(super) fn is_exact(max_weight: u32, rank: u32) -> bool {
    max_weight <= 256 && rank < HIGHEST
}

/// Compares `a.0 / a.1` with `b.0 / b.1`.
#[inline]
pub(super) fn compare(a: (u32, u32), b: (u32, u32)) -> Ordering {
    (u64::from(a.0) * u64::from(b.1)).cmp(&(u64::from(b.0) * u64::from(a.1)))
}

/// The lowest of them.
#[inline]
pub(super) fn lowest(ranks: &[u32]) -> u32 {
    ranks.iter().copied().fold(NOT_ELIGIBLE, u32::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_order_as_quotients_do(load_a in 0u32..65_535, load_b in 0u32..65_535, a in 1u32..=256, b in 1u32..=256) {
            prop_assert!(is_exact(a.max(b), rank(load_a, a)) && is_exact(a.max(b), rank(load_b, b)));
            prop_assert_eq!(rank(load_a, a).cmp(&rank(load_b, b)), compare((load_a, a), (load_b, b)));
        }

        #[test]
        fn close_quotients_are_told_apart(load_a in 0u32..300, load_b in 0u32..300, a in 250u32..=256, b in 250u32..=256) {
            prop_assert_eq!(rank(load_a, a).cmp(&rank(load_b, b)), compare((load_a, a), (load_b, b)));
        }

        #[test]
        fn rounding_never_turns_the_order_around(load_a: u32, load_b: u32, a in 1u32.., b in 1u32..) {
            if compare((load_a, a), (load_b, b)).is_lt() {
                prop_assert!(rank(load_a, a) <= rank(load_b, b));
            }
            prop_assert!(rank(load_a, a) < NOT_ELIGIBLE);
        }
    }
}
