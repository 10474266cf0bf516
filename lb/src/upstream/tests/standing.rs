//! Who may be used, by the results of checks. The checks themselves do not run here: their results are noted by hand.

use std::time::{Duration, Instant};

use super::super::fixture::{after, build, config, health_check, leases, number, server, servers, spread, upstream};
use super::super::{NoServer, Registry, State, Upstream, Wanted};

fn checked(weights: &[u32]) -> lb_config::Upstream {
    let mut config = config(servers(weights));
    config.health_check = Some(health_check(5_000));
    config
}

fn note(upstream: &Upstream, server: usize, passed: bool) {
    let check = upstream.servers()[server].check().expect("a check");
    check.note(check.begin(), (!passed).then(|| "refused".into()), Duration::ZERO, 1, 1);
}

fn states(upstream: &Upstream) -> Vec<State> {
    upstream.servers().iter().map(|server| server.state()).collect()
}

#[test]
fn without_checks_every_server_is_healthy() {
    assert_eq!(states(&upstream(&config(servers(&[1, 1])))), [State::Healthy; 2]);
}

#[test]
fn c06_the_unchecked_get_traffic_only_while_none_has_passed() {
    let users = upstream(&checked(&[1, 1, 1]));
    assert_eq!(states(&users), [State::Unchecked; 3]);
    assert_eq!(spread(&users, &leases(&users, 6)), [2, 2, 2]);
    note(&users, 1, false);
    assert_eq!(spread(&users, &leases(&users, 6)), [3, 0, 3]);
    note(&users, 0, true);
    assert_eq!(states(&users), [State::Healthy, State::Unhealthy, State::Unchecked]);
    assert_eq!(spread(&users, &leases(&users, 6)), [6, 0, 0]);
    assert!(users.has_server());
}

#[test]
fn c06_when_all_have_failed_nobody_is_asked() {
    let users = upstream(&checked(&[1, 1]));
    note(&users, 0, false);
    note(&users, 1, false);
    assert_eq!(users.pick(&Wanted::default()).expect_err("nobody"), NoServer::NoneHealthy);
    assert_eq!(
        users.pick(&after(&[users.servers()[0].id()])).expect_err("nobody"),
        NoServer::NoneHealthy
    );
    assert!(!users.has_server());
    note(&users, 1, true);
    assert_eq!(spread(&users, &leases(&users, 2)), [0, 2]);
}

#[test]
fn a_drained_server_that_passes_is_no_reason_to_leave_out_the_unchecked() {
    let users = upstream(&checked(&[0, 1]));
    note(&users, 0, true);
    assert_eq!(spread(&users, &leases(&users, 2)), [0, 2]);
}

#[test]
fn backups_are_used_only_while_nobody_else_can_be() {
    let mut config = checked(&[1, 1, 1]);
    config.servers[2].backup = true;
    config.servers[0].max_connections = Some(number(1));
    config.servers[1].max_connections = Some(number(1));
    let users = upstream(&config);
    (0..3).for_each(|n| note(&users, n, true));
    let held = leases(&users, 2);
    assert_eq!(users.pick(&Wanted::default()).expect_err("no overflow"), NoServer::AllFull);
    note(&users, 0, false);
    assert_eq!(users.pick(&Wanted::default()).expect_err("no overflow"), NoServer::AllFull);
    note(&users, 1, false);
    assert_eq!(spread(&users, &leases(&users, 4)), [0, 0, 4]);
    note(&users, 1, true);
    drop(held);
    assert_eq!(spread(&users, &leases(&users, 1)), [0, 1, 0]);
    let tried = [users.servers()[1].id()];
    assert_eq!(
        users.pick(&after(&tried)).expect("the backup").server().id(),
        users.servers()[2].id()
    );
}

#[test]
fn a_backup_that_passes_comes_before_a_server_that_nobody_has_checked() {
    let mut config = checked(&[1, 1]);
    config.servers[1].backup = true;
    let users = upstream(&config);
    assert_eq!(spread(&users, &leases(&users, 2)), [2, 0]);
    note(&users, 1, true);
    assert_eq!(spread(&users, &leases(&users, 2)), [0, 2]);
    note(&users, 0, true);
    assert_eq!(spread(&users, &leases(&users, 2)), [2, 0]);
}

#[test]
fn an_ejection_is_never_what_leaves_nobody() {
    let users = upstream(&checked(&[1, 1]));
    let now = Instant::now();
    note(&users, 0, true);
    note(&users, 1, true);
    (0..5).for_each(|_| users.servers()[0].failed_at(now));
    assert_eq!(states(&users), [State::Ejected, State::Healthy]);
    assert_eq!(spread(&users, &leases(&users, 2)), [0, 2]);
    note(&users, 1, false);
    assert_eq!(
        spread(&users, &leases(&users, 2)),
        [2, 0],
        "it passes its checks, and there is nobody else"
    );
    note(&users, 0, false);
    assert_eq!(users.pick(&Wanted::default()).expect_err("nobody"), NoServer::NoneHealthy);
    assert_eq!(states(&users), [State::Unhealthy; 2]);
}

#[test]
fn the_only_server_that_passes_is_not_ejected_for_one_that_does_not() {
    for other in [None, Some(false)] {
        let users = upstream(&checked(&[1, 1]));
        note(&users, 0, true);
        if let Some(passed) = other {
            note(&users, 1, passed);
        }
        (0..10).for_each(|_| users.servers()[0].failed_at(Instant::now()));
        assert_eq!(users.servers()[0].state(), State::Healthy);
    }
}

#[test]
fn a_reload_keeps_what_checks_have_found() {
    let registry = Registry::new();
    let before = build(&registry, &checked(&[1, 1]));
    note(&before, 0, true);
    note(&before, 1, false);
    let after = build(&registry, &checked(&[1, 1, 1]));
    drop(before);
    assert_eq!(states(&after), [State::Healthy, State::Unhealthy, State::Unchecked]);
    assert_eq!(spread(&after, &leases(&after, 3)), [3, 0, 0]);
}

#[test]
fn upstreams_share_what_is_asked_in_the_same_way() {
    let registry = Registry::new();
    let mut other = checked(&[1, 1]);
    other.name = "other".into();
    let (users, other) = (build(&registry, &checked(&[1, 1])), build(&registry, &other));
    note(&users, 0, false);
    assert_eq!(states(&other), [State::Unhealthy, State::Unchecked]);
    let mut third = checked(&[1, 1]);
    third.name = "third".into();
    third.health_check = Some(health_check(1_000));
    assert_eq!(states(&build(&registry, &third)), [State::Unchecked; 2]);
}

#[test]
fn the_status_has_all_that_is_shown() {
    let mut config = checked(&[2]);
    config.servers = vec![server("[::1]:3001", 2)];
    let users = upstream(&config);
    let _held = leases(&users, 2);
    note(&users, 0, false);
    let status = users.servers()[0].status();
    assert_eq!(
        (&**users.servers()[0].name(), status.state.as_str(), status.in_flight),
        ("[::1]:3001", "unhealthy", 2)
    );
    let check = status.check.expect("a report");
    assert_eq!((check.passes, check.failures), (0, 1));
    assert_eq!(check.last.expect("a last one").error.as_deref(), Some("refused"));
}
