//! Who waits, who is served when, and that nobody is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::task::{ArcWake, noop_waker, waker};
use lb_config::{Queue, UpstreamServer};
use proptest::prelude::*;

use super::super::fixture::{after, build, config, health_check, in_flight, number, server, upstream};
use super::super::{Entry, Lease, NoServer, Place, Registry, ServerId, Upstream, Wanted};

/// Servers with room for so many requests each, and a queue.
fn limited(limits: &[u32], size: u32) -> lb_config::Upstream {
    let server = |(n, limit): (usize, &u32)| UpstreamServer {
        max_connections: Some(number(*limit)),
        ..server(&format!("10.0.0.{}:80", n + 1), 1)
    };
    let mut config = config(limits.iter().enumerate().map(server).collect());
    config.queue = Some(Queue {
        size: number(size),
        timeout: Duration::from_secs(1),
    });
    config
}

fn lease(upstream: &Upstream) -> Lease {
    upstream.pick(&Wanted::default()).expect("room")
}

fn wait_after(upstream: &Upstream, tried: &[ServerId]) -> Place {
    match upstream.line_up(&after(tried)) {
        Ok(Entry::Place(place)) => place,
        other => panic!("no place: {other:?}"),
    }
}

fn wait(upstream: &Upstream) -> Place {
    wait_after(upstream, &[])
}

/// What has come of it.
fn outcome(upstream: &Upstream, place: &Place) -> Option<Result<Lease, NoServer>> {
    let outcome = place.outcome()?;
    Some(outcome.map(|granted| upstream.lease(granted).expect("handed over in this upstream")))
}

fn served(upstream: &Upstream, place: &Place) -> Option<Lease> {
    outcome(upstream, place).map(|outcome| outcome.expect("a server"))
}

struct Woken(AtomicUsize);

impl ArcWake for Woken {
    fn wake_by_ref(woken: &Arc<Self>) {
        woken.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_first_who_waits_is_the_first_served_and_only_that_one_is_woken() {
    let users = upstream(&limited(&[1], 10));
    let held = lease(&users);
    let places = [wait(&users), wait(&users), wait(&users)];
    let wakers = [(); 3].map(|()| Arc::new(Woken(AtomicUsize::new(0))));
    for (place, woken) in places.iter().zip(&wakers) {
        assert_eq!(place.poll(&Context::from_waker(&waker(woken.clone()))), Poll::Pending);
    }
    let woken = || wakers.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect::<Vec<_>>();
    assert_eq!((woken(), users.queued()), (vec![0, 0, 0], Some(3)));
    drop(held);
    assert_eq!((woken(), users.queued()), (vec![1, 0, 0], Some(2)));
    assert_eq!(in_flight(&users), [1], "what is handed over counts");
    assert_eq!(users.pick(&Wanted::default()).expect_err("nobody overtakes"), NoServer::AllFull);
    assert!(outcome(&users, &places[1]).is_none());
    let first = served(&users, &places[0]).expect("its turn");
    drop(first);
    assert_eq!(woken(), [1, 1, 0]);
    drop(served(&users, &places[1]));
    drop(served(&users, &places[2]));
    assert_eq!((in_flight(&users), users.queued()), (vec![0], Some(0)));
}

#[test]
fn a_place_that_a_client_who_left_was_handed_goes_on_to_the_next() {
    let users = upstream(&limited(&[1], 10));
    let held = lease(&users);
    let (gone, gone_late, last) = (wait(&users), wait(&users), wait(&users));
    drop(gone);
    assert_eq!(users.queued(), Some(2));
    drop(held);
    drop(gone_late);
    let granted = last.outcome().expect("handed on").expect("a server");
    drop(granted);
    assert_eq!(in_flight(&users), [0], "nor is it lost when nobody is left");
    assert!(users.pick(&Wanted::default()).is_ok());
}

#[test]
fn a_place_goes_to_the_first_who_has_not_tried_that_server() {
    let users = upstream(&limited(&[1, 1], 10));
    let (one, two) = (lease(&users), lease(&users));
    let tried = [one.server().id()];
    let (retry, fresh) = (wait_after(&users, &tried), wait(&users));
    drop(one);
    assert!(outcome(&users, &retry).is_none());
    let kept = served(&users, &fresh).expect("the one that may have it");
    assert_eq!(kept.server().id(), tried[0]);
    drop(two);
    let other = served(&users, &retry).expect("the other server");
    assert_ne!(other.server().id(), tried[0]);
}

#[test]
fn no_more_wait_than_may() {
    let users = upstream(&limited(&[1], 2));
    let _held = lease(&users);
    let places = [wait(&users), wait(&users)];
    assert_eq!(users.line_up(&Wanted::default()).expect_err("too many"), NoServer::QueueFull);
    drop(places);
    let _place = wait(&users);
}

/// Two servers and a backup that are checked, all of them healthy and full but the backup.
fn checked() -> (Arc<Upstream>, Vec<Lease>) {
    let mut config = limited(&[1, 1, 1], 10);
    config.servers[2].backup = true;
    config.health_check = Some(health_check(60_000));
    let users = upstream(&config);
    (0..3).for_each(|server| check(&users, server, true));
    let held = vec![lease(&users), lease(&users)];
    (users, held)
}

/// The check of a server comes to this, for good.
fn check(users: &Upstream, server: usize, passes: bool) {
    let check = users.servers()[server].check().expect("a check");
    for _ in 0..3 {
        check.note((!passes).then(|| "down".into()), Duration::ZERO, 2, 3);
    }
}

#[test]
fn when_the_last_active_server_dies_the_backup_takes_over_at_once() {
    let (users, _held) = checked();
    let (first, second) = (wait(&users), wait(&users));
    check(&users, 0, false);
    assert!(outcome(&users, &first).is_none(), "one is left, and full");
    check(&users, 1, false);
    let backup = served(&users, &first).expect("the backup");
    assert_eq!(backup.server().id(), users.servers()[2].id());
    assert!(outcome(&users, &second).is_none(), "it is full by now");
    drop(backup);
    assert!(served(&users, &second).is_some());
}

#[test]
fn when_no_server_is_left_nobody_waits_any_longer() {
    let (users, _held) = checked();
    let (first, second) = (wait(&users), wait_after(&users, &[users.servers()[0].id()]));
    (0..2).for_each(|server| check(&users, server, false));
    let _backup = served(&users, &first).expect("the backup");
    check(&users, 2, false);
    assert_eq!(outcome(&users, &second).expect("told").expect_err("nobody"), NoServer::NoneHealthy);
}

#[test]
fn who_has_tried_all_that_are_left_does_not_wait() {
    let (users, _held) = checked();
    let tried: Vec<_> = [0, 2].map(|server| users.servers()[server].id()).into();
    let place = wait_after(&users, &tried);
    check(&users, 1, false);
    assert_eq!(outcome(&users, &place).expect("told").expect_err("nobody"), NoServer::AllTried);
}

#[test]
fn a_server_that_becomes_well_serves_those_who_wait() {
    let (users, _held) = checked();
    check(&users, 0, false);
    let places = [wait(&users), wait(&users)];
    check(&users, 0, true);
    assert!(outcome(&users, &places[0]).is_none(), "it has a request still");
    let (users, held) = checked();
    drop(held);
    check(&users, 0, false);
    let _held = lease(&users);
    let place = wait(&users);
    check(&users, 0, true);
    assert!(served(&users, &place).is_some());
}

#[test]
fn the_end_of_an_ejection_is_waited_for() {
    let users = upstream(&limited(&[1, 1], 10));
    let now = Instant::now();
    let eject_for = Duration::from_secs(10);
    (0..5).for_each(|_| users.servers()[0].failed_at(now));
    let _held = lease(&users);
    let place = wait(&users);
    assert_eq!(place.next_look(), Some(now + eject_for));
    let context = noop_waker();
    assert_eq!(place.poll(&Context::from_waker(&context)), Poll::Pending);
    users.pool.queue_at(now + eject_for, |_| ());
    assert!(place.poll(&Context::from_waker(&context)).is_ready());
    assert_eq!(served(&users, &place).expect("it is back").server().id(), users.servers()[0].id());
}

#[test]
fn those_who_wait_get_the_servers_of_a_new_configuration_in_their_order() {
    let registry = Registry::new();
    let old = build(&registry, &limited(&[1], 10));
    old.make_current();
    let _held = lease(&old);
    let places = [wait(&old), wait(&old), wait(&old)];
    let new = build(&registry, &limited(&[1, 2], 10));
    assert!(places[0].outcome().is_none(), "it is not in force yet");
    new.make_current();
    for place in &places[..2] {
        let granted = place.outcome().expect("handed over").expect("a server");
        assert!(!old.granted(&granted));
        let lease = new.lease(granted).expect("of the new one");
        assert_eq!(lease.server().id(), new.servers()[1].id());
        std::mem::forget(lease);
    }
    assert!(places[2].outcome().is_none());
    // a configuration without the queue's servers changes nothing for those who wait under the old one
    drop(new);
    assert_eq!(old.queued(), Some(1));
}

#[test]
fn who_lines_up_under_an_old_configuration_finds_the_room_of_the_new_one() {
    let registry = Registry::new();
    let old = build(&registry, &limited(&[1], 10));
    let _held = lease(&old);
    let new = build(&registry, &limited(&[1, 1], 10));
    new.make_current();
    let place = wait(&old);
    let granted = place.outcome().expect("handed over").expect("a server");
    assert!(old.lease(granted).is_none(), "and it goes back where nobody can take it over");
    assert_eq!(in_flight(&new), [1, 0]);
}

#[derive(Debug, Clone)]
enum Step {
    Arrive(bool),
    Finish(usize),
    Leave(usize),
    Fetch(usize),
    Check(usize, bool),
    Reload(Vec<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Arrive),
        4 => any::<usize>().prop_map(Step::Finish),
        1 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Fetch),
        1 => (0..3usize, any::<bool>()).prop_map(|(server, passes)| Step::Check(server, passes)),
        1 => prop::collection::vec(1..4u32, 3).prop_map(Step::Reload),
    ]
}

/// One upstream, those who wait and those who are served.
struct World {
    registry: Arc<Registry>,
    upstreams: Vec<Arc<Upstream>>,
    limits: Vec<u32>,
    leases: Vec<Lease>,
    places: Vec<(bool, Place)>,
}

impl World {
    fn new(limits: Vec<u32>) -> Self {
        let mut world = Self {
            registry: Registry::new(),
            upstreams: Vec::new(),
            limits: Vec::new(),
            leases: Vec::new(),
            places: Vec::new(),
        };
        world.reload(limits);
        (0..3).for_each(|server| check(world.newest(), server, true));
        world
    }

    fn newest(&self) -> &Upstream {
        self.upstreams.last().expect("one at least")
    }

    fn reload(&mut self, limits: Vec<u32>) {
        let mut config = limited(&limits, 50);
        config.health_check = Some(health_check(60_000));
        config.servers[2].backup = true;
        let new = build(&self.registry, &config);
        new.make_current();
        self.upstreams.push(new);
        self.limits = limits;
    }

    fn fetch(&mut self, at: usize) {
        match self.places[at].1.outcome() {
            Some(Ok(granted)) => {
                let found = self.upstreams.iter().rev().find(|upstream| upstream.granted(&granted)).cloned();
                self.leases.extend(found.expect("all are held").lease(granted));
                drop(self.places.remove(at));
            }
            Some(Err(_)) => drop(self.places.remove(at)),
            None => {}
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive(tried) => {
                let tried = if tried { vec![self.newest().servers()[0].id()] } else { vec![] };
                match self.newest().line_up(&after(&tried)) {
                    Ok(Entry::Lease(lease)) => self.leases.push(lease),
                    Ok(Entry::Place(place)) => self.places.push((!tried.is_empty(), place)),
                    Err(_) => {}
                }
            }
            Step::Finish(n) if !self.leases.is_empty() => drop(self.leases.swap_remove(n % self.leases.len())),
            Step::Leave(n) if !self.places.is_empty() => drop(self.places.remove(n % self.places.len())),
            Step::Fetch(n) if !self.places.is_empty() => self.fetch(n % self.places.len()),
            Step::Check(server, passes) => check(self.newest(), server, passes),
            Step::Reload(limits) => self.reload(limits),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn nobody_waits_who_could_be_served_and_no_limit_is_passed(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new(vec![2, 1, 1]);
        for step in steps {
            let before = in_flight(world.newest());
            world.step(step);
            let loads = in_flight(world.newest());
            for ((load, before), limit) in loads.iter().zip(before).zip(&world.limits) {
                prop_assert!(*load <= (*limit).max(before), "{loads:?} over {:?}", world.limits);
            }
            let waits = |place: &Place| place.poll(&Context::from_waker(&noop_waker())).is_pending();
            let waiting = |tried: bool| world.places.iter().filter(|(has, _)| *has == tried).map(|(_, place)| waits(place)).collect::<Vec<_>>();
            for (tried, waiting) in [(false, waiting(false)), (true, waiting(true))] {
                if waiting.contains(&true) {
                    let tried = if tried { vec![world.newest().servers()[0].id()] } else { vec![] };
                    let room = world.newest().pick(&after(&tried));
                    prop_assert_eq!(room.err(), Some(NoServer::AllFull));
                }
                // of those alike, the first are served first
                prop_assert!(waiting.is_sorted(), "{waiting:?}");
            }
        }
        // and in the end every count comes back
        while !world.leases.is_empty() || !world.places.is_empty() {
            world.leases.clear();
            if !world.places.is_empty() {
                let count = world.places.len();
                world.fetch(0);
                if world.places.len() == count {
                    drop(world.places.remove(0));
                }
            }
        }
        prop_assert_eq!(in_flight(world.newest()), [0; 3]);
        prop_assert_eq!(world.newest().queued(), Some(0));
    }
}
