//! What a scrape shows, read back by a small parser of the exposition format.

use std::collections::BTreeMap;

use super::*;

/// A name and its labels, which are sorted.
type Series = (String, Vec<(String, String)>);

/// Every sample, and the type of each family.
#[derive(Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    samples: BTreeMap<Series, f64>,
}

impl Scrape {
    /// Panics at whatever the format forbids: a sample before its `TYPE`, a family in two places, a series twice.
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut scrape = Self::default();
        let mut family = String::new();
        let mut helped = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty() && !helped.contains(&name.to_owned()), "{line}");
                helped.push(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(helped.last().unwrap(), name, "HELP and TYPE belong together");
                assert!(["counter", "gauge", "histogram"].contains(&kind));
                assert!(scrape.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
                family = name.to_owned();
            } else {
                let (name, labels, value) = sample(line);
                let suffix = name.strip_prefix(&family).expect("a sample of the family that was announced");
                let histogram = scrape.types[&family] == "histogram";
                assert!(
                    if histogram {
                        ["_bucket", "_sum", "_count"].contains(&suffix)
                    } else {
                        suffix.is_empty()
                    },
                    "{line}"
                );
                assert!(scrape.samples.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        scrape.histograms_are_sound();
        scrape
    }

    fn histograms_are_sound(&self) {
        let mut buckets: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), &value) in &self.samples {
            let Some(base) = name.strip_suffix("_bucket") else { continue };
            let (le, others): (Vec<_>, Vec<_>) = labels.iter().cloned().partition(|(name, _)| name == "le");
            let bound = if le[0].1 == "+Inf" {
                f64::INFINITY
            } else {
                le[0].1.parse().unwrap()
            };
            buckets.entry((base.to_owned(), others)).or_default().push((bound, value));
        }
        for ((base, labels), mut series) in buckets {
            series.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!((12..=17).contains(&series.len()));
            assert!(
                series.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1),
                "{series:?}"
            );
            let (last, count) = series[series.len() - 1];
            assert_eq!(last, f64::INFINITY);
            assert_eq!(self.samples[&(format!("{base}_count"), labels.clone())], count);
            assert!(self.samples.contains_key(&(format!("{base}_sum"), labels)));
        }
    }

    fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut labels: Vec<_> = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        labels.sort();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        while let Some((label, after)) = inside.trim_start_matches(',').split_once("=\"") {
            let (value, after) = quoted(after);
            labels.push((label.to_owned(), value));
            inside = after;
            if inside.starts_with('}') {
                break;
            }
        }
        rest = inside.strip_prefix('}').unwrap();
    }
    labels.sort();
    (name.to_owned(), labels, rest.trim().parse().unwrap())
}

/// The value up to its closing quote, and what comes after.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("an unknown escape: {c}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}");
}

fn server(upstream: &str, server: &str, active: u64) -> ServerGauges {
    ServerGauges {
        upstream: upstream.into(),
        server: server.into(),
        active,
        healthy: active > 0,
        ejections: 3,
        concurrency_limit: (active > 0).then_some(10),
    }
}

#[test]
fn a_request_shows_in_every_family_it_belongs_to() {
    let metrics = Metrics::new();
    let route = metrics.route("users");
    for (method, status) in [(&Method::GET, 200), (&Method::GET, 200), (&Method::POST, 201), (&Method::GET, 404)] {
        route.done(method, StatusCode::from_u16(status).unwrap(), Duration::from_millis(3));
    }
    route.done(&Method::from_bytes(b"PURGE").unwrap(), StatusCode::OK, Duration::ZERO);
    route.cache(CacheOutcome::Hit);
    metrics.route(NO_ROUTE).done(None, StatusCode::BAD_REQUEST, Duration::ZERO);
    metrics.upstream("users").answered(Duration::from_millis(2));
    metrics.upstream("users").retried();
    metrics.server("users", "127.0.0.1:3001").done(StatusCode::OK);
    metrics.reloaded(true);
    metrics.reloaded(false);
    metrics.access_log_dropped().add(9);
    let gauges = Gauges {
        servers: vec![server("users", "127.0.0.1:3001", 2)],
        upstreams: Vec::new(),
        cache_bytes: 1 << 20,
        cache_objects: 5,
        cache_purges: [6, 7],
        cache_redis_errors: 8,
        connections: 64,
    };
    let scrape = Scrape::read(&metrics.render(&gauges));

    let users = ("route", "users");
    assert_eq!(
        scrape.get("lb_requests_total", &[users, ("method", "GET"), ("code", "200")]),
        Some(2.0)
    );
    assert_eq!(
        scrape.get("lb_requests_total", &[users, ("method", "GET"), ("code", "404")]),
        Some(1.0)
    );
    assert_eq!(
        scrape.get("lb_requests_total", &[users, ("method", "POST"), ("code", "201")]),
        Some(1.0)
    );
    assert_eq!(
        scrape.get("lb_requests_total", &[users, ("method", "other"), ("code", "200")]),
        Some(1.0)
    );
    assert_eq!(
        scrape.get("lb_requests_total", &[("route", "-"), ("method", "other"), ("code", "400")]),
        Some(1.0)
    );
    assert_eq!(scrape.get("lb_request_duration_seconds_count", &[users]), Some(5.0));
    assert_eq!(scrape.get("lb_request_duration_seconds_sum", &[users]), Some(0.012));
    assert_eq!(
        scrape.get("lb_request_duration_seconds_bucket", &[users, ("le", "0.0025")]),
        Some(1.0)
    );
    assert_eq!(
        scrape.get("lb_request_duration_seconds_bucket", &[users, ("le", "0.005")]),
        Some(5.0)
    );
    assert_eq!(scrape.get("lb_cache_requests_total", &[users, ("status", "hit")]), Some(1.0));
    assert_eq!(scrape.get("lb_cache_requests_total", &[users, ("status", "stale")]), Some(0.0));
    assert_eq!(scrape.get("lb_cache_requests_total", &[("route", "-"), ("status", "hit")]), None);
    let (upstream, server) = (("upstream", "users"), ("server", "127.0.0.1:3001"));
    assert_eq!(
        scrape.get("lb_upstream_requests_total", &[upstream, server, ("code", "200")]),
        Some(1.0)
    );
    assert_eq!(scrape.get("lb_upstream_latency_seconds_count", &[upstream]), Some(1.0));
    assert_eq!(scrape.get("lb_upstream_active_requests", &[upstream, server]), Some(2.0));
    assert_eq!(scrape.get("lb_upstream_healthy", &[upstream, server]), Some(1.0));
    assert_eq!(scrape.get("lb_upstream_ejections_total", &[upstream, server]), Some(3.0));
    assert_eq!(scrape.get("lb_retries_total", &[upstream]), Some(1.0));
    assert_eq!(scrape.get("lb_cache_bytes", &[]), Some(1_048_576.0));
    assert_eq!(scrape.get("lb_cache_objects", &[]), Some(5.0));
    assert_eq!(scrape.get("lb_cache_purges_total", &[("from", "here")]), Some(6.0));
    assert_eq!(scrape.get("lb_cache_purges_total", &[("from", "others")]), Some(7.0));
    assert_eq!(scrape.get("lb_cache_redis_errors_total", &[]), Some(8.0));
    assert_eq!(scrape.get("lb_connections", &[]), Some(64.0));
    assert_eq!(scrape.get("lb_config_reloads_total", &[("result", "ok")]), Some(1.0));
    assert_eq!(scrape.get("lb_config_reloads_total", &[("result", "error")]), Some(1.0));
    assert_eq!(scrape.get("lb_access_log_dropped_total", &[]), Some(9.0));
    let build = [("version", crate::observe::VERSION), ("revision", crate::observe::REVISION)];
    assert_eq!(scrape.get("lb_build_info", &build), Some(1.0));
    let kind = |name| scrape.types[name].as_str();
    assert_eq!(
        ["lb_requests_total", "lb_connections", "lb_upstream_latency_seconds"].map(kind),
        ["counter", "gauge", "histogram"]
    );
}

#[test]
fn a_name_may_hold_anything() {
    let metrics = Metrics::new();
    let name = "a\"b\\c\nd{e=\"f\"} é";
    metrics.route(name).done(&Method::GET, StatusCode::OK, Duration::ZERO);
    let scrape = Scrape::read(&metrics.render(&Gauges::default()));
    assert_eq!(
        scrape.get("lb_requests_total", &[("route", name), ("method", "GET"), ("code", "200")]),
        Some(1.0)
    );
}

#[test]
fn a_fresh_process_shows_a_sound_page() {
    let scrape = Scrape::read(&Metrics::new().render(&Gauges::default()));
    assert_eq!(scrape.get("lb_access_log_dropped_total", &[]), Some(0.0));
    assert!(!scrape.types.contains_key("lb_requests_total"));
}

#[test]
fn a_server_that_is_named_twice_has_one_series() {
    let gauges = Gauges {
        servers: vec![server("a", "s", 7), server("a", "s", 7), server("b", "s", 0)],
        upstreams: vec![UpstreamGauges {
            upstream: "a".into(),
            queued: 0,
            circuit_open: true,
            panics: 2,
        }],
        ..Gauges::default()
    };
    let scrape = Scrape::read(&Metrics::new().render(&gauges));
    assert_eq!(scrape.get("lb_upstream_panic_total", &[("upstream", "a")]), Some(2.0));
    assert_eq!(scrape.get("lb_circuit_open", &[("upstream", "a")]), Some(1.0));
    assert_eq!(
        scrape.get("lb_upstream_active_requests", &[("upstream", "a"), ("server", "s")]),
        Some(7.0)
    );
    assert_eq!(scrape.get("lb_upstream_healthy", &[("upstream", "b"), ("server", "s")]), Some(0.0));
}

#[test]
fn handles_of_one_name_share_their_numbers_until_it_is_forgotten() {
    let metrics = Metrics::new();
    let route = metrics.route("old");
    route.done(&Method::GET, StatusCode::OK, Duration::ZERO);
    metrics.route("old").done(&Method::GET, StatusCode::OK, Duration::ZERO);
    metrics.route(NO_ROUTE).done(&Method::GET, StatusCode::OK, Duration::ZERO);
    for upstream in ["old", "kept"] {
        metrics.upstream(upstream).retried();
        metrics.server(upstream, "1").done(StatusCode::OK);
        metrics.server(upstream, "2").done(StatusCode::OK);
    }
    let old = [("route", "old"), ("method", "GET"), ("code", "200")];
    let scrape = |metrics: &Metrics| Scrape::read(&metrics.render(&Gauges::default()));
    assert_eq!(scrape(&metrics).get("lb_requests_total", &old), Some(2.0));

    metrics.retain(
        |_| false,
        |upstream| upstream == "kept",
        |upstream, server| (upstream, server) == ("kept", "1"),
    );
    route.done(&Method::GET, StatusCode::OK, Duration::ZERO); // a request that began before
    let after = scrape(&metrics);
    assert_eq!(after.get("lb_requests_total", &old), None);
    assert_eq!(
        after.get("lb_requests_total", &[("route", "-"), ("method", "GET"), ("code", "200")]),
        Some(1.0)
    );
    assert_eq!(after.get("lb_retries_total", &[("upstream", "old")]), None);
    assert_eq!(after.get("lb_retries_total", &[("upstream", "kept")]), Some(1.0));
    let servers = after.samples.keys().filter(|(name, _)| name == "lb_upstream_requests_total");
    assert_eq!(servers.count(), 1);
}

#[test]
fn threads_that_count_at_once_lose_nothing() {
    let metrics = Metrics::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let route = metrics.route("r");
                (0..10_000).for_each(|_| route.done(&Method::GET, StatusCode::OK, Duration::from_millis(1)));
            });
        }
    });
    let scrape = Scrape::read(&metrics.render(&Gauges::default()));
    assert_eq!(
        scrape.get("lb_requests_total", &[("route", "r"), ("method", "GET"), ("code", "200")]),
        Some(40_000.0)
    );
    assert_eq!(scrape.get("lb_request_duration_seconds_sum", &[("route", "r")]), Some(40.0));
}
