//! What reloads keep.

use std::sync::Arc;

use super::super::fixture::{after, build, config, in_flight, leases, number, one_at_a_time, server, servers, spread};
use super::super::{NoServer, Registry, Wanted};

#[test]
fn c01_counts_survive_a_reload_that_adds_a_server() {
    let registry = Registry::new();
    let before = build(&registry, &config(servers(&[1, 1])));
    let old = leases(&before, 4);
    let after = build(&registry, &config(servers(&[1, 1, 1])));
    drop(before);
    let new = leases(&after, 2);
    assert_eq!(spread(&after, &new), [0, 0, 2]);
    assert_eq!(in_flight(&after), [2, 2, 2]);
    drop(old);
    drop(new);
    assert_eq!(in_flight(&after), [0; 3]);
    assert_eq!(one_at_a_time(&after, 30), [10; 3], "no penalty is left over");
}

#[test]
fn a_server_that_leaves_and_returns_finds_its_count() {
    let registry = Registry::new();
    let first = build(&registry, &config(servers(&[1, 1])));
    let held = leases(&first, 4);
    let without = build(&registry, &config(servers(&[1])));
    drop(first);
    assert_eq!(in_flight(&without), [2]);
    let with = build(&registry, &config(servers(&[1, 3])));
    assert_eq!(in_flight(&with), [2, 2], "also with another weight");
    drop(without);
    drop(held);
    assert_eq!(in_flight(&with), [0, 0]);
}

#[test]
fn both_configurations_see_each_others_requests() {
    let registry = Registry::new();
    let mut config = config(servers(&[1, 1]));
    config
        .servers
        .iter_mut()
        .for_each(|server| server.max_connections = Some(number(2)));
    let (old, new) = (build(&registry, &config), build(&registry, &config));
    let (one, two) = (leases(&old, 2), leases(&new, 2));
    assert_eq!(spread(&new, &one), [1, 1]);
    assert_eq!(spread(&new, &two), [1, 1]);
    assert_eq!(old.pick(&Wanted::default()).expect_err("full"), NoServer::AllFull);
    drop(one);
    assert_eq!(spread(&new, &leases(&new, 2)), [1, 1]);
}

#[test]
fn a_lower_bound_holds_for_what_comes_after() {
    let registry = Registry::new();
    let mut config = config(servers(&[1]));
    let before = build(&registry, &config);
    let mut held = leases(&before, 5);
    config.servers[0].max_connections = Some(number(3));
    let after = build(&registry, &config);
    for _ in 0..2 {
        assert_eq!(after.pick(&Wanted::default()).expect_err("full"), NoServer::AllFull);
        held.pop();
    }
    assert_eq!(after.pick(&Wanted::default()).expect_err("full"), NoServer::AllFull);
    held.pop();
    let _third = after.pick(&Wanted::default()).expect("room for one");
}

#[test]
fn upstreams_of_different_names_share_nothing() {
    let registry = Registry::new();
    let users = build(&registry, &config(servers(&[1])));
    let mut other = config(servers(&[1]));
    other.name = "other".into();
    let other = build(&registry, &other);
    let _held = leases(&users, 3);
    assert_eq!(in_flight(&other), [0]);
}

#[test]
fn a_new_weight_makes_no_burst() {
    let registry = Registry::new();
    let heavy = build(&registry, &config(servers(&[1000, 999, 1])));
    one_at_a_time(&heavy, 777);
    let light = build(&registry, &config(servers(&[1, 1, 1])));
    drop(heavy);
    assert_eq!(one_at_a_time(&light, 9), [3, 3, 3]);
}

#[test]
fn a_reload_without_changes_keeps_whose_turn_it_is() {
    let registry = Registry::new();
    let mut users = build(&registry, &config(servers(&[1, 3])));
    let mut counts = [0; 2];
    for _ in 0..40 {
        let got = one_at_a_time(&users, 1);
        (0..2).for_each(|n| counts[n] += got[n]);
        users = build(&registry, &config(servers(&[1, 3])));
    }
    assert_eq!(counts, [10, 30]);
}

#[test]
fn five_hundred_reloads_leave_nothing_behind() {
    let registry = Registry::new();
    let stable = server("10.9.9.9:80", 1);
    let mut users = build(&registry, &config(vec![stable.clone()]));
    let held = leases(&users, 1);
    for n in 0..500 {
        let servers = vec![stable.clone(), server(&format!("10.1.{}.{}:80", n / 250, n % 250 + 1), 1)];
        users = build(&registry, &config(servers));
        drop(leases(&users, 2));
    }
    let (slots, views) = users.pool.sizes();
    assert!(slots <= 3 && views == 1, "{slots} slots, {views} views");
    assert_eq!(in_flight(&users), [1, 0]);
    drop(held);
    let pool = Arc::downgrade(&users.pool);
    drop(users);
    assert!(pool.upgrade().is_none());
}

#[test]
fn an_id_of_a_server_that_is_gone_means_nobody_else() {
    let registry = Registry::new();
    let first = build(&registry, &config(vec![server("10.0.0.1:80", 1), server("10.0.0.2:80", 1)]));
    let gone = first.servers()[1].id();
    let second = build(&registry, &config(vec![server("10.0.0.1:80", 1)]));
    drop(first);
    let third = build(&registry, &config(vec![server("10.0.0.3:80", 1)]));
    drop(second);
    assert!(third.pick(&after(&[gone])).is_ok());
}

#[test]
fn the_retry_budget_is_kept_and_off_is_off() {
    let registry = Registry::new();
    let mut config = config(servers(&[1]));
    let before = build(&registry, &config);
    let permits: Vec<_> = (0..100).filter_map(|_| before.try_retry()).collect();
    assert!((10..40).contains(&permits.len()), "{}", permits.len());
    (0..100).for_each(|_| before.request_seen());
    let after = build(&registry, &config);
    let more = (0..100).filter_map(|_| after.try_retry()).count();
    assert!((20..50).contains(&more), "{more}");
    config.retry = None;
    assert!(build(&registry, &config).try_retry().is_none());
}
