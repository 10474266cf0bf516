//! `random`: by weight and by nothing else. See [`super::lottery`].

use rand::rngs::SmallRng;

use super::lottery::Lottery;
use super::{Algorithm, Entrant, Field};

/// See the module.
pub(super) struct Random(Lottery);

impl Random {
    pub(super) fn new(entrants: &[Entrant], width: usize) -> Self {
        Self(Lottery::new(entrants, width))
    }
}

impl Algorithm for Random {
    fn pick(&self, field: &mut Field<'_>, _: u64, random: &mut SmallRng) -> Option<usize> {
        self.0.draw(field, None, random)
    }
}
