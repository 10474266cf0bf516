//! Passive health.

use std::time::{Duration, Instant};

use lb_config::PassiveHealth;
use proptest::prelude::*;

use super::super::fixture::{build, config, number, server, servers, upstream};
use super::super::{Registry, State, Upstream, Wanted};

/// Counts failures against a server, as if so many requests to it had failed.
fn fail(upstream: &Upstream, server: usize, times: usize, now: Instant) {
    for _ in 0..times {
        upstream.servers()[server].failed_at(now);
    }
}

fn states(upstream: &Upstream, now: Instant) -> Vec<State> {
    upstream.servers().iter().map(|server| server.status_at(now).state).collect()
}

fn ejected(upstream: &Upstream, now: Instant) -> usize {
    states(upstream, now).into_iter().filter(|state| *state == State::Ejected).count()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn passive(percent: u8) -> Option<PassiveHealth> {
    Some(PassiveHealth {
        failures: number(5),
        window: seconds(10),
        eject: seconds(10),
        max_ejected_percent: percent,
    })
}

#[test]
fn a_failing_server_is_out_for_its_time_and_comes_back_clean() {
    let users = upstream(&config(servers(&[1, 1, 1])));
    let start = Instant::now();
    fail(&users, 0, 4, start);
    assert_eq!(states(&users, start), [State::Healthy; 3]);
    fail(&users, 0, 1, start);
    assert_eq!(states(&users, start), [State::Ejected, State::Healthy, State::Healthy]);
    let picks = |now| {
        (0..30)
            .map(|_| users.pick_at(&Wanted::default(), now).expect("a server").server().id())
            .collect::<Vec<_>>()
    };
    assert!(!picks(start + seconds(9)).contains(&users.servers()[0].id()));
    let later = start + seconds(10);
    assert!(picks(later).contains(&users.servers()[0].id()));
    fail(&users, 0, 4, later);
    assert_eq!(ejected(&users, later), 0, "what was before is forgotten");
    fail(&users, 0, 1, later);
    assert_eq!(ejected(&users, later), 1);
    assert_eq!(users.servers()[0].ejections(), 2);
}

/// How long the server is out after this many failures now.
fn ejected_for(upstream: &Upstream, now: Instant) -> u64 {
    fail(upstream, 0, 5, now);
    let status = upstream.servers()[0].status_at(now);
    status.ejected_for.map_or(0, |left| left.as_secs())
}

#[test]
fn each_ejection_in_a_row_lasts_longer_and_a_calm_time_makes_up_for_it() {
    let registry = Registry::new();
    let mut users = build(&registry, &config(servers(&[1, 1, 1])));
    let mut now = Instant::now();
    for expected in [10, 20, 40, 80, 160, 300, 300] {
        assert_eq!(ejected_for(&users, now), expected);
        // a reload in between changes nothing
        users = build(&registry, &config(servers(&[1, 1, 1])));
        now += seconds(expected);
        assert!(users.pick_at(&Wanted::default(), now).is_ok());
        assert_eq!(ejected(&users, now), 0);
    }
    now += seconds(20);
    assert_eq!(ejected_for(&users, now), 160, "two calm times, and one more ejection");
    now += seconds(160 + 10_000);
    assert!(users.pick_at(&Wanted::default(), now).is_ok());
    assert_eq!(ejected_for(&users, now), 10);
}

#[test]
fn failures_far_apart_eject_nobody() {
    let users = upstream(&config(servers(&[1, 1, 1])));
    let start = Instant::now();
    for n in 0..20 {
        fail(&users, 0, 1, start + seconds(3 * n));
    }
    assert_eq!(users.servers()[0].ejections(), 0);
}

#[test]
fn c04_what_is_out_at_once_is_rounded_down_and_never_the_last() {
    for (pool, percent, expected) in [(3, 50, 1), (3, 67, 2), (1, 50, 0), (1, 100, 0), (4, 100, 3), (3, 33, 0), (3, 0, 0)] {
        let mut config = config(servers(&vec![1; pool]));
        config.passive_health = passive(percent);
        let users = upstream(&config);
        let now = Instant::now();
        for round in 0..40 {
            fail(&users, round % pool, 1, now);
        }
        assert_eq!(ejected(&users, now), expected, "of {pool} at {percent} %");
        assert!(users.pick_at(&Wanted::default(), now).is_ok());
    }
}

#[test]
fn off_is_off() {
    let mut config = config(servers(&[1, 1, 1]));
    config.passive_health = None;
    let users = upstream(&config);
    let now = Instant::now();
    fail(&users, 0, 100, now);
    assert_eq!(ejected(&users, now), 0);
    assert_eq!(users.servers()[0].status().consecutive_failures, 100);
}

#[test]
fn a_good_answer_ends_the_row_of_failures_that_is_shown() {
    let users = upstream(&config(servers(&[1])));
    users.pick(&Wanted::default()).expect("a server").failed();
    assert_eq!(users.servers()[0].status().consecutive_failures, 1);
    let lease = users.pick(&Wanted::default()).expect("a server");
    lease.succeeded();
    drop(lease);
    assert_eq!(users.servers()[0].status().consecutive_failures, 0);
}

#[test]
fn servers_that_get_nothing_anyway_do_not_count() {
    let mut config = config(servers(&[1, 1, 0, 0]));
    config.passive_health = passive(50);
    let users = upstream(&config);
    let now = Instant::now();
    fail(&users, 2, 5, now);
    fail(&users, 3, 5, now);
    fail(&users, 0, 5, now);
    fail(&users, 1, 5, now);
    assert_eq!(
        states(&users, now),
        [State::Ejected, State::Healthy, State::Healthy, State::Healthy]
    );
}

#[test]
fn a_backup_takes_over_from_the_ejected() {
    let mut config = config(vec![server("10.0.0.1:80", 1), server("10.0.0.2:80", 1)]);
    config.servers[1].backup = true;
    let users = upstream(&config);
    let now = Instant::now();
    let next = || {
        users
            .pick_at(&Wanted::default(), now)
            .expect("a server")
            .server()
            .name()
            .to_string()
    };
    assert_eq!(next(), "10.0.0.1:80");
    fail(&users, 0, 5, now);
    assert_eq!(next(), "10.0.0.2:80");
}

#[test]
fn an_ejection_survives_reloads_and_counts_in_each_configuration() {
    let registry = Registry::new();
    let now = Instant::now();
    let old = build(&registry, &config(servers(&[1, 1, 1, 1])));
    fail(&old, 0, 5, now);
    let new = build(&registry, &config(servers(&[1, 1, 1])));
    assert_eq!(states(&new, now)[0], State::Ejected);
    fail(&old, 1, 5, now);
    assert_eq!(ejected(&old, now), 1, "two of four are within 50 %, but two of three are not");
    drop(new);
    fail(&old, 1, 1, now);
    assert_eq!(ejected(&old, now), 2);
}

#[test]
fn failures_of_a_removed_server_harm_nobody() {
    let registry = Registry::new();
    let now = Instant::now();
    let old = build(&registry, &config(servers(&[1, 1])));
    let gone = old.pick(&Wanted::default()).expect("the first");
    let new = build(&registry, &config(vec![server("10.0.0.2:80", 1)]));
    drop(old);
    (0..10).for_each(|_| gone.failed_at(now));
    drop(gone);
    assert_eq!(states(&new, now), [State::Healthy]);
}

proptest! {
    #[test]
    fn ejections_keep_their_bounds_whatever_fails(
        weights in prop::collection::vec(0u32..3, 1..9),
        percent in 0u8..=100,
        steps in prop::collection::vec((any::<prop::sample::Index>(), 1usize..7, 0u64..3_000), 1..60),
    ) {
        let mut config = config(servers(&weights));
        config.passive_health = passive(percent);
        let users = upstream(&config);
        let mut now = Instant::now();
        let total = weights.iter().filter(|weight| **weight > 0).count();
        for (which, times, millis) in steps {
            now += Duration::from_millis(millis);
            fail(&users, which.index(weights.len()), times, now);
            let out = ejected(&users, now);
            prop_assert!(out * 100 <= total * usize::from(percent));
            prop_assert!(out == 0 || out < total);
            prop_assert_eq!(users.pick_at(&Wanted::default(), now).is_ok(), total > 0);
            if let Ok(lease) = users.pick_at(&Wanted::default(), now) {
                prop_assert_ne!(lease.server().status_at(now).state, State::Ejected);
            }
        }
        prop_assert_eq!(ejected(&users, now + seconds(300)), 0, "the longest there is");
    }
}
