//! The requests under way.

use super::Arrival;
use crate::upstream::{Heard, Lease, Place, RetryPermit, ServerId};

/// Tries of one request that have draws of their own.
const TRIES: u64 = 1 << 16;

/// How a server fails a request; named as in [`crate::exchange::Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// The server went down while it had the request.
    Reset,
    /// No answer within `timeouts.read` or `timeouts.request`.
    Timeout,
}

impl Failure {
    /// What it says about the server.
    pub(super) fn heard(self) -> Heard {
        match self {
            Self::Timeout => Heard::Overloaded,
            Self::Connect | Self::Reset => Heard::Bad,
        }
    }
}

/// What a request is doing, and what will be when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No server has it: it waits for its next try, or will be sent at once.
    Paused,
    /// It waits for a server that has room, until it is due.
    Waiting,
    /// A server has it, and will answer.
    Answered,
    /// A server has it, and will answer 503.
    Status,
    /// A server has it, and its answer would come too late.
    TimedOut,
}

impl Phase {
    pub(super) fn is_at_server(self) -> bool {
        !matches!(self, Self::Paused | Self::Waiting)
    }
}

/// A server that may be asked, or whose answer may be passed on: the right to it, and where it stands among the servers.
pub(super) type Held = (Lease, usize);

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    /// When it arrived.
    pub(super) arrived: u64,
    /// When it must have its answer.
    pub(super) deadline: u64,
    /// Its place among all requests.
    pub(super) number: u64,
    pub(super) hash: u64,
    pub(super) idempotent: bool,
    pub(super) held: Option<Held>,
    /// A 503 that is the last word if the tries after it come to nothing.
    pub(super) spare: Option<Held>,
    /// Where it stands in the queue.
    pub(super) place: Option<Place>,
    pub(super) asked: u64,
    pub(super) phase: Phase,
    pub(super) tried: Vec<ServerId>,
    /// Tries that got a connection.
    pub(super) count: u32,
    /// One server was charged with a failure; that is enough.
    pub(super) charged: bool,
    pub(super) permit: Option<RetryPermit>,
}

impl Flight {
    pub(super) fn new(arrival: Arrival, number: u64, limit: Option<u64>) -> Self {
        Self {
            arrived: arrival.at,
            deadline: limit.map_or(u64::MAX, |limit| arrival.at.saturating_add(limit)),
            number,
            hash: arrival.hash,
            idempotent: arrival.idempotent,
            held: None,
            spare: None,
            place: None,
            asked: arrival.at,
            phase: Phase::Paused,
            tried: Vec::new(),
            count: 0,
            charged: false,
            permit: None,
        }
    }

    /// What chance is drawn with: another number for each try of each request.
    pub(super) fn draw(&self) -> u64 {
        self.number.wrapping_mul(TRIES).wrapping_add(self.count.into())
    }
}

/// All of them. A place is used again and again; its stamp tells what it was used for.
#[derive(Debug, Default)]
pub(super) struct Flights {
    places: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
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
        self.places.push(Slot {
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

    /// The stamp that holds.
    pub(super) fn current(&self, id: u32) -> u32 {
        self.places.get(id as usize).map_or(0, |place| place.stamp)
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
        let at = |place: &Slot| {
            let flight = place.flight.as_ref()?;
            Some(flight.phase.is_at_server() && flight.held.as_ref()?.1 == server)
        };
        let there = (0u32..).zip(&self.places).filter(|(_, place)| at(place) == Some(true));
        there.map(|(id, _)| id).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
