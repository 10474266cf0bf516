//! Clients that stay with a server.

use std::time::Instant;

use lb_config::{Balance, HashOn};

use super::super::fixture::{config, health_check, number, servers, upstream};
use super::super::{ServerId, Upstream, Wanted};

fn id(upstream: &Upstream, server: usize) -> ServerId {
    upstream.servers()[server].id()
}

/// Which server a client gets that has stayed with `server`, and whose request has tried `tried`.
fn next(upstream: &Upstream, server: usize, tried: &[ServerId]) -> usize {
    let wanted = Wanted {
        sticky: Some(id(upstream, server)),
        tried,
        ..Wanted::default()
    };
    let lease = upstream.pick(&wanted).expect("a server");
    upstream.position(lease.server())
}

fn note(upstream: &Upstream, server: usize, passed: bool) {
    let check = upstream.servers()[server].check().expect("a check");
    check.note(check.begin(), (!passed).then(|| "refused".into()), std::time::Duration::ZERO, 1, 1);
}

#[test]
fn its_server_is_used_whatever_the_algorithm_says() {
    for balance in [
        Balance::LeastConn,
        Balance::RoundRobin,
        Balance::Random,
        Balance::Hash(HashOn::Path),
    ] {
        let mut config = config(servers(&[1, 1, 1]));
        config.balance = balance;
        let users = upstream(&config);
        let held: Vec<_> = (0..20)
            .map(|_| {
                let sticky = Some(id(&users, 1));
                users
                    .pick(&Wanted {
                        sticky,
                        ..Wanted::default()
                    })
                    .expect("its server")
            })
            .collect();
        assert_eq!(users.servers()[1].in_flight(), 20);
        drop(held);
    }
}

#[test]
fn weight_0_and_backups_keep_their_clients_and_get_no_new_ones() {
    let mut config = config(servers(&[1, 0, 1]));
    config.servers[2].backup = true;
    let users = upstream(&config);
    assert_eq!([next(&users, 1, &[]), next(&users, 2, &[])], [1, 2]);
    for _ in 0..20 {
        let lease = users.pick(&Wanted::default()).expect("a server");
        assert_eq!(users.position(lease.server()), 0);
    }
}

#[test]
fn a_server_that_is_full_or_was_tried_is_not_kept_to() {
    let mut config = config(servers(&[1, 1, 0]));
    config.servers[1].max_connections = Some(number(1));
    let users = upstream(&config);
    assert_eq!(next(&users, 1, &[id(&users, 1)]), 0);
    let wanted = Wanted {
        sticky: Some(id(&users, 1)),
        ..Wanted::default()
    };
    let held = users.pick(&wanted).expect("its server");
    assert_eq!(next(&users, 1, &[]), 0);
    drop(held);
    assert_eq!(next(&users, 1, &[]), 1);
}

#[test]
fn a_server_that_is_down_or_ejected_is_not_kept_to() {
    let mut config = config(servers(&[1, 1, 0]));
    config.health_check = Some(health_check(5_000));
    let users = upstream(&config);
    (0..3).for_each(|n| note(&users, n, true));
    assert_eq!([next(&users, 0, &[]), next(&users, 1, &[]), next(&users, 2, &[])], [0, 1, 2]);
    note(&users, 0, false);
    note(&users, 2, false);
    assert_eq!([next(&users, 0, &[]), next(&users, 2, &[])], [1, 1]);
    note(&users, 0, true);
    (0..5).for_each(|_| users.servers()[0].failed_at(Instant::now()));
    assert_eq!(next(&users, 0, &[]), 1, "it is ejected");
}
