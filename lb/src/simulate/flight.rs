//! The requests under way.

use crate::upstream::{Lease, RetryPermit, ServerId};

/// How a server fails a request; named as in [`crate::exchange::Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// The server went down while it had the request.
    Reset,
    /// No answer within `timeouts.read`.
    Timeout,
}

/// How a try is going to end, unless its server goes down before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// With an answer.
    Answered,
    /// With a 503.
    Status,
    /// Without one: it would come too late.
    TimedOut,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    /// When it arrived.
    pub(super) arrived: u64,
    /// Its place among all requests.
    pub(super) number: u64,
    pub(super) hash: u64,
    pub(super) idempotent: bool,
    /// The right to ask a server, and where that stands among them.
    pub(super) held: Option<(Lease, usize)>,
    pub(super) asked: u64,
    pub(super) fate: Fate,
    pub(super) tried: Vec<ServerId>,
    /// Tries that got a connection.
    pub(super) count: u32,
    /// One server was charged with a failure; that is enough.
    pub(super) charged: bool,
    pub(super) permit: Option<RetryPermit>,
}

/// All of them. A place is used again and again; its stamp tells what it was used for.
#[derive(Debug, Default)]
pub(super) struct Flights {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place {
    stamp: u32,
    flight: Option<Flight>,
}

impl Flights {
    pub(super) fn insert(&mut self, flight: Flight) -> u32 {
        if let Some(id) = self.free.pop()
            && let Some(place) = self.places.get_mut(id as usize)
        {
            place.flight = Some(flight);
            return id;
        }
        let id = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place {
            stamp: 0,
            flight: Some(flight),
        });
        id
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Flight> {
        self.places.get_mut(id as usize)?.flight.as_mut()
    }

    /// Makes what was stamped before stale, and gives the stamp that holds from now on.
    pub(super) fn stamp(&mut self, id: u32) -> u32 {
        self.places.get_mut(id as usize).map_or(0, |place| {
            place.stamp = place.stamp.wrapping_add(1);
            place.stamp
        })
    }

    /// Whether nothing has happened since the stamp.
    pub(super) fn is_current(&self, id: u32, stamp: u32) -> bool {
        self.places
            .get(id as usize)
            .is_some_and(|place| place.stamp == stamp && place.flight.is_some())
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Flight> {
        self.stamp(id);
        let flight = self.places.get_mut(id as usize)?.flight.take()?;
        self.free.push(id);
        Some(flight)
    }

    /// Those that this server works on.
    pub(super) fn at(&self, server: usize) -> Vec<u32> {
        let at = |place: &Place| {
            let held = place.flight.as_ref()?.held.as_ref()?;
            Some(held.1 == server)
        };
        let there = (0u32..).zip(&self.places).filter(|(_, place)| at(place) == Some(true));
        there.map(|(id, _)| id).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
