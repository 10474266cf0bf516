//! Checks that run, against real servers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use lb_config::{CheckKind, UpstreamServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use super::super::fixture::{build, config, health_check, server, servers};
use super::super::{NoServer, Registry, State, Upstream, Wanted};

/// An HTTP server that answers with a status that can be changed; 0: accepts and says nothing.
struct Origin {
    server: UpstreamServer,
    status: Arc<AtomicU32>,
    asked: Arc<AtomicU64>,
}

impl Origin {
    async fn start(status: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = server(&listener.local_addr().expect("an address").to_string(), 1);
        let (status, asked) = (Arc::new(AtomicU32::new(status)), Arc::new(AtomicU64::new(0)));
        let origin = Self {
            server,
            status: status.clone(),
            asked: asked.clone(),
        };
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let status = status.load(Ordering::SeqCst);
                if status == 0 {
                    silent.push(connection);
                    continue;
                }
                let _ = connection.read(&mut [0; 1024]).await;
                let _ = connection.write_all(format!("HTTP/1.1 {status} X\r\n\r\n").as_bytes()).await;
            }
        });
        origin
    }

    fn answer(&self, status: u32) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn checked(origins: &[&Origin], interval: u64) -> lb_config::Upstream {
    let mut config = config(origins.iter().map(|origin| origin.server.clone()).collect());
    let mut check = health_check(interval);
    check.kind = CheckKind::Http {
        path: "/ready".into(),
        host: None,
        expect: 200..=299,
    };
    check.timeout = Duration::from_millis(300);
    check.fall = NonZeroU32::MIN;
    config.health_check = Some(check);
    config
}

/// Waits until it holds. A bound on patience, and no guess at a time.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(Duration::from_secs(20), waiting).await.is_ok(), "never: {what}");
}

fn state(upstream: &Upstream, server: usize) -> State {
    upstream.servers()[server].state()
}

#[tokio::test]
async fn c06_first_checks_are_at_once_and_then_the_silent_one_gets_nothing() {
    let (good, silent) = (Origin::start(200).await, Origin::start(0).await);
    let registry = Registry::new();
    let users = build(&registry, &checked(&[&good, &silent], 60_000));
    let start = Instant::now();
    registry.commit(std::slice::from_ref(&users), &Handle::current());
    until("the good one passes", || state(&users, 0) == State::Healthy).await;
    assert!(start.elapsed() < Duration::from_secs(5), "not after an interval");
    for _ in 0..10 {
        assert_eq!(
            users.pick(&Wanted::default()).expect("a server").server().id(),
            users.servers()[0].id()
        );
    }
    until("the silent one fails", || state(&users, 1) == State::Unhealthy).await;
    let last = users.servers()[1].status().check.and_then(|check| check.last).expect("a result");
    assert_eq!(last.error.as_deref(), Some("no result within 300ms"));
}

#[tokio::test]
async fn a_server_falls_and_rises() {
    let origin = Origin::start(204).await;
    let registry = Registry::new();
    let users = build(&registry, &checked(&[&origin], 20));
    registry.commit(std::slice::from_ref(&users), &Handle::current());
    until("it passes", || state(&users, 0) == State::Healthy).await;
    origin.answer(503);
    until("it fails", || state(&users, 0) == State::Unhealthy).await;
    assert_eq!(users.pick(&Wanted::default()).expect_err("nobody"), NoServer::NoneHealthy);
    let asked = origin.asked();
    origin.answer(200);
    until("it passes again", || state(&users, 0) == State::Healthy).await;
    assert!(origin.asked() - asked >= 2, "it takes two passes");
    assert!(users.pick(&Wanted::default()).is_ok());
}

#[tokio::test]
async fn upstreams_that_share_a_server_share_its_check() {
    let origin = Origin::start(200).await;
    let registry = Registry::new();
    let live: Vec<_> = (0..10)
        .map(|n| {
            let mut config = checked(&[&origin], 60_000);
            config.name = format!("users-{n}").into();
            build(&registry, &config)
        })
        .collect();
    registry.commit(&live, &Handle::current());
    assert_eq!(registry.checks(), 1);
    until("all of them know", || {
        live.iter().all(|upstream| state(upstream, 0) == State::Healthy)
    })
    .await;
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn five_hundred_reloads_start_no_task_and_ask_nobody_again() {
    let origins = [Origin::start(200).await, Origin::start(503).await];
    let registry = Registry::new();
    let config = checked(&[&origins[0], &origins[1]], 60_000);
    let mut users = build(&registry, &config);
    registry.commit(std::slice::from_ref(&users), &Handle::current());
    until("both are checked", || {
        state(&users, 0) == State::Healthy && state(&users, 1) == State::Unhealthy
    })
    .await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    for _ in 0..500 {
        users = build(&registry, &config);
        registry.commit(std::slice::from_ref(&users), &Handle::current());
        assert_eq!([state(&users, 0), state(&users, 1)], [State::Healthy, State::Unhealthy]);
        tokio::task::yield_now().await;
    }
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
    assert_eq!([registry.checks() as u64, origins[0].asked(), origins[1].asked()], [2, 1, 1]);
}

#[tokio::test]
async fn a_build_that_is_dropped_leaves_no_trace() {
    let origin = Origin::start(200).await;
    let registry = Registry::new();
    let users = build(&registry, &config(servers(&[1])));
    registry.commit(std::slice::from_ref(&users), &Handle::current());
    drop(build(&registry, &checked(&[&origin], 20)));
    registry.commit(std::slice::from_ref(&users), &Handle::current());
    assert_eq!((registry.checks(), origin.asked()), (0, 0));
}

#[tokio::test]
async fn a_check_that_nobody_uses_stops_and_starts_afresh_when_somebody_does() {
    let origin = Origin::start(200).await;
    let registry = Registry::new();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let users = build(&registry, &checked(&[&origin], 60_000));
    registry.commit(std::slice::from_ref(&users), &Handle::current());
    until("it passes", || state(&users, 0) == State::Healthy).await;
    registry.commit(&[], &Handle::current());
    until("the task ends", || tasks() == before).await;
    assert_eq!(registry.checks(), 0);
    // `users` is still held, as by a request of an old configuration.
    origin.answer(503);
    let again = build(&registry, &checked(&[&origin], 60_000));
    registry.commit(std::slice::from_ref(&again), &Handle::current());
    assert_eq!(state(&again, 0), State::Unchecked);
    until("it fails", || state(&again, 0) == State::Unhealthy).await;
    drop(registry);
    until("the task ends", || tasks() == before).await;
}

#[tokio::test]
async fn tcp_checks_and_other_ports_work_too() {
    let origin = Origin::start(200).await;
    let address = origin.server.address.clone();
    let lb_config::Address::Ip(address) = address else {
        panic!("not an IP address")
    };
    let mut config = config(vec![server("127.0.0.1:9", 1)]);
    let mut check = health_check(60_000);
    check.port = Some(address.port());
    config.health_check = Some(check);
    let registry = Registry::new();
    let users = build(&registry, &config);
    registry.commit(std::slice::from_ref(&users), &Handle::current());
    until("it passes", || state(&users, 0) == State::Healthy).await;
    assert_eq!(users.servers()[0].check().expect("a check").report().passes, 1);
}
