//! The rule by itself, and a limit in front of a simulated server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::rule::LEAST;
use super::*;

/// A server whose workers do one request at a time, to its end, whether anybody waits for it or not.
#[derive(Debug, Clone, Copy)]
struct Server {
    workers: usize,
    /// Seconds.
    service: f64,
    /// It takes so much of that more or less.
    spread: f64,
    /// Clients leave after so many seconds.
    patience: f64,
}

impl Server {
    fn capacity(&self) -> f64 {
        self.workers as f64 / self.service
    }
}

/// A limit, and more clients than any server could serve.
struct Course {
    limit: Limit,
    start: Instant,
    /// Seconds since the start.
    now: f64,
    /// When workers are free.
    free: Vec<f64>,
    /// What is under way: when it ends, when it began, and whether with an answer.
    under_way: BinaryHeap<Reverse<(u64, u64, bool)>>,
    random: SmallRng,
}

const MICROS: f64 = 1e6;

impl Course {
    fn new(seed: u64) -> Self {
        Self {
            limit: Limit::default(),
            start: Instant::now(),
            now: 0.0,
            free: Vec::new(),
            under_way: BinaryHeap::new(),
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// The share of its capacity that the server gives good answers by, in the next seconds.
    fn run(&mut self, server: Server, seconds: f64) -> f64 {
        self.free.resize(server.workers, self.now);
        let (end, mut good) = (self.now + seconds, 0);
        while self.now < end {
            while self.under_way.len() < self.limit.get() as usize {
                self.begin(server);
            }
            good += u32::from(self.end_one());
        }
        f64::from(good) / (seconds * server.capacity())
    }

    fn begin(&mut self, server: Server) {
        let work = server.service * (1.0 + server.spread * (2.0 * self.random.random::<f64>() - 1.0));
        let first = self.free.iter_mut().min_by(|a, b| a.total_cmp(b)).expect("a worker");
        *first = first.max(self.now) + work;
        let (late, micros) = (self.now + server.patience, |seconds: f64| (seconds * MICROS) as u64);
        let event = (micros(first.min(late)), micros(self.now), *first <= late);
        self.under_way.push(Reverse(event));
    }

    fn end_one(&mut self) -> bool {
        let Reverse((at, began, good)) = self.under_way.pop().expect("a request under way");
        let waiting = self.under_way.len() as u32 + 1;
        self.now = self.now.max(at as f64 / MICROS);
        let (after, now) = (Duration::from_micros(at - began), self.start + Duration::from_micros(at));
        match good {
            true => self.limit.observe(Heard::Good, after, waiting, self.random.random(), now),
            false => self.limit.observe_unanswered(after, waiting, self.random.random(), now),
        }
        good
    }
}

const PATIENT: f64 = 1e6;

fn server(workers: usize, millis: f64) -> Server {
    Server {
        workers,
        service: millis / 1e3,
        spread: 0.2,
        patience: PATIENT,
    }
}

#[test]
fn clients_that_leave_are_few_and_without_a_limit_all_of_them_leave() {
    let overloaded = Server {
        patience: 0.6,
        ..server(8, 100.0)
    };
    let mut course = Course::new(1);
    course.run(overloaded, 10.0);
    let goodput = course.run(overloaded, 60.0);
    assert!(goodput > 0.9, "{goodput}");
    // Sixteen times what it can do at once, and never less.
    let mut unlimited = Course::new(1);
    let mut good = 0;
    while unlimited.now < 60.0 {
        unlimited.free.resize(8, 0.0);
        while unlimited.under_way.len() < 128 {
            unlimited.begin(overloaded);
        }
        let Reverse((at, _, in_time)) = unlimited.under_way.pop().expect("a request under way");
        unlimited.now = at as f64 / MICROS;
        good += usize::from(in_time);
    }
    assert!(good < 100, "{good}");
}

#[test]
fn it_falls_when_a_server_loses_its_workers_and_rises_when_they_are_back() {
    let (whole, little) = (server(100, 50.0), server(10, 50.0));
    let mut course = Course::new(2);
    course.run(whole, 20.0);
    let high = course.limit.get();
    assert!((100..=250).contains(&high), "{high}");
    course.free.clear();
    course.run(little, 20.0);
    let low = course.limit.get();
    assert!((10..=30).contains(&low), "{low}");
    let goodput = course.run(whole, 20.0);
    assert!((100..=250).contains(&course.limit.get()), "{}", course.limit.get());
    assert!(goodput > 0.9, "{goodput}");
}

#[test]
fn a_server_that_is_slower_but_takes_as_much_at_once_keeps_its_limit() {
    let mut course = Course::new(3);
    course.run(server(50, 50.0), 20.0);
    let goodput = course.run(server(50, 200.0), 40.0);
    assert!(goodput > 0.9, "{goodput}");
    assert!((50..=150).contains(&course.limit.get()), "{}", course.limit.get());
}

#[test]
fn timeouts_take_all_but_one_request_and_it_comes_back_soon() {
    let mut course = Course::new(4);
    course.run(server(100, 50.0), 20.0);
    for n in 0..10_000_u32 {
        let now = course.start + Duration::from_secs_f64(course.now) + n * Duration::from_millis(1);
        let waiting = course.limit.get();
        course.limit.observe(Heard::Overloaded, Duration::from_millis(1), waiting, 0.5, now);
    }
    assert_eq!(course.limit.get(), 1);
    course.under_way.clear();
    course.now += 10.0;
    course.run(server(100, 50.0), 5.0);
    let goodput = course.run(server(100, 50.0), 5.0);
    assert!(goodput > 0.9, "{goodput}");
}

#[test]
fn failures_that_are_no_overload_teach_nothing_nor_do_clients_that_leave_soon() {
    let mut course = Course::new(5);
    course.run(server(20, 50.0), 10.0);
    let before = (course.limit.get(), course.limit.gathered);
    let now = course.start + Duration::from_secs_f64(course.now) + Duration::from_secs(1);
    for _ in 0..1000 {
        course.limit.observe(Heard::Bad, Duration::from_secs(9), 50, 0.5, now);
        course.limit.observe_unanswered(Duration::from_millis(20), 50, 0.5, now);
    }
    let after = (course.limit.get(), course.limit.gathered);
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
}

#[test]
fn a_server_that_answers_nobody_in_time_is_no_trap() {
    // From the first request on every client leaves, and the server goes on working on what they wanted.
    let overloaded = Server {
        patience: 0.25,
        ..server(2, 50.0)
    };
    let mut course = Course::new(6);
    course.run(overloaded, 30.0);
    let goodput = course.run(overloaded, 30.0);
    assert!(goodput > 0.9, "{goodput}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_finds_what_a_server_can_do(workers in 1..64_usize, millis in 5.0..200.0_f64, spread in 0.0..0.5_f64, seed: u64) {
        let server = Server { spread, ..server(workers, millis) };
        let mut course = Course::new(seed);
        let time = (server.service * 300.0).max(10.0);
        course.run(server, time);
        let goodput = course.run(server, time);
        prop_assert!(goodput > 0.9, "{goodput} of {}", server.capacity());
        let most = (4 * workers + 10) as u32;
        prop_assert!(course.limit.get() <= most, "{} for {workers} workers", course.limit.get());
    }
}

fn windows() -> impl Strategy<Value = Window> {
    let latency = prop::option::weighted(0.9, 1e-4..10.0_f64);
    (
        latency,
        0.0..1e4_f64,
        1..2000_u32,
        prop_oneof![Just(0.0), 0.0..1.0_f64],
        any::<bool>(),
    )
        .prop_map(|(latency, throughput, most, lost, due)| Window {
            latency,
            throughput,
            most,
            lost: if latency.is_none() { 1.0 } else { lost },
            due,
        })
}

/// What is known after these windows, and no trial under way.
fn learned() -> impl Strategy<Value = Learned> {
    prop::collection::vec(windows(), 0..60).prop_map(|windows| {
        let after = windows.iter().fold(Learned::default(), |learned, window| learned.next(window));
        // A trial ends when there is one request at a time, if not before.
        let quiet = Window {
            latency: Some(0.1),
            throughput: 0.0,
            most: 1,
            lost: 0.0,
            due: false,
        };
        (0..30).fold(
            after,
            |learned, _| if learned.is_on_trial() { learned.next(&quiet) } else { learned },
        )
    })
}

proptest! {
    #[test]
    fn it_has_bounds_and_takes_no_leaps(before in prop::collection::vec(windows(), 0..60), window in windows()) {
        let learned = before.iter().fold(Learned::default(), |learned, window| learned.next(window));
        let next = learned.next(&window);
        prop_assert!(next.limit.is_finite() && next.limit >= LEAST);
        prop_assert!(next.limit >= learned.limit * 0.5 - 1e-9);
        // What a trial took away comes back at once.
        prop_assert!(next.limit <= learned.limit * 2.0 + 1e-9 || learned.is_on_trial());
    }

    #[test]
    fn a_trial_ends(learned in learned()) {
        prop_assert!(!learned.is_on_trial());
    }

    #[test]
    fn only_what_reaches_it_raises_it(learned in learned(), window in windows(), share in 0.0..1.0_f64) {
        let most = ((learned.limit.floor() * share).ceil() - 1.0).max(0.0) as u32;
        let window = Window { most, ..window };
        prop_assert!(learned.next(&window).limit <= learned.limit);
    }

    #[test]
    fn a_few_slow_answers_do_not_lower_it(learned in learned(), latency in 1e-4..10.0_f64, share in 0.0..1.0_f64) {
        let most = ((learned.limit * 0.5 * share).ceil() - 1.0).max(0.0) as u32;
        let window = Window { latency: Some(latency), throughput: 1.0, most, lost: 0.0, due: true };
        prop_assert_eq!(learned.next(&window).limit, learned.limit);
    }

    #[test]
    fn it_falls_where_answers_take_three_times_as_long(learned in learned(), more in 4.1..1000.0_f64, times in 3.0..50.0_f64) {
        let (limit, usual) = (learned.limit + more, learned.usual.unwrap_or(0.1));
        let mut learned = learned;
        (learned.limit, learned.usual) = (limit, Some(usual));
        let window = Window { latency: Some(usual * times), throughput: 1.0, most: limit as u32, lost: 0.0, due: false };
        prop_assert!(learned.next(&window).limit < limit);
    }

    #[test]
    fn losses_lower_it(learned in learned(), more in 0.1..1000.0_f64, lost in 0.2..1.0_f64) {
        let mut learned = learned;
        learned.limit += more;
        let window = Window { latency: None, throughput: 0.0, most: 1, lost, due: false };
        prop_assert!(learned.next(&window).limit < learned.limit);
    }
}
