//! `adaptive_concurrency`: a server gets no more requests than it was found to take.

use std::time::{Duration, Instant};

use lb_config::{Balance, HashOn, Queue};

use super::super::fixture::{build, config, leases, number, servers, upstream};
use super::super::{Entry, Heard, NoServer, Registry, Upstream, Wanted};

/// What is given to a server of which nothing is known.
const START: usize = 10;

fn adaptive(weights: &[u32]) -> lb_config::Upstream {
    let mut config = config(servers(weights));
    config.adaptive_concurrency = true;
    config
}

fn limits(upstream: &Upstream) -> Vec<Option<u32>> {
    let limit = |server: &super::super::Server| server.status().concurrency_limit;
    upstream.servers().iter().map(|server| limit(server)).collect()
}

fn refused(upstream: &Upstream) -> NoServer {
    upstream.pick(&Wanted::default()).expect_err("no room")
}

/// The server is full of requests that it does not answer in time, for some seconds.
fn overload(upstream: &Upstream, start: Instant) {
    for n in 0..200 {
        let now = start + n * Duration::from_millis(25);
        let limit = limits(upstream)[0].unwrap_or_default();
        let held: Vec<_> = (0..limit)
            .map(|_| upstream.pick_at(&Wanted::default(), now).expect("room"))
            .collect();
        held.iter()
            .for_each(|lease| lease.observed_at(Duration::from_millis(20), Heard::Overloaded, now));
    }
}

#[test]
fn a_server_gets_no_more_than_its_limit_whatever_the_algorithm() {
    for name in Balance::names() {
        let mut config = adaptive(&[1, 3]);
        config.balance = Balance::named(name, HashOn::ClientIp).expect(name);
        let users = upstream(&config);
        let held = leases(&users, 2 * START);
        assert_eq!(refused(&users), NoServer::AllFull, "{name}");
        drop(held);
        assert!(users.pick(&Wanted::default()).is_ok(), "{name}");
    }
}

#[test]
fn the_smaller_of_both_limits_binds() {
    for (most, room) in [(3, 3), (50, START)] {
        let mut config = adaptive(&[1]);
        config.servers[0].max_connections = Some(number(most));
        let users = upstream(&config);
        let _held = leases(&users, room);
        assert_eq!(refused(&users), NoServer::AllFull);
    }
}

#[test]
fn what_is_answered_already_takes_no_room() {
    let users = upstream(&adaptive(&[1]));
    let now = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..5 * START {
        let lease = users.pick(&Wanted::default()).expect("room");
        lease.observed_at(Duration::from_millis(5), Heard::Good, now);
        streams.push(lease);
    }
    let held = leases(&users, START);
    assert_eq!(refused(&users), NoServer::AllFull);
    drop((held, streams));
    let _held = leases(&users, START);
    assert_eq!(refused(&users), NoServer::AllFull, "all that was counted has been given back");
}

#[test]
fn a_sticky_client_goes_elsewhere_when_its_server_is_full() {
    let users = upstream(&adaptive(&[1, 1]));
    let sticky = Some(users.servers()[0].id());
    let wanted = Wanted {
        sticky,
        ..Wanted::default()
    };
    let pick = || users.pick(&wanted).expect("room");
    let held: Vec<_> = (0..START + 1).map(|_| pick()).collect();
    let on = |n: usize| held.iter().filter(|lease| lease.server().id() == users.servers()[n].id()).count();
    assert_eq!((on(0), on(1)), (START, 1));
}

#[test]
fn who_waits_gets_the_place_of_the_first_that_is_answered() {
    let mut config = adaptive(&[1]);
    config.queue = Some(Queue {
        size: number(5),
        timeout: Duration::from_secs(1),
    });
    let users = upstream(&config);
    let held = leases(&users, START);
    let Ok(Entry::Place(place)) = users.line_up(&Wanted::default()) else {
        panic!("there was room")
    };
    assert!(place.outcome().is_none());
    held[0].observed(Duration::from_millis(5), Heard::Good);
    assert!(matches!(place.outcome(), Some(Ok(_))));
}

#[test]
fn what_was_learned_outlives_a_reload_and_holds_only_where_the_file_says_so() {
    let registry = Registry::new();
    let users = build(&registry, &adaptive(&[1]));
    overload(&users, Instant::now());
    assert_eq!(limits(&users), [Some(1)], "one is left in any case");
    let again = build(&registry, &adaptive(&[1, 1]));
    assert_eq!(limits(&again), [Some(1), Some(START as u32)]);
    let without = build(&registry, &config(servers(&[1])));
    assert_eq!(limits(&without), [None]);
    let _held = leases(&without, 5 * START);
    assert!(again.pick(&Wanted::default()).is_ok(), "the other one has room");
}

#[test]
fn what_the_file_in_force_says_of_max_connections_holds_for_requests_of_earlier_ones_too() {
    let registry = Registry::new();
    let with = |most| {
        let mut config = config(servers(&[1]));
        config.servers[0].max_connections = Some(number(most));
        config
    };
    let old = build(&registry, &with(5));
    old.in_force();
    let _held = leases(&old, 2);
    let new = build(&registry, &with(3));
    new.in_force();
    let _one = leases(&old, 1);
    assert_eq!((refused(&old), refused(&new)), (NoServer::AllFull, NoServer::AllFull));
    let newer = build(&registry, &with(6));
    newer.in_force();
    let _more = leases(&old, 3);
    assert_eq!(refused(&old), NoServer::AllFull);
}
