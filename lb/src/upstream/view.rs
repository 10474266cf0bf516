//! One configuration's view of the servers of an upstream.
//!
//! Live state belongs to servers; weights, bounds and the algorithm belong to a configuration. For the moments around a reload two
//! configurations choose among the same servers, so each has a view, and every view is told of every change.
//!
//! A view keeps the rank of each of its servers up to date, and so knows at any time who is eligible. Eligible is who is *usable* (by
//! weight and health) and not full. Of the usable, servers that pass their checks come first; those not yet checked are used only while
//! no server passes; and ejected ones only when there is nobody else, because an ejection must never be what leaves no server at all. A
//! server that fails its check is never used.
//!
//! Backup servers are a tier of their own. They are used while no other server is usable, or when a request has tried all the usable
//! ones. They are no overflow: while the others are merely full, requests wait or are refused.

use std::sync::Arc;
use std::time::Instant;

use rand::rngs::SmallRng;

use super::NoServer;
use super::check::{Check, Status};
use super::resolve::ResolvedServer;
use super::slot::Slot;
use crate::balance::{self, Algorithm, Entrant, Field, Latency, NOT_ELIGIBLE, rank, shares};

/// A server as one configuration has it.
pub(super) struct Member {
    /// Divided by what all weights of the view have in common.
    weight: u32,
    limit: u32,
    backup: bool,
    check: Option<Arc<Check>>,
    usable: bool,
    /// Whether it may be chosen now.
    eligible: bool,
    /// Whether it goes on with clients that have stayed with it.
    keeps: bool,
}

/// See the module.
pub(super) struct View {
    pub(super) id: u64,
    /// By slot; `None` is a server of other configurations.
    members: Vec<Option<Member>>,
    tiers: [Tier; 2],
    /// The epoch of the checks that `usable` was worked out at.
    epoch: u64,
    /// Whether an ejection has begun or ended since.
    pub(super) stale: bool,
    /// How many may be chosen now.
    eligible: usize,
    /// Whether somebody has become one of them; whoever serves those who wait takes it back, as the next.
    pub(super) opened: bool,
    /// Whether it was worked out anew who is usable.
    pub(super) refreshed: bool,
}

/// The servers that are tried first, or the backup ones. All by slot.
struct Tier {
    algorithm: Box<dyn Algorithm>,
    ranks: Vec<u32>,
    weights: Vec<u32>,
    shares: Vec<i32>,
    usable: usize,
}

/// How good a server is, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Passing,
    Unchecked,
    Ejected,
    Failing,
}

/// A server of a configuration that a view is made for: its slot, what the configuration says, and its check.
pub(super) struct Placed<'a> {
    pub(super) slot: usize,
    pub(super) server: &'a ResolvedServer,
    pub(super) name: &'a Arc<str>,
    pub(super) check: Option<&'a Arc<Check>>,
}

/// What algorithms see of the live state, by slot.
pub(super) struct Live<'a> {
    pub(super) loads: &'a [u32],
    pub(super) latencies: &'a [Latency],
    pub(super) turns: &'a mut [i32],
    pub(super) random: &'a mut SmallRng,
}

impl View {
    pub(super) fn new(id: u64, balance: &lb_config::Balance, servers: &[Placed<'_>]) -> Self {
        let width = servers.iter().map(|placed| placed.slot + 1).max().unwrap_or(0);
        let common = servers.iter().fold(0, |common, placed| gcd(common, placed.server.weight)).max(1);
        let mut members: Vec<Option<Member>> = (0..width).map(|_| None).collect();
        for placed in servers {
            let server = placed.server;
            let (weight, limit) = (
                server.weight / common,
                server.max_connections.map_or(u32::MAX, std::num::NonZeroU32::get),
            );
            members[placed.slot] = Some(Member {
                weight,
                limit,
                backup: server.backup,
                check: placed.check.cloned(),
                usable: false,
                eligible: false,
                keeps: false,
            });
        }
        let tier = |backup: bool| {
            let own = |placed: &&Placed<'_>| placed.server.backup == backup && placed.server.weight > 0;
            let entrant = |placed: &Placed<'_>| Entrant {
                position: placed.slot,
                weight: placed.server.weight / common,
                name: placed.name.clone(),
            };
            Tier::new(balance, &servers.iter().filter(own).map(entrant).collect::<Vec<_>>(), width)
        };
        let tiers = [tier(false), tier(true)];
        Self {
            id,
            members,
            tiers,
            epoch: 0,
            stale: true,
            eligible: 0,
            opened: false,
            refreshed: false,
        }
    }

    fn member(&self, slot: usize) -> Option<&Member> {
        self.members.get(slot)?.as_ref()
    }

    /// Whether somebody must [`refresh`](Self::refresh) before choosing.
    pub(super) fn is_current(&self, epoch: u64) -> bool {
        self.epoch == epoch && !self.stale
    }

    /// Works out anew who is usable. `epoch` was read before any status is.
    pub(super) fn refresh(&mut self, epoch: u64, slots: &[Slot], loads: &[u32]) {
        (self.epoch, self.stale, self.refreshed) = (epoch, false, true);
        let standings: Vec<_> = self
            .members
            .iter()
            .zip(slots)
            .map(|(member, slot)| member.as_ref().map(|member| (member.standing(slot), member.weight > 0)))
            .collect();
        let weighted = standings.iter().flatten().filter(|(_, weighted)| *weighted);
        let best = weighted
            .map(|(standing, _)| standing)
            .min()
            .copied()
            .filter(|best| *best != Standing::Failing);
        for tier in &mut self.tiers {
            tier.usable = 0;
        }
        for (member, standing) in self.members.iter_mut().zip(standings) {
            let (Some(member), Some((standing, weighted))) = (member, standing) else {
                continue;
            };
            member.usable = weighted && Some(standing) == best;
            member.keeps = standing <= best.unwrap_or(Standing::Passing);
            self.tiers[usize::from(member.backup)].usable += usize::from(member.usable);
        }
        for (slot, load) in loads.iter().enumerate() {
            self.update(slot, *load);
        }
    }

    /// Tells of a new load.
    #[inline]
    pub(super) fn update(&mut self, slot: usize, load: u32) {
        let Some(Some(member)) = self.members.get_mut(slot) else { return };
        let eligible = member.usable && load < member.limit;
        if eligible != std::mem::replace(&mut member.eligible, eligible) {
            self.opened |= eligible;
            self.eligible = if eligible { self.eligible + 1 } else { self.eligible - 1 };
        }
        self.tiers[usize::from(member.backup)].ranks[slot] = if eligible { rank(load, member.weight) } else { NOT_ELIGIBLE };
    }

    /// Whether this server may go on with a client that has stayed with it. Its weight, and whether it is a backup, say only who gets
    /// clients that are new.
    pub(super) fn keeps(&self, slot: usize, loads: &[u32]) -> bool {
        self.member(slot).is_some_and(|member| member.keeps && loads[slot] < member.limit)
    }

    /// Chooses among the eligible that are not in `tried`.
    pub(super) fn choose(
        &mut self,
        live: &mut Live<'_>,
        tried: impl Iterator<Item = usize> + Clone,
        hash: u64,
        now: Instant,
    ) -> Result<usize, NoServer> {
        for backup in [false, true] {
            let tier = &mut self.tiers[usize::from(backup)];
            if tier.usable == 0 {
                continue;
            }
            for slot in tried.clone() {
                if let Some(rank) = tier.ranks.get_mut(slot) {
                    *rank = NOT_ELIGIBLE;
                }
            }
            let chosen = tier.pick(live, hash, now);
            for slot in tried.clone() {
                self.update(slot, live.loads[slot]);
            }
            if let Some(slot) = chosen {
                return Ok(slot);
            }
            let full = |(slot, member): (usize, &Option<Member>)| {
                member.as_ref().is_some_and(|member| member.usable && member.backup == backup) && !tried.clone().any(|tried| tried == slot)
            };
            if self.members.iter().enumerate().any(full) {
                return Err(NoServer::AllFull);
            }
        }
        Err(if self.any_usable() {
            NoServer::AllTried
        } else {
            NoServer::NoneHealthy
        })
    }

    /// Whether anybody may be chosen now.
    pub(super) fn has_room(&self) -> bool {
        self.eligible > 0
    }

    /// Whether there is anybody to send requests to, now or when they are less full.
    pub(super) fn any_usable(&self) -> bool {
        self.tiers.iter().any(|tier| tier.usable > 0)
    }

    /// Whether ejecting this server would leave others here, and keep within `percent` of them. Where it gets nothing anyway, it may.
    pub(super) fn may_eject(&self, slot: usize, slots: &[Slot], percent: u8) -> bool {
        if !self.uses(slot) {
            return true;
        }
        let weighted = || {
            self.members
                .iter()
                .zip(slots)
                .enumerate()
                .filter_map(|(n, (member, slot))| Some((n, member.as_ref()?, slot)))
        };
        let (mut total, mut ejected, mut others) = (0, 0, 0);
        for (other, member, state) in weighted().filter(|(_, member, _)| member.weight > 0) {
            total += 1;
            ejected += usize::from(state.is_ejected());
            others += usize::from(other != slot && member.usable && !state.is_ejected());
        }
        others > 0 && super::eject::within_share(total, ejected, percent)
    }

    /// Whether this server gets requests here, when it is well.
    pub(super) fn uses(&self, slot: usize) -> bool {
        self.member(slot).is_some_and(|member| member.weight > 0)
    }

    /// Whether somebody in both views has another share here than there.
    pub(super) fn shares_differ(&self, other: &Self) -> bool {
        let pairs = self.tiers.iter().zip(&other.tiers);
        pairs
            .flat_map(|(here, there)| here.shares.iter().zip(&there.shares))
            .any(|(here, there)| *here != 0 && *there != 0 && here != there)
    }
}

impl Member {
    fn standing(&self, slot: &Slot) -> Standing {
        let checked = self.check.as_ref().map_or(Status::Healthy, |check| check.status());
        match checked {
            Status::Unhealthy => Standing::Failing,
            _ if slot.is_ejected() => Standing::Ejected,
            Status::Unchecked => Standing::Unchecked,
            Status::Healthy => Standing::Passing,
        }
    }
}

impl Tier {
    fn new(balance: &lb_config::Balance, entrants: &[Entrant], width: usize) -> Self {
        let mut weights = vec![0; width];
        for entrant in entrants {
            weights[entrant.position] = entrant.weight;
        }
        let shares = shares(&weights);
        Self {
            algorithm: balance::build(balance, entrants, width),
            ranks: vec![NOT_ELIGIBLE; width],
            weights,
            shares,
            usable: 0,
        }
    }

    fn pick(&mut self, live: &mut Live<'_>, hash: u64, now: Instant) -> Option<usize> {
        let width = self.ranks.len();
        let mut field = Field {
            ranks: &self.ranks,
            weights: &self.weights,
            shares: &self.shares,
            loads: &live.loads[..width],
            latencies: &live.latencies[..width],
            now,
            turns: &mut live.turns[..width],
        };
        self.algorithm.pick(&mut field, hash, live.random)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
