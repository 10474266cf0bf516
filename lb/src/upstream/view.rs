//! One configuration's view of the servers of an upstream.
//!
//! Live state belongs to servers; weights, bounds and the algorithm belong to a configuration. For the moments around a reload two
//! configurations choose among the same servers, so each has a view, and every view is told of every change.
//!
//! A view keeps the rank of each of its servers up to date, and so knows at any time who is eligible. Eligible is who is *usable* (by
//! weight and [standing](super::standing)) and not full. Servers that pass their checks come first; those not yet checked are used only
//! while no server passes; those that have announced a drain only when there is nobody else, and ejected ones when even those are gone,
//! because an ejection must never be what leaves no server at all. A server that fails its check is never used, nor one that an operator
//! has taken out. Where so few are healthy that the configuration calls it panic, ejected ones count as if they were not.
//!
//! Backup servers are a tier of their own. They are used while no other server is usable, or when a request has tried all the usable
//! ones. They are no overflow: while the others are merely full, requests wait or are refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;

use super::NoServer;
use super::check::{Check, Status};
use super::limit::Room;
use super::slot::Slot;
use super::slow_start::{self, Presence};
use super::standing::{Facts, Standing, panics};
use crate::balance::{self, Algorithm, Entrant, Field, Latency, NOT_ELIGIBLE, rank, shares};

/// A server as one configuration has it.
pub(super) struct Member {
    /// Divided by what all weights of the view have in common, and scaled where there is a slow start.
    weight: u32,
    /// The weight that counts now, which is less during a slow start.
    current: u32,
    limit: u32,
    backup: bool,
    check: Option<Arc<Check>>,
    usable: bool,
    /// Whether it may be chosen now.
    eligible: bool,
    /// Not usable, but only because its first check has not ended.
    waits: bool,
    /// Whether it goes on with clients that have stayed with it.
    keeps: bool,
}

/// See the module.
pub(super) struct View {
    pub(super) id: u64,
    /// What it was made from.
    pub(super) plan: Arc<Plan>,
    /// By slot; `None` is a server of other configurations.
    members: Vec<Option<Member>>,
    tiers: [Tier; 2],
    /// The epoch of the checks that `usable` was worked out at.
    epoch: u64,
    /// Whether something else has changed since: an ejection, an announcement, an order.
    pub(super) stale: bool,
    /// How many may be chosen now.
    eligible: usize,
    /// Whether somebody has become one of them; whoever serves those who wait takes it back, as the next.
    pub(super) opened: bool,
    /// Whether it was worked out anew who is usable.
    pub(super) refreshed: bool,
    /// Whether ejected servers are used because too few others are left.
    pub(super) panic: bool,
    /// When weights grow next; `None`: all are whole.
    next_growth: Option<Instant>,
}

/// The servers that are tried first, or the backup ones. All by slot.
struct Tier {
    algorithm: Box<dyn Algorithm>,
    ranks: Vec<u32>,
    weights: Vec<u32>,
    shares: Vec<i32>,
    usable: usize,
}

/// What a configuration says of an upstream, as far as views are made from it: anew whenever an operator changes a weight.
pub(super) struct Plan {
    pub(super) balance: lb_config::Balance,
    pub(super) panic_percent: u8,
    pub(super) slow_start: Option<Duration>,
    /// Whether limits that were learned hold.
    pub(super) adaptive: bool,
    pub(super) servers: Vec<Placed>,
}

/// A server of a configuration that a view is made for: its slot, what the configuration says, and its check.
pub(super) struct Placed {
    pub(super) slot: usize,
    pub(super) weight: u32,
    pub(super) limit: u32,
    pub(super) backup: bool,
    pub(super) name: Arc<str>,
    pub(super) check: Option<Arc<Check>>,
}

/// What algorithms see of the live state, by slot.
pub(super) struct Live<'a> {
    pub(super) loads: &'a [u32],
    pub(super) latencies: &'a [Latency],
    pub(super) rooms: &'a [Room],
    pub(super) turns: &'a mut [i32],
    pub(super) random: &'a mut SmallRng,
}

impl View {
    /// `ordered`: the weight that an operator wants a slot to have in place of the plan's.
    pub(super) fn new(id: u64, plan: Arc<Plan>, ordered: impl Fn(usize) -> Option<u32>) -> Self {
        let servers = &plan.servers;
        let width = servers.iter().map(|placed| placed.slot + 1).max().unwrap_or(0);
        let weight = |placed: &Placed| ordered(placed.slot).unwrap_or(placed.weight);
        let common = servers.iter().fold(0, |common, placed| gcd(common, weight(placed))).max(1);
        let scale = if plan.slow_start.is_some() { slow_start::SCALE } else { 1 };
        let mut members: Vec<Option<Member>> = (0..width).map(|_| None).collect();
        for placed in servers {
            let weight = weight(placed) / common * scale;
            members[placed.slot] = Some(Member {
                weight,
                current: weight,
                limit: placed.limit,
                backup: placed.backup,
                check: placed.check.clone(),
                usable: false,
                eligible: false,
                waits: false,
                keeps: false,
            });
        }
        let tiers = [false, true].map(|backup| Tier::new(&plan, &members, backup));
        Self {
            id,
            members,
            tiers,
            epoch: 0,
            stale: true,
            eligible: 0,
            opened: false,
            refreshed: false,
            panic: false,
            next_growth: None,
            plan,
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
    pub(super) fn refresh(&mut self, epoch: u64, slots: &[Slot], loads: &[u32], rooms: &[Room]) {
        (self.epoch, self.stale, self.refreshed) = (epoch, false, true);
        let facts = |(member, slot): (&Option<Member>, &Slot)| member.as_ref().map(|member| member.facts(slot));
        let facts: Vec<_> = self.members.iter().zip(slots).map(facts).collect();
        let primary = self.members.iter().zip(&facts).filter_map(|(member, facts)| {
            let member = member.as_ref()?;
            facts.filter(|_| member.weight > 0 && !member.backup)
        });
        self.panic = panics(primary.filter_map(Facts::standing), self.plan.panic_percent);
        let standing = |(member, facts): (&Option<Member>, Option<Facts>)| {
            let readmits = self.panic && member.as_ref().is_some_and(|member| !member.backup);
            facts.and_then(|facts| if readmits { facts.readmitted() } else { facts }.standing())
        };
        let standings: Vec<_> = self.members.iter().zip(facts).map(standing).collect();
        let weighted = self.members.iter().zip(&standings).filter_map(|(member, standing)| {
            let member = member.as_ref()?;
            standing.filter(|_| member.weight > 0)
        });
        let best = weighted.min().filter(|best| *best != Standing::Failing);
        for tier in &mut self.tiers {
            tier.usable = 0;
        }
        for (member, standing) in self.members.iter_mut().zip(standings) {
            let Some(member) = member else { continue };
            member.usable = member.weight > 0 && standing.is_some() && standing == best;
            member.waits = !member.usable && member.weight > 0 && standing == Some(Standing::Unchecked);
            member.keeps = standing.is_some_and(|standing| standing <= best.unwrap_or(Standing::Passing));
            self.tiers[usize::from(member.backup)].usable += usize::from(member.usable);
        }
        self.update_all(loads, rooms);
    }

    fn update_all(&mut self, loads: &[u32], rooms: &[Room]) {
        for (slot, (load, room)) in loads.iter().zip(rooms).enumerate() {
            self.update(slot, *load, room);
        }
    }

    /// Tells of a new load.
    #[inline]
    pub(super) fn update(&mut self, slot: usize, load: u32, room: &Room) {
        let Some(Some(member)) = self.members.get_mut(slot) else { return };
        let eligible = member.usable && !is_full(member, &self.plan, load, room);
        if eligible != std::mem::replace(&mut member.eligible, eligible) {
            self.opened |= eligible;
            self.eligible = if eligible { self.eligible + 1 } else { self.eligible - 1 };
        }
        self.tiers[usize::from(member.backup)].ranks[slot] = if eligible { rank(load, member.current) } else { NOT_ELIGIBLE };
    }

    /// Whether weights are due to [`grow`](Self::grow).
    #[inline]
    pub(super) fn grows_by(&self, now: Instant) -> bool {
        self.next_growth.is_some_and(|at| at <= now)
    }

    /// Gives those who are in their slow start the weight that they have by now.
    pub(super) fn grow(&mut self, now: Instant, slots: &[Slot], loads: &[u32], rooms: &[Room]) {
        self.next_growth = None;
        let Some(lasts) = self.plan.slow_start else { return };
        let mut changed = [false; 2];
        for (member, slot) in self.members.iter_mut().zip(slots) {
            let Some(member) = member else { continue };
            let age = slot.warmth.since().map(|since| now.saturating_duration_since(since));
            let current = age.map_or(member.weight, |age| slow_start::weight(member.weight, age, lasts));
            changed[usize::from(member.backup)] |= current != member.current;
            member.current = current;
            if age.is_some_and(|age| age < lasts) {
                self.next_growth = Some(now + slow_start::STEP);
            }
        }
        for (backup, _) in [false, true].into_iter().zip(changed).filter(|(_, changed)| *changed) {
            let tier = &mut self.tiers[usize::from(backup)];
            let fresh = Tier::new(&self.plan, &self.members, backup);
            (tier.algorithm, tier.weights, tier.shares) = (fresh.algorithm, fresh.weights, fresh.shares);
        }
        if changed != [false; 2] {
            self.update_all(loads, rooms);
        }
    }

    /// How this server stands here.
    pub(super) fn presence(&self, slot: usize) -> Presence {
        match self.member(slot) {
            Some(member) if member.usable => Presence::InUse,
            Some(member) if member.waits => Presence::Waiting,
            _ => Presence::Out,
        }
    }

    /// Which of the two tiers it is in.
    pub(super) fn tier_of(&self, slot: usize) -> Option<usize> {
        self.member(slot).map(|member| usize::from(member.backup))
    }

    /// Whether this server may go on with a client that has stayed with it. Its weight, and whether it is a backup, say only who gets
    /// clients that are new.
    pub(super) fn keeps(&self, slot: usize, loads: &[u32], rooms: &[Room]) -> bool {
        self.member(slot)
            .is_some_and(|member| member.keeps && !is_full(member, &self.plan, loads[slot], &rooms[slot]))
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
                self.update(slot, live.loads[slot], &live.rooms[slot]);
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
        for (other, member, state) in weighted().filter(|(_, member, slot)| member.weight > 0 && slot.is_on_duty()) {
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
    fn facts(&self, slot: &Slot) -> Facts {
        slot.facts(self.check.as_ref().map_or(Status::Healthy, |check| check.status()))
    }
}

impl Tier {
    /// Of the members that are backups, or are not, at the weights that they have now.
    fn new(plan: &Plan, members: &[Option<Member>], backup: bool) -> Self {
        let width = members.len();
        let mut weights = vec![0; width];
        let mut entrants = Vec::new();
        for placed in plan.servers.iter().filter(|placed| placed.backup == backup) {
            let weight = members[placed.slot].as_ref().map_or(0, |member| member.current);
            weights[placed.slot] = weight;
            if weight > 0 {
                entrants.push(Entrant {
                    position: placed.slot,
                    weight,
                    name: placed.name.clone(),
                });
            }
        }
        let shares = shares(&weights);
        Self {
            algorithm: balance::build(&plan.balance, &entrants, width),
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

/// Whether it gets nothing more for now: the smaller of its two limits holds.
fn is_full(member: &Member, plan: &Plan, load: u32, room: &Room) -> bool {
    load >= room.most(member.limit) || (plan.adaptive && room.is_full(load))
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
