//! What operators say while `lb` runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use proptest::prelude::*;

use super::super::fixture::{build, config, health_check, in_flight, leases, number, one_at_a_time, server, servers, spread, upstream};
use super::super::{Duty, NoServer, Order, Registry, Server, State, Upstream, Wanted};

fn order(upstream: &Upstream, server: usize, duty: Duty) {
    upstream.servers()[server].order(Order {
        duty: Some(duty),
        weight: None,
    });
}

fn weigh(upstream: &Upstream, server: usize, weight: u32) {
    upstream.servers()[server].order(Order {
        duty: None,
        weight: Some(weight),
    });
}

fn states(upstream: &Upstream) -> Vec<State> {
    upstream.servers().iter().map(|server| server.state()).collect()
}

/// Built over the same live state, and in force.
fn reload(registry: &Arc<Registry>, config: &lb_config::Upstream) -> Arc<Upstream> {
    let users = build(registry, config);
    users.in_force();
    users
}

#[test]
fn a_drained_server_keeps_what_it_has_and_gets_nothing_new() {
    for (duty, state) in [(Duty::Drain, State::Draining), (Duty::Down, State::Down)] {
        let users = upstream(&config(servers(&[1, 1])));
        let held = leases(&users, 4);
        order(&users, 0, duty);
        assert_eq!(states(&users), [state, State::Healthy]);
        assert_eq!(in_flight(&users), [2, 2]);
        let more = leases(&users, 6);
        assert_eq!(spread(&users, &more), [0, 6]);
        drop(held);
        order(&users, 0, Duty::Ready);
        assert_eq!(states(&users), [State::Healthy; 2]);
        assert_eq!(spread(&users, &leases(&users, 6)), [6, 0]);
    }
}

#[test]
fn when_all_are_drained_there_is_no_server_not_even_as_a_last_resort() {
    let mut config = config(servers(&[1, 1, 1]));
    config.panic_percent = 100;
    config.servers[2].backup = true;
    let users = upstream(&config);
    order(&users, 0, Duty::Drain);
    order(&users, 1, Duty::Down);
    assert_eq!(spread(&users, &leases(&users, 2)), [0, 0, 2]);
    order(&users, 2, Duty::Drain);
    assert_eq!(users.pick(&Wanted::default()).expect_err("nobody"), NoServer::NoneHealthy);
    assert!(!users.has_server());
    assert_eq!(users.panics(), (false, 0));
    order(&users, 1, Duty::Ready);
    assert_eq!(spread(&users, &leases(&users, 2)), [0, 2, 0]);
}

#[test]
fn a_weight_counts_at_once_and_0_is_no_share() {
    let users = upstream(&config(servers(&[1, 1])));
    weigh(&users, 0, 3);
    assert_eq!(one_at_a_time(&users, 40), [30, 10]);
    assert_eq!(spread(&users, &leases(&users, 8)), [6, 2]);
    weigh(&users, 0, 0);
    assert_eq!(one_at_a_time(&users, 10), [0, 10]);
    assert_eq!(users.servers()[0].status().weight, 0);
    assert_eq!(users.servers()[0].weight(), 1, "the file's");
    weigh(&users, 0, 1);
    assert_eq!(one_at_a_time(&users, 10), [5, 5]);
}

#[test]
fn duty_and_weight_are_changed_apart_or_together() {
    let users = upstream(&config(servers(&[1, 1])));
    order(&users, 0, Duty::Drain);
    weigh(&users, 0, 5);
    assert_eq!(states(&users)[0], State::Draining);
    users.servers()[0].order(Order {
        duty: Some(Duty::Ready),
        weight: Some(4),
    });
    assert_eq!(one_at_a_time(&users, 10), [8, 2]);
}

#[test]
fn orders_outlive_reloads_until_the_file_says_something_new_about_the_server() {
    let registry = Registry::new();
    let mut file = config(servers(&[1, 1, 1]));
    let first = reload(&registry, &file);
    order(&first, 0, Duty::Drain);
    weigh(&first, 1, 7);
    let second = reload(&registry, &file);
    drop(first);
    assert_eq!(states(&second)[0], State::Draining);
    assert_eq!(one_at_a_time(&second, 8), [0, 7, 1]);
    file.servers[2].weight = 7;
    let third = reload(&registry, &file);
    drop(second);
    assert_eq!(states(&third)[0], State::Draining, "nothing new about this one");
    assert_eq!(one_at_a_time(&third, 8), [0, 4, 4]);
    file.servers[0].max_connections = Some(number(9));
    file.servers[1].backup = true;
    let fourth = reload(&registry, &file);
    drop(third);
    assert_eq!(states(&fourth), [State::Healthy; 3]);
    assert_eq!(one_at_a_time(&fourth, 8), [1, 0, 7]);
    assert_eq!(fourth.servers()[1].status().weight, 1);
}

#[test]
fn a_server_that_leaves_the_file_comes_back_without_its_orders() {
    let registry = Registry::new();
    let both = config(servers(&[1, 1]));
    let first = reload(&registry, &both);
    let _under_way = leases(&first, 2);
    order(&first, 1, Duty::Down);
    let without = reload(&registry, &config(vec![server("10.0.0.1:80", 1)]));
    drop(first);
    let back = reload(&registry, &both);
    drop(without);
    assert_eq!(states(&back), [State::Healthy; 2]);
    assert_eq!(in_flight(&back), [1, 1]);
}

#[tokio::test]
async fn an_upstream_that_leaves_the_file_comes_back_without_its_orders() {
    let registry = Registry::new();
    let runtime = tokio::runtime::Handle::current();
    let file = config(servers(&[1, 1]));
    let first = build(&registry, &file);
    registry.commit(std::slice::from_ref(&first), &runtime);
    let under_way = leases(&first, 2);
    order(&first, 0, Duty::Down);
    weigh(&first, 1, 5);
    registry.commit(std::slice::from_ref(&first), &runtime);
    assert_eq!(states(&first)[0], State::Down, "still there");
    drop(first);
    registry.commit(&[], &runtime);
    let back = build(&registry, &file);
    registry.commit(std::slice::from_ref(&back), &runtime);
    assert_eq!(in_flight(&back), [1, 1]);
    assert_eq!(states(&back), [State::Healthy; 2]);
    assert_eq!(back.servers()[1].status().weight, 1);
    drop(under_way);
}

#[test]
fn what_is_built_and_never_comes_into_force_ends_no_order() {
    let registry = Registry::new();
    let users = reload(&registry, &config(servers(&[1, 1])));
    order(&users, 0, Duty::Drain);
    drop(build(&registry, &config(servers(&[5, 5]))));
    assert_eq!(states(&users)[0], State::Draining);
}

#[test]
fn an_order_holds_for_every_configuration_and_in_its_own_upstream_only() {
    let registry = Registry::new();
    let mut other = config(servers(&[1, 1]));
    other.name = "other".into();
    let (old, new) = (
        build(&registry, &config(servers(&[1, 1]))),
        build(&registry, &config(servers(&[1, 1]))),
    );
    let other = build(&registry, &other);
    order(&old, 0, Duty::Drain);
    assert_eq!(spread(&new, &leases(&new, 2)), [0, 2]);
    assert_eq!(spread(&other, &leases(&other, 2)), [1, 1]);
}

#[test]
fn failures_of_a_drained_server_eject_nobody() {
    let users = upstream(&config(servers(&[1, 1, 1])));
    let held = leases(&users, 9);
    order(&users, 0, Duty::Drain);
    held.iter()
        .filter(|lease| lease.server().id() == users.servers()[0].id())
        .for_each(|lease| (0..9).for_each(|_| lease.failed()));
    order(&users, 0, Duty::Ready);
    assert_eq!(states(&users), [State::Healthy; 3]);
}

#[test]
fn the_share_of_the_ejected_is_one_of_those_on_duty() {
    let users = upstream(&config(servers(&[1, 1, 1])));
    order(&users, 0, Duty::Drain);
    let now = std::time::Instant::now();
    (0..5).for_each(|_| users.servers()[1].failed_at(now));
    assert_eq!(states(&users), [State::Draining, State::Ejected, State::Healthy]);
    (0..5).for_each(|_| users.servers()[2].failed_at(now));
    assert_eq!(states(&users)[2], State::Healthy, "never the last one");
}

/// What may happen to a server.
#[derive(Debug, Clone, Copy)]
enum Event {
    Order(Duty),
    Weigh(u32),
    Check(bool),
    Fail,
    Announce,
    Later(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let duty = prop_oneof![Just(Duty::Ready), Just(Duty::Drain), Just(Duty::Down)];
    prop_oneof![
        2 => duty.prop_map(Event::Order),
        1 => (0u32..3).prop_map(Event::Weigh),
        2 => any::<bool>().prop_map(Event::Check),
        2 => Just(Event::Fail),
        1 => Just(Event::Announce),
        1 => (0u64..400).prop_map(Event::Later),
    ]
}

proptest! {
    /// Whatever happens: nobody is chosen who is off duty, has no weight or fails its checks, and somebody is whenever there is one
    /// beside those.
    #[test]
    fn whoever_may_be_used_is_and_nobody_else(
        checked: bool,
        panic_percent in 0u8..=100,
        backup: bool,
        events in prop::collection::vec((0usize..4, event()), 1..80),
    ) {
        let mut config = config(servers(&[1; 4]));
        config.panic_percent = panic_percent;
        config.servers[3].backup = backup;
        config.health_check = checked.then(|| health_check(5_000));
        let users = upstream(&config);
        let mut now = std::time::Instant::now();
        for (n, event) in events {
            let server = &users.servers()[n];
            match event {
                Event::Order(duty) => order(&users, n, duty),
                Event::Weigh(weight) => weigh(&users, n, weight),
                Event::Check(passed) => {
                    if let Some(check) = server.check() {
                        check.note(check.begin(), (!passed).then(|| "refused".into()), std::time::Duration::ZERO, 2, 2);
                    }
                }
                Event::Fail => (0..5).for_each(|_| server.failed_at(now)),
                Event::Announce => server.announced_drain_at(now),
                Event::Later(seconds) => now += std::time::Duration::from_secs(seconds),
            }
            let may = |server: &Server| {
                let status = server.status_at(now);
                status.duty == Duty::Ready && status.weight > 0 && status.state != State::Unhealthy
            };
            match users.pick_at(&Wanted::default(), now) {
                Ok(lease) => prop_assert!(may(lease.server()), "{:?}", lease.server().status_at(now)),
                Err(why) => {
                    prop_assert_eq!(why, NoServer::NoneHealthy);
                    prop_assert!(!users.servers().iter().any(|server| may(server)));
                }
            }
        }
    }
}

#[test]
fn c32_bounds_hold_while_servers_are_drained_and_readied_by_many_threads() {
    let mut config = config(servers(&[1, 1, 1]));
    config
        .servers
        .iter_mut()
        .for_each(|server| server.max_connections = Some(number(3)));
    let users = upstream(&config);
    let over = AtomicBool::new(false);
    let counts = [const { AtomicU32::new(0) }; 3];
    let served = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3_000 {
                    let Ok(lease) = users.pick(&Wanted::default()) else { continue };
                    let at = users.position(lease.server());
                    let now = counts[at].fetch_add(1, Ordering::SeqCst) + 1;
                    over.fetch_or(now > 3, Ordering::SeqCst);
                    thread::yield_now();
                    counts[at].fetch_sub(1, Ordering::SeqCst);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            for n in 0..300 {
                order(&users, n % 3, Duty::Drain);
                weigh(&users, (n + 1) % 3, (n % 4) as u32);
                order(&users, n % 3, Duty::Ready);
            }
        });
    });
    assert!(!over.load(Ordering::SeqCst), "a server had more than its max_connections");
    assert!(served.load(Ordering::SeqCst) > 0);
    assert_eq!(in_flight(&users), [0; 3]);
}
