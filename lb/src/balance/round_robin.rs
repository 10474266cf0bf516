//! `round_robin`: [smooth weighted round robin](super::smooth) among all that are eligible, whatever their load.

use rand::rngs::SmallRng;

use super::{Algorithm, Field, NOT_ELIGIBLE, smooth};

/// See the module.
pub(super) struct RoundRobin;

impl Algorithm for RoundRobin {
    fn pick(&self, field: &mut Field<'_>, _: u64, _: &mut SmallRng) -> Option<usize> {
        smooth::step(field, |_, rank| rank != NOT_ELIGIBLE)
    }
}
