//! The simulation against what is known beforehand: conservation laws, queueing theory, and what the algorithms promise.

use std::num::NonZeroU32;
use std::time::Duration;

use lb_config::{Address, Balance, HashOn, Upstream, UpstreamServer};
use proptest::prelude::*;

use super::*;

const MILLI: u64 = 1_000_000;

fn balance(name: &str) -> Balance {
    Balance::named(name, HashOn::ClientIp).expect(name)
}

fn all() -> Vec<Balance> {
    Balance::names().iter().map(|name| balance(name)).collect()
}

/// An upstream with these weights, each server with so many workers.
fn plan(weights: &[u32], workers: u32, latency: &str, arrivals: Arrivals) -> Plan {
    let server = |(n, weight): (u8, &u32)| UpstreamServer {
        address: Address::Ip(std::net::SocketAddr::from(([10, 0, 0, n], 80))),
        weight: *weight,
        max_connections: None,
        backup: false,
    };
    let machine = Machine::new(latency.parse().expect(latency), NonZeroU32::new(workers));
    Plan {
        upstream: Upstream::plain("users", (1..).zip(weights).map(server).collect()),
        machines: vec![machine; weights.len()],
        arrivals,
        seed: 1,
    }
}

fn random(rate: f64, requests: u64) -> Arrivals {
    Arrivals::Random { rate, requests, keys: 100 }
}

/// Requests at these milliseconds.
fn recorded(at: impl IntoIterator<Item = u64>) -> Arrivals {
    let arrival = |millis: u64| Arrival {
        at: millis * MILLI,
        hash: crate::balance::hash_key(&millis.to_be_bytes()),
        idempotent: true,
    };
    Arrivals::Recorded(at.into_iter().map(arrival).collect())
}

fn simulated(plan: &Plan, name: &str) -> Outcome {
    run(plan, &balance(name), &|_| {})
}

fn tries(outcome: &Outcome) -> Vec<u64> {
    outcome.servers.iter().map(|server| server.tries).collect()
}

fn seconds(outcome: &Outcome, share: f64) -> f64 {
    outcome.quantile(share).expect("good answers")
}

#[test]
fn the_same_plan_gives_the_same_outcome_and_another_seed_another() {
    let mut plan = plan(&[1, 2, 3], 2, "lognormal(10ms, 0.5)", random(300.0, 2000));
    plan.machines[1].fail = 0.05;
    plan.machines[2].down = vec![(2_000 * MILLI, 3_000 * MILLI)];
    let once = compare(&plan, &all(), &|_| {});
    assert_eq!(once, compare(&plan, &all(), &|_| {}));
    assert!(once.iter().map(|outcome| outcome.algorithm).eq(Balance::names().iter().copied()));
    assert_eq!(once[1], run(&plan, &all()[1], &|_| {}));
    plan.seed = 2;
    for (one, other) in once.iter().zip(compare(&plan, &all(), &|_| {})) {
        assert_ne!(one.latency, other.latency, "{}", one.algorithm);
    }
}

#[test]
fn arrivals_on_an_idle_pool_give_one_each() {
    let plan = plan(&[1; 7], 1, "10ms", recorded([0; 7]));
    for name in ["least_conn", "round_robin"] {
        let outcome = simulated(&plan, name);
        assert_eq!(tries(&outcome), [1; 7], "{name}");
        assert_eq!(outcome.max_load(), 1);
        assert!((seconds(&outcome, 1.0) - 0.010).abs() < 1e-4);
    }
}

#[test]
fn requests_one_at_a_time_split_by_weight() {
    let plan = plan(&[1, 3, 6], 1, "1ms", recorded((0..1000).map(|n| n * 10)));
    for name in ["least_conn", "round_robin"] {
        assert_eq!(tries(&simulated(&plan, name)), [100, 300, 600], "{name}");
    }
    let random = tries(&simulated(&plan, "random"));
    assert!(random[2].abs_diff(600) < 60 && random.iter().sum::<u64>() == 1000, "{random:?}");
}

#[test]
fn a_queue_is_as_long_as_theory_says() {
    // M/M/1 at half its capacity: a mean of 1 ÷ (100 − 50) s, and of 0.5 ÷ (1 − 0.5) requests.
    let outcome = simulated(&plan(&[1], 1, "exponential(10ms)", random(50.0, 40_000)), "least_conn");
    let mean = outcome.latency.mean() / 1e3;
    assert!((mean / 20.0 - 1.0).abs() < 0.05, "{mean} ms");
    assert!((outcome.mean_load - 1.0).abs() < 0.05, "{}", outcome.mean_load);
}

#[test]
fn load_is_rate_by_time() {
    // Little's law, without a queue.
    let outcome = simulated(&plan(&[1; 4], 0, "10ms", random(800.0, 10_000)), "p2c");
    let total = outcome.mean_load * outcome.seconds * 4.0;
    assert!((total - 10_000.0 * 0.010).abs() < 1e-6, "{total}");
}

/// Ten servers, one 20 times slower: the p99 of `round_robin`, `least_conn` and `ewma`.
fn one_slow(rate: f64, seed: u64) -> [f64; 3] {
    let mut plan = plan(&[1; 10], 16, "lognormal(10ms, 0.5)", random(rate, 20_000));
    plan.seed = seed;
    plan.machines[0].latency = plan.machines[0].latency.times(20.0);
    ["round_robin", "least_conn", "ewma"].map(|name| seconds(&simulated(&plan, name), 0.99))
}

#[test]
fn who_looks_at_loads_or_latencies_is_not_held_up_by_one_slow_server() {
    for seed in 1..=5 {
        let [blind, by_load, by_latency] = one_slow(400.0, seed);
        assert!(by_load * 2.5 < blind, "seed {seed}: {by_load} s for {blind} s");
        assert!(by_latency * 9.0 < blind, "seed {seed}: {by_latency} s for {blind} s");
    }
}

#[test]
fn the_more_so_where_it_cannot_keep_up_with_its_share() {
    for seed in 1..=3 {
        let [blind, by_load, by_latency] = one_slow(2000.0, seed);
        assert!(
            blind > 5.0 && by_load < 0.05 && by_latency < 0.05,
            "seed {seed}: {blind} {by_load} {by_latency}"
        );
    }
}

#[test]
fn an_outage_costs_nobody_his_answer() {
    let mut plan = plan(&[1, 1, 1], 16, "10ms", random(300.0, 3000));
    plan.machines[1].down = vec![(2_000 * MILLI, 4_000 * MILLI)];
    for balance in all() {
        let outcome = run(&plan, &balance, &|_| {});
        assert_eq!(outcome.failed.total(), 0, "{}: {:?}", outcome.algorithm, outcome.failed);
        assert!(outcome.servers[1].failures > 0, "{}", outcome.algorithm);
        // With ewma it is left alone before it has failed often enough.
        assert!(outcome.ejections() >= 1 || outcome.algorithm == "ewma", "{}", outcome.algorithm);
        assert!(outcome.retries >= outcome.servers[1].failures, "{}", outcome.algorithm);
        assert!(outcome.servers[1].tries > 0);
    }
    plan.upstream.retry = None;
    let outcome = simulated(&plan, "round_robin");
    assert_eq!(outcome.failed.total(), outcome.servers[1].failures);
    assert!(outcome.failed.connect > 0 && outcome.failed.reset > 0, "{:?}", outcome.failed);
}

#[test]
fn a_server_that_fails_its_checks_is_asked_for_nothing() {
    let mut plan = plan(&[1, 1], 16, "10ms", random(200.0, 4000));
    plan.upstream.passive_health = None;
    plan.machines[0].down = vec![(5_000 * MILLI, 15_000 * MILLI)];
    let without = simulated(&plan, "round_robin");
    assert!(
        without.servers[0].failures > 800,
        "half of ten seconds: {}",
        without.servers[0].failures
    );
    plan.upstream.health_check = Some(lb_config::HealthCheck {
        kind: lb_config::CheckKind::Tcp,
        port: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: NonZeroU32::MIN,
        fall: NonZeroU32::MIN,
    });
    for name in Balance::names() {
        let outcome = simulated(&plan, name);
        assert_eq!(outcome.failed.total(), 0, "{name}: {:?}", outcome.failed);
    }
    let with = simulated(&plan, "round_robin");
    assert!(
        (50..150).contains(&with.servers[0].failures),
        "half of one second: {}",
        with.servers[0].failures
    );
    assert!(with.servers[0].tries > 900, "it came back: {}", with.servers[0].tries);
}

#[test]
fn what_fails_is_tried_elsewhere_within_the_budget() {
    let mut plan = plan(&[1, 1], 16, "10ms", random(200.0, 4000));
    plan.upstream.passive_health = None;
    plan.machines[0].fail = 0.1;
    let outcome = simulated(&plan, "round_robin");
    assert_eq!(outcome.failed.total(), 0, "{:?}", outcome.failed);
    assert!(outcome.retries.abs_diff(200) < 60 && outcome.retries == outcome.servers[0].failures);
    plan.machines.iter_mut().for_each(|machine| machine.fail = 1.0);
    let outcome = simulated(&plan, "round_robin");
    let most = 0.2 * 4000.0 + 10.0 * (outcome.seconds + 1.0);
    assert_eq!(outcome.failed.status, 4000);
    assert!(
        outcome.retries > 700 && (outcome.retries as f64) < most,
        "{} of {most}",
        outcome.retries
    );
}

#[test]
fn an_answer_that_is_too_late_is_none() {
    let mut plan = plan(&[1, 1], 0, "50ms", recorded([0, 100]));
    plan.upstream.timeouts.read = Duration::from_millis(20);
    plan.machines[1].latency = Latency::Constant(0.005);
    let outcome = simulated(&plan, "round_robin");
    assert_eq!((outcome.failed.total(), outcome.retries), (0, 1));
    assert!((seconds(&outcome, 1.0) - 0.025).abs() < 1e-4);
    plan.upstream.retry = None;
    assert_eq!(simulated(&plan, "round_robin").failed.timeout, 1);
}

#[test]
fn what_may_not_be_repeated_is_not() {
    let mut plan = plan(&[1, 1], 0, "50ms", recorded([0, 1]));
    if let Arrivals::Recorded(all) = &mut plan.arrivals {
        all.iter_mut().for_each(|arrival| arrival.idempotent = false);
    }
    plan.machines[0].down = vec![(10 * MILLI, 1_000 * MILLI)];
    assert_eq!(simulated(&plan, "round_robin").failed.reset, 1);
    plan.machines[0].down = vec![(0, 1_000 * MILLI)];
    assert_eq!(
        simulated(&plan, "round_robin").failed.total(),
        0,
        "nothing was sent where there was no connection"
    );
}

#[test]
fn full_servers_refuse_and_backups_do_not_help() {
    let mut plan = plan(&[1, 1], 0, "50ms", recorded([0; 5]));
    plan.upstream.servers[0].max_connections = NonZeroU32::new(3);
    plan.upstream.servers[1].backup = true;
    let outcome = simulated(&plan, "least_conn");
    assert_eq!((outcome.failed.full, tries(&outcome)), (2, vec![3, 0]));
    plan.machines[0].down = vec![(0, MILLI)];
    let outcome = simulated(&plan, "least_conn");
    assert_eq!((outcome.failed.total(), outcome.servers[1].tries), (0, 5));
}

#[test]
fn the_plot_is_xml_with_a_curve_for_each() {
    let plan = plan(&[1, 1], 4, "lognormal(10ms, 0.5)", random(100.0, 500));
    let outcomes = compare(&plan, &all(), &|_| {});
    let svg = plot::svg("a < b & c\nmore", &outcomes);
    assert_eq!(svg.matches("<polyline").count(), outcomes.len());
    assert!(svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
    let empty = plot::svg("", &[]);
    assert!(empty.ends_with("</svg>\n") && !empty.contains("NaN") && !empty.contains("inf"));
}

fn queue(size: u32, millis: u64) -> Option<lb_config::Queue> {
    NonZeroU32::new(size).map(|size| lb_config::Queue {
        size,
        timeout: Duration::from_millis(millis),
    })
}

#[test]
fn a_queue_in_front_of_full_servers_is_first_come_first_served() {
    let mut plan = plan(&[1, 1], 0, "10ms", recorded([0, 0, 1, 2, 3]));
    plan.upstream
        .servers
        .iter_mut()
        .for_each(|server| server.max_connections = NonZeroU32::new(1));
    plan.upstream.queue = queue(2, 1000);
    let outcome = simulated(&plan, "least_conn");
    assert_eq!((outcome.failed.queue_full, outcome.failed.total()), (1, 1));
    // Two at once, and the two that wait when those end: from 1 to 20, and from 2 to 20.
    assert!((seconds(&outcome, 0.5) - 0.010).abs() < 1e-4 && (seconds(&outcome, 1.0) - 0.019).abs() < 1e-4);
    plan.upstream.queue = queue(10, 5);
    let outcome = simulated(&plan, "least_conn");
    assert_eq!((outcome.failed.queued_too_long, outcome.latency.len()), (3, 2));
}

#[test]
fn one_queue_in_front_beats_one_behind_each() {
    // At 80 % of what they can do: M/M/2 has a mean of 27.8 ms, two M/M/1 that are chosen at random have 50 ms.
    let mean = |in_front: bool| {
        let mut plan = plan(&[1, 1], 1, "exponential(10ms)", random(160.0, 60_000));
        plan.upstream.timeouts.read = Duration::from_secs(600);
        if in_front {
            plan.upstream
                .servers
                .iter_mut()
                .for_each(|server| server.max_connections = NonZeroU32::new(1));
            plan.upstream.queue = queue(60_000, 600_000);
        }
        let outcome = simulated(&plan, "random");
        assert_eq!(outcome.failed.total(), 0);
        outcome.latency.mean() / 1e3
    };
    let (one, each) = (mean(true), mean(false));
    assert!(
        (one / 27.8 - 1.0).abs() < 0.1 && (each / 50.0 - 1.0).abs() < 0.15,
        "{one} ms and {each} ms"
    );
}

#[test]
fn one_deadline_ends_all_tries() {
    let mut plan = plan(&[1, 1, 1], 0, "50ms", recorded([0]));
    plan.upstream.timeouts.read = Duration::from_millis(20);
    plan.upstream.timeouts.request = Some(Duration::from_millis(30));
    let outcome = simulated(&plan, "round_robin");
    assert_eq!((outcome.failed.timeout, outcome.retries), (1, 1));
    assert!((outcome.seconds - 0.030).abs() < 1e-9, "{}", outcome.seconds);
}

/// Plans of every kind, small ones.
fn plans() -> impl Strategy<Value = Plan> {
    let server = (
        1u32..4,
        prop_oneof![Just(None), (1u32..6).prop_map(NonZeroU32::new)],
        any::<bool>(),
        0u32..3,
    );
    let outage = prop_oneof![
        Just(Vec::new()),
        (0u64..300, 1u64..200).prop_map(|(from, length)| vec![(from * MILLI, (from + length) * MILLI)])
    ];
    let machine = (prop_oneof![Just(0.0), Just(0.2), Just(1.0)], outage);
    let servers = prop::collection::vec((server, machine), 1..6);
    let queues = prop_oneof![Just(None), (1u32..20, 1u64..50).prop_map(|(size, millis)| queue(size, millis))];
    let limits = (1u64..100, prop_oneof![Just(None), (1u64..100).prop_map(Some)], queues);
    (servers, 10.0..2000.0f64, 1u64..150, any::<u64>(), any::<bool>(), limits).prop_map(
        |(servers, rate, requests, seed, retry, (patience, limit, queue))| {
            let weights: Vec<u32> = servers.iter().map(|((weight, ..), _)| *weight).collect();
            let mut plan = plan(&weights, 1, "pareto(2ms, 1.5)", random(rate, requests));
            plan.seed = seed;
            plan.upstream.timeouts.read = Duration::from_millis(patience);
            plan.upstream.timeouts.request = limit.map(Duration::from_millis);
            plan.upstream.queue = queue;
            if !retry {
                plan.upstream.retry = None;
            }
            for (index, ((_, most, backup, workers), (fail, down))) in servers.into_iter().enumerate() {
                let (server, machine) = (&mut plan.upstream.servers[index], &mut plan.machines[index]);
                (server.max_connections, server.backup) = (most, backup);
                (machine.workers, machine.fail, machine.down) = (NonZeroU32::new(workers), fail, down);
            }
            plan
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// That leases come back, and that the pool counts what is counted here, is asserted by the engine itself in debug builds.
    #[test]
    fn each_request_ends_once_and_no_limit_is_broken(plan in plans()) {
        let most = plan.upstream.retry.as_ref().map_or(1, |retry| u64::from(retry.attempts.get()));
        for balance in all() {
            let outcome = run(&plan, &balance, &|_| {});
            prop_assert_eq!(outcome.requests, plan.arrivals.count());
            prop_assert_eq!(outcome.latency.len() + outcome.failed.total(), outcome.requests);
            let (tried, failed) = outcome.servers.iter().fold((0, 0), |(tries, failures), server| (tries + server.tries, failures + server.failures));
            prop_assert_eq!(outcome.clone(), run(&plan, &balance, &|_| {}));
            let never = outcome.failed.full + outcome.failed.queue_full + outcome.failed.queued_too_long + outcome.failed.no_server;
            prop_assert_eq!(tried + never, outcome.requests + outcome.retries);
            prop_assert_eq!(outcome.latency.len() + failed, tried);
            prop_assert!(outcome.retries <= outcome.requests * (most - 1 + plan.machines.len() as u64));
            for (server, got) in plan.upstream.servers.iter().zip(&outcome.servers) {
                prop_assert!(server.max_connections.is_none_or(|most| got.max_load <= most.get()));
            }
        }
    }

    #[test]
    fn progress_is_told_of_every_arrival(requests in 0u64..10_000) {
        let plan = plan(&[1], 0, "1us", random(1e6, requests));
        let told = std::cell::Cell::new(0);
        run(&plan, &balance("random"), &|more| told.set(told.get() + more));
        prop_assert_eq!(told.get(), requests);
    }
}

#[test]
fn an_overloaded_server_goes_on_answering_in_time_with_a_limit_and_not_without() {
    let mut plan = plan(&[1, 1], 8, "uniform(40ms, 60ms)", random(960.0, 40_000));
    plan.upstream.timeouts.request = Some(Duration::from_millis(400));
    plan.upstream.passive_health = None;
    let share = |outcome: &Outcome| (outcome.requests - outcome.failed.total()) as f64 / outcome.seconds / 320.0;
    let without = share(&simulated(&plan, "least_conn"));
    assert!(without < 0.1, "{without}");
    plan.upstream.adaptive_concurrency = true;
    for balance in all() {
        // One key has one server, unless that is full.
        let outcome = run(&plan, &balance, &|_| {});
        let goodput = share(&outcome);
        assert!(goodput > 0.9, "{}: {goodput}", outcome.algorithm);
    }
}
