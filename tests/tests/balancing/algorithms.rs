//! The other algorithms, weights of 0, and backup servers.

use std::collections::HashMap;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::{app, begin, counts, held, one_at_a_time, quick, weighted};

#[tokio::test]
async fn round_robin_goes_round() {
    let origins = quick(3).await;
    let lb = Lb::start(&app(&origins, "balance = \"round_robin\"")).await;
    let mut connection = lb.connect().await;
    for round in 1..=5 {
        for _ in 0..3 {
            connection.send(&Request::get("/")).await.unwrap();
        }
        assert_eq!(counts(&origins), [round; 3]);
    }
}

#[tokio::test]
async fn round_robin_is_weighted_and_smooth() {
    let origins = quick(2).await;
    let lb = Lb::start(&weighted(&origins, &[3, 1], "balance = \"round_robin\"")).await;
    let mut connection = lb.connect().await;
    for round in 1..=10 {
        for _ in 0..4 {
            connection.send(&Request::get("/")).await.unwrap();
        }
        assert_eq!(counts(&origins), [3 * round, round], "every four split 3 : 1");
    }
}

#[tokio::test]
async fn round_robin_does_not_look_at_load() {
    let origins = held(2).await;
    let lb = Lb::start(&app(&origins, "balance = \"round_robin\"")).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(begin(&lb).await);
    }
    until("all are at a server", async || {
        origins.iter().map(Origin::active).sum::<usize>() == 3
    })
    .await;
    let busier = usize::from(counts(&origins)[1] == 2);
    origins[1 - busier].release(2);
    until("one is idle", async || {
        lb.server("app", origins[1 - busier].addr()).await.in_flight == 0
    })
    .await;
    origins.iter().for_each(Origin::release_all);
    one_at_a_time(&lb, 3).await;
    assert_eq!(counts(&origins), [3, 3]);
}

#[tokio::test]
async fn random_reaches_all_by_weight() {
    let origins = quick(3).await;
    let lb = Lb::start(&weighted(&origins, &[1, 1, 2], "balance = \"random\"")).await;
    let mut connection = lb.connect().await;
    for _ in 0..400 {
        connection.send(&Request::get("/")).await.unwrap();
    }
    let counts = counts(&origins);
    // 100, 100, 200 are due; five standard deviations are 43 and 50
    assert!(
        (55..=145).contains(&counts[0]) && (55..=145).contains(&counts[1]) && (148..=252).contains(&counts[2]),
        "{counts:?}"
    );
}

#[tokio::test]
async fn p2c_stays_away_from_a_loaded_server() {
    // with two servers the less loaded of two is always the less loaded one
    let origins = held(2).await;
    let lb = Lb::start(&app(&origins, "balance = \"p2c\"")).await;
    let mut open = Vec::new();
    for count in 1..=8 {
        open.push(begin(&lb).await);
        until("it is at a server", async || {
            origins.iter().map(Origin::active).sum::<usize>() == count
        })
        .await;
    }
    let counts = counts(&origins);
    assert!(counts[0].abs_diff(counts[1]) <= 2, "{counts:?}");
    origins.iter().for_each(Origin::release_all);
}

/// Which origin a request for each of these goes to, asked three times.
async fn homes(lb: &Lb, requests: &[(String, Request)]) -> HashMap<String, String> {
    let mut homes = HashMap::new();
    for _ in 0..3 {
        for (key, request) in requests {
            let answer = lb.send(request).await.text();
            let home = homes.entry(key.clone()).or_insert_with(|| answer.clone());
            assert_eq!(*home, answer, "{key} moved");
        }
    }
    homes
}

async fn named() -> Vec<Origin> {
    vec![Origin::named("a").await, Origin::named("b").await, Origin::named("c").await]
}

#[tokio::test]
async fn hash_sends_the_same_to_the_same_and_moves_little_when_one_leaves() {
    let strays = strays_when_one_leaves("hash").await;
    assert_eq!(strays, 0, "keys of servers that stayed");
}

#[tokio::test]
async fn maglev_sends_the_same_to_the_same_and_moves_little_when_one_leaves() {
    let strays = strays_when_one_leaves("maglev").await;
    assert!(strays <= 10, "{strays} of 60 keys moved between servers that stayed");
}

/// How many of 60 keys go from one server that stays to another when the third leaves.
async fn strays_when_one_leaves(balance: &str) -> usize {
    let origins = named().await;
    let settings = format!("balance = \"{balance}\"\nhash_on = \"header:x-user\"");
    let mut lb = Lb::start(&app(&origins, &settings)).await;
    let requests: Vec<_> = (0..60)
        .map(|user| (user.to_string(), Request::get("/").header("X-User", user.to_string())))
        .collect();
    let before = homes(&lb, &requests).await;
    for name in ["a", "b", "c"] {
        let share = before.values().filter(|home| *home == name).count();
        assert!(share >= 5, "{name} has {share} of 60");
    }
    lb.reload(&app(&origins[..2], &settings)).await;
    let after = homes(&lb, &requests).await;
    before.iter().filter(|(user, home)| *home != "c" && after[*user] != **home).count()
}

#[tokio::test]
async fn hash_can_look_at_path_cookie_and_client() {
    let origins = named().await;
    let hashed = |on: &str| app(&origins, &format!("balance = \"hash\"\nhash_on = \"{on}\""));
    let mut lb = Lb::start(&hashed("path")).await;
    let distinct = |homes: HashMap<String, String>| homes.into_values().collect::<std::collections::HashSet<_>>().len();
    let paths: Vec<_> = (0..30)
        .map(|number| (number.to_string(), Request::get(&format!("/{number}"))))
        .collect();
    assert_eq!(distinct(homes(&lb, &paths).await), 3);
    lb.reload(&hashed("cookie:session")).await;
    let cookies: Vec<_> = (0..30)
        .map(|number| {
            (
                number.to_string(),
                Request::get("/").header("Cookie", format!("x=1; session={number}; y=2")),
            )
        })
        .collect();
    assert_eq!(distinct(homes(&lb, &cookies).await), 3);
    lb.reload(&hashed("client_ip")).await;
    assert_eq!(distinct(homes(&lb, &paths).await), 1, "one client stays with one server");
}

#[tokio::test]
async fn a_weight_of_0_gets_nothing() {
    for balance in ["least_conn", "round_robin", "random", "p2c", "ewma", "hash", "maglev"] {
        let origins = quick(2).await;
        let more = if balance == "hash" || balance == "maglev" {
            "\nhash_on = \"path\""
        } else {
            ""
        };
        let lb = Lb::start(&weighted(&origins, &[1, 0], &format!("balance = \"{balance}\"{more}"))).await;
        for number in 0..20 {
            assert_eq!(lb.get(&format!("/{number}")).await.status, 200);
        }
        assert_eq!(counts(&origins), [20, 0], "{balance}");
    }
}

#[tokio::test]
async fn a_backup_is_used_only_while_nobody_else_is_eligible() {
    let (main, backup) = (Origin::named("main").await, Origin::named("backup").await);
    let lb = Lb::start(&format!(
        r#"
        [upstreams.app]
        servers = ["{}", {{ address = "{}", backup = true }}]
        health_check = {{ type = "http", path = "/check", interval = "100ms", timeout = "2s", rise = 1, fall = 1 }}
        "#,
        main.addr(),
        backup.addr()
    ))
    .await;
    lb.wait_for_state("app", main.addr(), "healthy").await;
    lb.wait_for_state("app", backup.addr(), "healthy").await;
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "main");
    }
    main.set_check(Reply::new(503));
    lb.wait_for_state("app", main.addr(), "unhealthy").await;
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "backup");
    }
    main.set_check(Reply::text("ok"));
    lb.wait_for_state("app", main.addr(), "healthy").await;
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "main");
    }
}
