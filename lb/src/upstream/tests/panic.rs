//! Too few healthy servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::fixture::{build, config, health_check, leases, servers, spread, upstream};
use super::super::{Duty, Order, Registry, State, Upstream};

/// Four servers that checks and ejections may take out one by one.
fn four(panic_percent: u8) -> lb_config::Upstream {
    let mut config = config(servers(&[1; 4]));
    config.panic_percent = panic_percent;
    config.health_check = Some(health_check(5_000));
    if let Some(passive) = &mut config.passive_health {
        passive.max_ejected_percent = 100;
        passive.eject = Duration::from_secs(3_600);
    }
    config
}

fn note(upstream: &Upstream, server: usize, passed: bool) {
    let check = upstream.servers()[server].check().expect("a check");
    check.note(check.begin(), (!passed).then(|| "refused".into()), Duration::ZERO, 1, 1);
}

fn eject(upstream: &Upstream, server: usize) {
    (0..5).for_each(|_| upstream.servers()[server].failed_at(Instant::now()));
    assert_eq!(upstream.servers()[server].state(), State::Ejected);
}

fn healthy(config: &lb_config::Upstream) -> Arc<Upstream> {
    let users = upstream(config);
    (0..4).for_each(|n| note(&users, n, true));
    users
}

#[test]
fn ejected_servers_are_used_again_below_the_share_and_counted_once() {
    let users = healthy(&four(50));
    eject(&users, 0);
    eject(&users, 1);
    assert_eq!(spread(&users, &leases(&users, 4)), [0, 0, 2, 2], "half is not below a half");
    assert_eq!(users.panics(), (false, 0));
    eject(&users, 2);
    assert_eq!(spread(&users, &leases(&users, 8)), [2; 4]);
    assert_eq!(users.panics(), (true, 1));
    assert_eq!(users.servers()[0].state(), State::Ejected, "it is shown as what it is");
}

#[test]
fn one_that_fails_its_check_is_never_among_them() {
    let users = healthy(&four(100));
    eject(&users, 0);
    note(&users, 1, false);
    note(&users, 2, false);
    assert_eq!(spread(&users, &leases(&users, 4)), [2, 0, 0, 2]);
    note(&users, 0, false);
    assert_eq!(spread(&users, &leases(&users, 4)), [0, 0, 0, 4]);
    assert_eq!(users.panics(), (false, 1), "there is nobody left to readmit");
}

#[test]
fn it_ends_when_enough_are_healthy_and_counts_anew_when_it_begins_again() {
    let users = healthy(&four(50));
    eject(&users, 0);
    for n in 1..=3 {
        note(&users, 1, false);
        note(&users, 2, false);
        assert_eq!(users.panics(), (true, n));
        assert_eq!(users.panics(), (true, n));
        note(&users, 1, true);
        note(&users, 2, true);
        assert_eq!(users.panics(), (false, n));
    }
}

#[test]
fn whom_an_operator_has_drained_counts_on_neither_side() {
    let users = healthy(&four(50));
    for n in [0, 1] {
        users.servers()[n].order(Order {
            duty: Some(Duty::Drain),
            weight: None,
        });
    }
    eject(&users, 2);
    assert_eq!(users.panics(), (false, 0), "one of two is healthy");
    assert_eq!(spread(&users, &leases(&users, 2)), [0, 0, 0, 2]);
}

#[test]
fn backups_do_not_count() {
    let mut config = four(50);
    config.servers[2].backup = true;
    config.servers[3].backup = true;
    let users = healthy(&config);
    eject(&users, 0);
    assert_eq!(users.panics(), (false, 0), "one of two is healthy");
    note(&users, 1, false);
    assert_eq!(users.panics(), (true, 1));
    assert_eq!(spread(&users, &leases(&users, 2)), [2, 0, 0, 0]);
}

#[test]
fn without_the_key_nobody_panics() {
    let users = healthy(&four(0));
    (0..3).for_each(|n| eject(&users, n));
    assert_eq!(spread(&users, &leases(&users, 4)), [0, 0, 0, 4]);
    assert_eq!(users.panics(), (false, 0));
}

#[test]
fn a_reload_keeps_the_panic_and_its_count() {
    let registry = Registry::new();
    let before = build(&registry, &four(50));
    (0..4).for_each(|n| note(&before, n, true));
    (0..3).for_each(|n| eject(&before, n));
    assert_eq!(before.panics(), (true, 1));
    let after = build(&registry, &four(50));
    drop(before);
    assert_eq!(after.panics(), (true, 1));
    let calm = build(&registry, &four(0));
    assert_eq!(calm.panics(), (false, 1));
}
