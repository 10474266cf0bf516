//! Servers that come back, and get their weight little by little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::{Balance, HashOn};

use super::super::fixture::{build, config, health_check, server, servers, upstream};
use super::super::{Duty, Lease, Order, Registry, Upstream, Wanted};

const SECOND: Duration = Duration::from_secs(1);

/// Equal servers with 10 seconds of slow start.
fn slowly(count: usize) -> lb_config::Upstream {
    lb_config::Upstream {
        slow_start: Some(10 * SECOND),
        ..config(servers(&vec![1; count]))
    }
}

/// How many requests of `n` each gets at this time, one after the other.
fn shares(users: &Upstream, n: usize, now: Instant) -> Vec<usize> {
    let mut counts = vec![0; users.servers().len()];
    for _ in 0..n {
        counts[take(users, now).1] += 1;
    }
    counts
}

fn take(users: &Upstream, now: Instant) -> (Lease, usize) {
    let lease = users.pick_at(&Wanted::default(), now).expect("a server");
    let position = users.position(lease.server());
    (lease, position)
}

fn order(users: &Upstream, position: usize, duty: Option<Duty>, weight: Option<u32>) {
    users.servers()[position].order(Order { duty, weight });
}

/// Takes a server out and brings it back; somebody has looked in between.
fn away_and_back(users: &Upstream, position: usize, now: Instant) {
    order(users, position, Some(Duty::Drain), None);
    shares(users, 1, now);
    order(users, position, Some(Duty::Ready), None);
}

/// Whether these are so many, give or take a few: turns of before may still be owed.
fn about(counts: &[usize], expected: &[usize]) -> bool {
    counts.iter().zip(expected).all(|(count, expected)| count.abs_diff(*expected) <= 3)
}

fn near(count: usize, of: usize, share: f64, tolerance: f64) -> bool {
    (count as f64 / of as f64 - share).abs() <= tolerance
}

#[test]
fn by_every_algorithm_that_goes_by_weight_the_share_grows() {
    let exact = [Balance::LeastConn, Balance::RoundRobin].map(|balance| (balance, 0.002));
    let chance = [Balance::Random, Balance::P2c, Balance::Ewma].map(|balance| (balance, 0.03));
    for (balance, tolerance) in exact.into_iter().chain(chance) {
        let users = upstream(&lb_config::Upstream {
            balance: balance.clone(),
            ..slowly(3)
        });
        let start = Instant::now();
        let of = 6000;
        let first = shares(&users, of, start)[0];
        assert!(near(first, of, 1.0 / 3.0, tolerance), "{balance:?}: {first}, all are new");
        (0..5).for_each(|_| users.servers()[0].failed_at(start));
        assert_eq!(shares(&users, of, start + 5 * SECOND)[0], 0, "{balance:?}: ejected");
        let back = start + 10 * SECOND;
        for (age, share) in [(0, 1.0 / 33.0), (5, 8.0 / 40.0), (10, 1.0 / 3.0), (100, 1.0 / 3.0)] {
            let counts = shares(&users, of, back + age * SECOND);
            assert!(near(counts[0], of, share, tolerance), "{balance:?}: {counts:?} after {age} s");
        }
    }
}

#[test]
fn under_least_conn_it_is_not_flooded_while_it_is_idle() {
    let users = upstream(&slowly(3));
    let now = Instant::now();
    let mut held: Vec<_> = (0..12).map(|_| take(&users, now).0).collect();
    order(&users, 0, Some(Duty::Drain), None);
    held.push(take(&users, now).0);
    held.retain(|lease| users.position(lease.server()) != 0);
    order(&users, 0, Some(Duty::Ready), None);
    let next: Vec<_> = (0..20).map(|_| take(&users, now)).collect();
    let at_first = next.iter().filter(|(_, position)| *position == 0).count();
    assert_eq!(at_first, 1, "one, and not as many as the others have");
}

#[test]
fn drained_down_and_at_weight_0_are_away() {
    for duty in [Some(Duty::Drain), Some(Duty::Down), None] {
        let users = upstream(&slowly(2));
        let now = Instant::now();
        shares(&users, 2, now);
        let weight = |weight| duty.is_none().then_some(weight);
        order(&users, 0, duty, weight(0));
        assert_eq!(shares(&users, 10, now), [0, 10]);
        order(&users, 0, duty.map(|_| Duty::Ready), weight(1));
        let counts = shares(&users, 170, now);
        assert!(about(&counts, &[10, 160]), "{duty:?}: {counts:?}");
        let counts = shares(&users, 170, now + 10 * SECOND);
        assert!(about(&counts, &[85, 85]), "{duty:?}: {counts:?}");
    }
}

#[test]
fn who_announces_a_drain_is_away() {
    let users = upstream(&slowly(2));
    let now = Instant::now();
    shares(&users, 2, now);
    users.servers()[0].announced_drain_at(now);
    assert_eq!(shares(&users, 10, now + SECOND), [0, 10]);
    let counts = shares(&users, 170, now + 60 * SECOND);
    assert!(about(&counts, &[10, 160]), "{counts:?}");
}

#[test]
fn whoever_is_alone_has_no_slow_start() {
    let users = upstream(&slowly(2));
    let now = Instant::now();
    shares(&users, 2, now);
    order(&users, 0, Some(Duty::Down), None);
    shares(&users, 2, now);
    order(&users, 1, Some(Duty::Down), None);
    assert!(users.pick_at(&Wanted::default(), now).is_err());
    order(&users, 0, Some(Duty::Ready), None);
    assert_eq!(shares(&users, 10, now), [10, 0]);
    order(&users, 1, Some(Duty::Ready), None);
    let counts = shares(&users, 170, now);
    assert!(about(&counts, &[160, 10]), "the second one comes back to the first: {counts:?}");
}

#[test]
fn at_the_start_whose_first_check_takes_longer_is_not_late() {
    let users = upstream(&lb_config::Upstream {
        health_check: Some(health_check(1000)),
        ..slowly(3)
    });
    let now = Instant::now();
    assert_eq!(shares(&users, 3, now), [1, 1, 1]);
    users.checked(0, true);
    assert_eq!(shares(&users, 3, now), [3, 0, 0]);
    users.checked(1, true);
    let counts = shares(&users, 100, now);
    assert!(about(&counts, &[50, 50, 0]), "{counts:?}");
    users.checked(2, false);
    assert_eq!(shares(&users, 10, now)[2], 0);
    (0..2).for_each(|_| users.checked(2, true));
    let counts = shares(&users, 330, now);
    assert!(about(&counts, &[160, 160, 10]), "but one that failed has been away: {counts:?}");
}

#[test]
fn it_goes_on_after_a_reload_and_a_new_server_among_others_starts_slowly() {
    let registry = Registry::new();
    let before = build(&registry, &slowly(2));
    let now = Instant::now();
    shares(&before, 2, now);
    away_and_back(&before, 0, now);
    let counts = shares(&before, 170, now);
    assert!(about(&counts, &[10, 160]), "{counts:?}");
    let after = build(&registry, &slowly(3));
    drop(before);
    let counts = shares(&after, 250, now + 5 * SECOND);
    assert!(about(&counts, &[80, 160, 10]), "half, whole, and nearly nothing: {counts:?}");
    let counts = shares(&after, 300, now + 15 * SECOND);
    assert!(about(&counts, &[100; 3]), "{counts:?}");
}

#[test]
fn a_server_that_leaves_and_returns_while_it_ends_its_requests_starts_slowly() {
    let registry = Registry::new();
    let both = build(&registry, &slowly(2));
    let now = Instant::now();
    let held: Vec<_> = (0..2).map(|_| take(&both, now).0).collect();
    let one = build(
        &registry,
        &lb_config::Upstream {
            servers: vec![server("10.0.0.1:80", 1)],
            ..slowly(1)
        },
    );
    drop(both);
    shares(&one, 1, now);
    let again = build(&registry, &slowly(2));
    drop(one);
    drop(held);
    let counts = shares(&again, 170, now);
    assert!(about(&counts, &[160, 10]), "{counts:?}");
}

#[test]
fn keys_stay_where_they_are() {
    for balance in [Balance::Hash(HashOn::Path), Balance::Maglev(HashOn::Path)] {
        let users = upstream(&lb_config::Upstream { balance, ..slowly(3) });
        let now = Instant::now();
        let homes = |users: &Arc<Upstream>| -> Vec<_> {
            let hashes = (0..200u32).map(|n| crate::balance::hash_key(&n.to_be_bytes()));
            let wanted = |hash| Wanted { hash, ..Wanted::default() };
            hashes
                .map(|hash| users.position(users.pick_at(&wanted(hash), now).expect("a server").server()))
                .collect()
        };
        let before = homes(&users);
        away_and_back(&users, 0, now);
        assert_eq!(homes(&users), before);
    }
}

#[test]
fn without_it_a_server_has_its_share_at_once() {
    let users = upstream(&config(servers(&[1, 1])));
    let now = Instant::now();
    shares(&users, 2, now);
    away_and_back(&users, 0, now);
    let counts = shares(&users, 100, now);
    assert!(about(&counts, &[50, 50]), "{counts:?}");
}
