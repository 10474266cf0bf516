//! What the circuit means for those who ask, wait, and reload.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::{CircuitBreaker, Queue};

use super::super::fixture::{build, config, leases, number, servers};
use super::super::{CircuitState, Entry, NoServer, Registry, Upstream, Wanted};

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One server with room for two, a queue, and a circuit that two failures open for so long.
fn broken_by_two(open: Duration) -> lb_config::Upstream {
    let mut config = config(servers(&[1]));
    config.servers[0].max_connections = Some(number(2));
    config.queue = Some(Queue {
        size: number(10),
        timeout: second(1),
    });
    config.circuit_breaker = Some(CircuitBreaker {
        error_percent: 50,
        min_requests: number(2),
        window: second(10),
        open,
    });
    config
}

fn in_force(registry: &Arc<Registry>, config: &lb_config::Upstream) -> Arc<Upstream> {
    let upstream = build(registry, config);
    upstream.in_force();
    upstream
}

fn fail(upstream: &Upstream) {
    for lease in leases(upstream, 2) {
        lease.tried(false);
    }
}

fn pick_in(upstream: &Upstream, time: Duration) -> Result<super::super::Lease, NoServer> {
    upstream.pick_at(&Wanted::default(), Instant::now() + time)
}

#[test]
fn once_it_is_open_nobody_is_asked_and_nobody_waits() {
    let users = in_force(&Registry::new(), &broken_by_two(second(60)));
    let held = leases(&users, 2);
    let Ok(Entry::Place(place)) = users.line_up(&Wanted::default()) else {
        panic!("there is room")
    };
    held[0].tried(false);
    assert!(place.outcome().is_none());
    held[1].tried(false);
    assert_eq!(users.circuit(), Some(CircuitState::Open));
    assert!(matches!(place.outcome(), Some(Err(NoServer::CircuitOpen))));
    drop(held);
    assert_eq!(pick_in(&users, Duration::ZERO).unwrap_err(), NoServer::CircuitOpen);
    assert_eq!(users.line_up(&Wanted::default()).unwrap_err(), NoServer::CircuitOpen);
    assert!(users.has_server() && !users.takes_requests());
}

#[test]
fn a_server_that_was_handed_over_is_given_back_if_it_opens_before_it_is_taken_up() {
    let users = in_force(&Registry::new(), &broken_by_two(second(60)));
    let mut held = leases(&users, 2);
    let Ok(Entry::Place(place)) = users.line_up(&Wanted::default()) else {
        panic!("there is room")
    };
    held[0].tried(false);
    drop(held.remove(0));
    let granted = place.outcome().expect("an outcome").expect("a server");
    held[0].tried(false);
    assert!(users.lease(granted).is_none());
    drop(held);
    assert_eq!(users.servers()[0].in_flight(), 0);
}

#[test]
fn a_probe_that_comes_to_nothing_makes_room_for_another() {
    let users = in_force(&Registry::new(), &broken_by_two(second(5)));
    fail(&users);
    let probe = pick_in(&users, second(6)).expect("a probe");
    assert_eq!(users.circuit(), Some(CircuitState::HalfOpen));
    assert_eq!(pick_in(&users, second(6)).unwrap_err(), NoServer::CircuitOpen);
    drop(probe);
    let probe = pick_in(&users, second(6)).expect("another probe");
    probe.tried(true);
    // Only the first word counts.
    probe.tried(false);
    assert_eq!(users.circuit(), Some(CircuitState::Closed));
    assert_eq!(leases(&users, 1).len(), 1);
}

#[test]
fn a_probe_that_finds_no_server_makes_room_for_another() {
    let users = in_force(&Registry::new(), &broken_by_two(second(5)));
    let held = leases(&users, 2);
    held.iter().for_each(|lease| lease.tried(false));
    assert_eq!(pick_in(&users, second(6)).unwrap_err(), NoServer::AllFull);
    drop(held);
    assert!(pick_in(&users, second(6)).is_ok());
}

#[test]
fn it_outlives_a_reload_and_goes_by_what_that_says() {
    let registry = Registry::new();
    let old = in_force(&registry, &broken_by_two(second(3600)));
    fail(&old);
    let same = in_force(&registry, &broken_by_two(second(3600)));
    assert_eq!(pick_in(&same, second(6)).unwrap_err(), NoServer::CircuitOpen);
    let shorter = in_force(&registry, &broken_by_two(second(5)));
    assert_eq!(pick_in(&shorter, Duration::ZERO).unwrap_err(), NoServer::CircuitOpen);
    assert!(pick_in(&shorter, second(6)).is_ok());
    let mut without = broken_by_two(second(5));
    without.circuit_breaker = None;
    let off = in_force(&registry, &without);
    assert_eq!(off.circuit(), None);
    fail(&off);
    // Also for requests that began under the old one.
    assert!(pick_in(&old, Duration::ZERO).is_ok());
    let again = in_force(&registry, &broken_by_two(second(5)));
    assert_eq!(again.circuit(), Some(CircuitState::Closed));
}

#[test]
fn without_the_key_there_is_none() {
    let users = in_force(&Registry::new(), &config(servers(&[1])));
    (0..100).for_each(|_| fail(&users));
    assert_eq!(users.circuit(), None);
    assert!(users.takes_requests());
}
