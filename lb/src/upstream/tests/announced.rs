//! Servers that announce by themselves that they are about to leave.

use std::time::{Duration, Instant};

use super::super::fixture::{build, config, health_check, leases, servers, spread, upstream};
use super::super::pool::ANNOUNCED;
use super::super::{Duty, Order, Registry, State, Upstream, Wanted};

fn announce(upstream: &Upstream, server: usize, now: Instant) {
    upstream.servers()[server].announced_drain_at(now);
}

fn states(upstream: &Upstream, now: Instant) -> Vec<State> {
    upstream.servers().iter().map(|server| server.status_at(now).state).collect()
}

fn picked(upstream: &Upstream, now: Instant) -> Vec<usize> {
    let mut counts = vec![0; upstream.servers().len()];
    for _ in 0..12 {
        let lease = upstream.pick_at(&Wanted::default(), now).expect("a server");
        counts[upstream.position(lease.server())] += 1;
    }
    counts
}

fn checked() -> lb_config::Upstream {
    let mut config = config(servers(&[1, 1]));
    config.health_check = Some(health_check(5_000));
    config
}

fn note(upstream: &Upstream, server: usize, passed: bool) {
    let check = upstream.servers()[server].check().expect("a check");
    check.note(check.begin(), (!passed).then(|| "refused".into()), Duration::ZERO, 2, 2);
}

#[test]
fn without_checks_it_gets_nothing_until_some_time_after_its_last_word() {
    let users = upstream(&config(servers(&[1, 1])));
    let start = Instant::now();
    let held = leases(&users, 4);
    announce(&users, 0, start);
    assert_eq!(states(&users, start), [State::Draining, State::Healthy]);
    assert_eq!(picked(&users, start), [0, 12]);
    let later = start + ANNOUNCED / 2;
    announce(&users, 0, later);
    assert_eq!(picked(&users, start + ANNOUNCED), [0, 12], "its last word was later");
    drop(held);
    let over = later + ANNOUNCED;
    assert_eq!(states(&users, over), [State::Healthy; 2]);
    assert_eq!(picked(&users, over), [6, 6]);
    assert_eq!(users.servers()[0].ejections(), 0, "it is no ejection");
}

#[test]
fn with_checks_it_gets_nothing_until_they_pass_again() {
    let users = upstream(&checked());
    let now = Instant::now();
    (0..2).for_each(|n| note(&users, n, true));
    announce(&users, 0, now);
    let long_after = now + 100 * ANNOUNCED;
    assert_eq!(picked(&users, long_after), [0, 12]);
    note(&users, 0, true);
    assert_eq!(picked(&users, long_after), [0, 12], "rise is 2");
    note(&users, 0, true);
    assert_eq!(picked(&users, long_after), [6, 6]);
}

#[test]
fn one_that_leaves_fails_its_checks_and_is_not_used_then() {
    let users = upstream(&checked());
    let now = Instant::now();
    (0..2).for_each(|n| note(&users, n, true));
    (0..2).for_each(|n| announce(&users, n, now));
    (0..2).for_each(|_| note(&users, 0, false));
    assert_eq!(states(&users, now), [State::Unhealthy, State::Draining]);
    assert_eq!(picked(&users, now), [0, 12]);
}

#[test]
fn when_all_drain_they_are_used_rather_than_nobody() {
    let users = upstream(&config(servers(&[1, 1])));
    let now = Instant::now();
    (0..2).for_each(|n| announce(&users, n, now));
    assert_eq!(states(&users, now), [State::Draining; 2]);
    assert_eq!(picked(&users, now), [6, 6]);
    assert!(users.has_server());
}

#[test]
fn it_is_better_than_one_whose_answers_fail() {
    let users = upstream(&config(servers(&[1, 1])));
    let now = Instant::now();
    (0..5).for_each(|_| users.servers()[1].failed_at(now));
    announce(&users, 0, now);
    assert_eq!(states(&users, now), [State::Draining, State::Ejected]);
    assert_eq!(picked(&users, now), [12, 0]);
}

#[test]
fn it_does_not_count_as_ejected() {
    let users = upstream(&config(servers(&[1, 1, 1, 1])));
    let now = Instant::now();
    announce(&users, 0, now);
    for n in [1, 2] {
        (0..5).for_each(|_| users.servers()[n].failed_at(now));
    }
    use State::{Draining, Ejected, Healthy};
    assert_eq!(states(&users, now), [Draining, Ejected, Ejected, Healthy], "two of four are half");
}

#[test]
fn it_survives_reloads_and_is_known_to_all_who_ask_the_same() {
    let registry = Registry::new();
    let now = Instant::now();
    let before = build(&registry, &config(servers(&[1, 1])));
    announce(&before, 0, now);
    let after = build(&registry, &config(servers(&[1, 1, 1])));
    drop(before);
    assert_eq!(states(&after, now)[0], State::Draining);

    let (users, mut other) = (build(&registry, &checked()), checked());
    other.name = "other".into();
    let other = build(&registry, &other);
    announce(&users, 0, now);
    let reloaded = build(&registry, &checked());
    drop(users);
    assert_eq!(states(&reloaded, now)[0], State::Draining);
    assert_eq!(states(&other, now)[0], State::Draining);
}

#[test]
fn an_operator_who_says_ready_knows_better() {
    for config in [config(servers(&[1, 1])), checked()] {
        let users = upstream(&config);
        if config.health_check.is_some() {
            (0..2).for_each(|n| note(&users, n, true));
        }
        announce(&users, 0, Instant::now());
        assert_eq!(spread(&users, &leases(&users, 2)), [0, 2]);
        users.servers()[0].order(Order {
            duty: Some(Duty::Ready),
            weight: None,
        });
        assert_eq!(users.servers()[0].state(), State::Healthy);
        assert_eq!(spread(&users, &leases(&users, 2)), [1, 1]);
    }
}
