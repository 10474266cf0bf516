//! Choosing and counting.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use lb_config::{Balance, HashOn};
use proptest::prelude::*;

use super::super::fixture::{after, config, in_flight, leases, number, one_at_a_time, servers, spread, upstream};
use super::super::{Lease, NoServer, ServerId, Upstream, Wanted};
use crate::balance::hash_key;

const ALGORITHMS: [Balance; 7] = [
    Balance::LeastConn,
    Balance::RoundRobin,
    Balance::Random,
    Balance::P2c,
    Balance::Ewma,
    Balance::Hash(HashOn::Path),
    Balance::Maglev(HashOn::Path),
];

/// A request with this key.
fn keyed(hash: u64) -> Wanted<'static> {
    Wanted { hash, ..Wanted::default() }
}

#[test]
fn arrivals_on_an_idle_pool_give_one_each() {
    let users = upstream(&config(servers(&[1; 7])));
    let held = leases(&users, 7);
    assert_eq!(spread(&users, &held), [1; 7]);
    drop(held);
    assert_eq!(in_flight(&users), [0; 7]);
}

#[test]
fn c02_an_idle_pool_is_filled_evenly_and_by_weight() {
    assert_eq!(one_at_a_time(&upstream(&config(servers(&[1; 5]))), 50), [10; 5]);
    assert_eq!(one_at_a_time(&upstream(&config(servers(&[3, 1]))), 40), [30, 10]);
    assert_eq!(one_at_a_time(&upstream(&config(servers(&[100, 300]))), 40), [10, 30]);
}

#[test]
fn a_server_that_is_slow_gets_less() {
    let users = upstream(&config(servers(&[1; 3])));
    // The first server never answers; the others do at once.
    let stuck: Vec<_> = leases(&users, 3)
        .into_iter()
        .filter(|lease| lease.server().id() == users.servers()[0].id())
        .collect();
    assert_eq!(one_at_a_time(&users, 30), [0, 15, 15]);
    drop(stuck);
}

#[test]
fn weight_0_gets_nothing() {
    for balance in ALGORITHMS {
        let mut config = config(servers(&[1, 0, 1]));
        config.balance = balance;
        let users = upstream(&config);
        assert_eq!(one_at_a_time(&users, 100)[1], 0);
        let held = leases(&users, 100);
        assert_eq!(spread(&users, &held)[1], 0);
    }
}

#[test]
fn a_server_that_was_tried_is_not_chosen_again() {
    for balance in ALGORITHMS {
        let mut config = config(servers(&[1, 2, 3]));
        config.balance = balance;
        let users = upstream(&config);
        for n in 0..50u32 {
            let hash = hash_key(&n.to_be_bytes());
            let mut tried: Vec<ServerId> = Vec::new();
            for _ in 0..3 {
                let wanted = Wanted { hash, ..after(&tried) };
                let lease = users.pick(&wanted).expect("an untried one");
                assert!(!tried.contains(&lease.server().id()));
                tried.push(lease.server().id());
            }
            let wanted = Wanted { hash, ..after(&tried) };
            assert_eq!(users.pick(&wanted).expect_err("all are tried"), NoServer::AllTried);
        }
        assert_eq!(in_flight(&users), [0; 3]);
    }
}

#[test]
fn full_servers_are_told_from_tried_ones() {
    let mut config = config(servers(&[1, 1]));
    config.servers[0].max_connections = Some(number(1));
    config.servers[1].max_connections = Some(number(1));
    let users = upstream(&config);
    let held = leases(&users, 2);
    assert_eq!(users.pick(&Wanted::default()).expect_err("full"), NoServer::AllFull);
    assert_eq!(
        users.pick(&after(&[users.servers()[0].id()])).expect_err("the other one is full"),
        NoServer::AllFull
    );
    let both = [users.servers()[0].id(), users.servers()[1].id()];
    assert_eq!(users.pick(&after(&both)).expect_err("tried"), NoServer::AllTried);
    drop(held);
    assert!(users.pick(&Wanted::default()).is_ok());
}

#[test]
fn with_hash_and_maglev_a_key_stays_and_moves_on_only_while_it_must() {
    for balance in [Balance::Hash(HashOn::ClientIp), Balance::Maglev(HashOn::ClientIp)] {
        let mut config = config(servers(&[1; 4]));
        config.balance = balance;
        config
            .servers
            .iter_mut()
            .for_each(|server| server.max_connections = Some(number(1)));
        let users = upstream(&config);
        let hash = hash_key(b"198.51.100.7");
        let home = users.pick(&keyed(hash)).expect("a server");
        let next = users.pick(&keyed(hash)).expect("the next one");
        assert_ne!(home.server().id(), next.server().id());
        let (first, second) = (home.server().id(), next.server().id());
        drop((home, next));
        assert_eq!(users.pick(&keyed(hash)).expect("home").server().id(), first);
        let tried = [first];
        let wanted = Wanted { hash, ..after(&tried) };
        assert_eq!(users.pick(&wanted).expect("the next").server().id(), second);
    }
}

#[test]
fn random_and_p2c_follow_the_weights() {
    for balance in [Balance::Random, Balance::P2c] {
        let mut config = config(servers(&[1, 3]));
        config.balance = balance;
        let counts = one_at_a_time(&upstream(&config), 20_000);
        assert!((14_500..=15_500).contains(&counts[1]), "{counts:?}");
    }
}

#[test]
fn what_threads_hold_is_spread_exactly() {
    let users = upstream(&config(servers(&[1, 1, 1, 2])));
    let barrier = Barrier::new(4);
    let held: Vec<Lease> = thread::scope(|scope| {
        let all: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    leases(&users, 250)
                })
            })
            .collect();
        all.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    assert_eq!(spread(&users, &held), [200, 200, 200, 400]);
    assert_eq!(in_flight(&users), [200, 200, 200, 400]);
    drop(held);
    assert_eq!(in_flight(&users), [0; 4]);
}

/// Takes and returns leases on several threads; panics if a server ever has more than its bound.
fn churn(users: &Arc<Upstream>, bounds: &[u32]) {
    let held: Vec<AtomicU32> = bounds.iter().map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        for seed in 0..4u64 {
            let held = &held;
            scope.spawn(move || {
                let mut mine = Vec::new();
                for n in 0..3_000u64 {
                    let draw = hash_key(&(seed << 32 | n).to_be_bytes());
                    if draw.is_multiple_of(3) && !mine.is_empty() {
                        let (server, lease): (usize, Lease) = mine.swap_remove(draw as usize % mine.len());
                        held[server].fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    } else {
                        let lease = users.pick(&keyed(draw)).expect("the last one is never full");
                        let server = users
                            .servers()
                            .iter()
                            .position(|server| server.id() == lease.server().id())
                            .expect("a server");
                        assert!(held[server].fetch_add(1, Ordering::SeqCst) < bounds[server]);
                        mine.push((server, lease));
                    }
                }
                for (server, lease) in mine {
                    held[server].fetch_sub(1, Ordering::SeqCst);
                    drop(lease);
                }
            });
        }
    });
}

#[test]
fn threads_never_pass_max_connections_and_all_leases_return() {
    for balance in ALGORITHMS {
        let bounds = [3, 50, 7, 1_000_000];
        let mut config = config(servers(&[1, 2, 1, 1]));
        config.balance = balance;
        for (server, bound) in config.servers.iter_mut().zip(bounds) {
            server.max_connections = Some(number(bound));
        }
        let users = upstream(&config);
        churn(&users, &bounds);
        assert_eq!(in_flight(&users), [0; 4]);
    }
}

#[test]
fn a_lease_may_end_on_any_thread_and_after_its_upstream() {
    let users = upstream(&config(servers(&[1, 1])));
    let held = leases(&users, 2);
    let server = users.servers()[0].clone();
    drop(users);
    assert_eq!(server.in_flight(), 1);
    thread::spawn(move || drop(held)).join().expect("the thread");
    assert_eq!(server.in_flight(), 0);
}

proptest! {
    #[test]
    fn the_chosen_one_is_always_one_of_the_lowest_that_may(
        specs in prop::collection::vec((0u32..5, prop::option::of(1u32..4)), 1..8),
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..120),
    ) {
        let mut config = config(servers(&specs.iter().map(|spec| spec.0).collect::<Vec<_>>()));
        for (server, (_, bound)) in config.servers.iter_mut().zip(&specs) {
            server.max_connections = bound.map(number);
        }
        let users = upstream(&config);
        let mut held: Vec<Lease> = Vec::new();
        for (take, which, tried) in steps {
            if !take && !held.is_empty() {
                drop(held.swap_remove(which.index(held.len())));
                continue;
            }
            let tried = users.servers()[tried.index(specs.len())].id();
            let before = in_flight(&users);
            let may = |n: usize| {
                let server = &users.servers()[n];
                server.weight() > 0 && server.id() != tried && server.max_connections().is_none_or(|bound| before[n] < bound.get())
            };
            let lowest = (0..specs.len()).filter(|n| may(*n));
            match users.pick(&after(&[tried])) {
                Ok(lease) => {
                    let chosen = users.servers().iter().position(|server| server.id() == lease.server().id()).expect("a server");
                    prop_assert!(may(chosen));
                    for other in lowest {
                        prop_assert!(before[chosen] * specs[other].0 <= before[other] * specs[chosen].0);
                    }
                    held.push(lease);
                }
                Err(_) => prop_assert_eq!(lowest.count(), 0),
            }
            let counted: Vec<_> = spread(&users, &held).into_iter().map(|n| n as u32).collect();
            prop_assert_eq!(in_flight(&users), counted);
        }
        held.clear();
        prop_assert_eq!(in_flight(&users), vec![0; specs.len()]);
    }
}
