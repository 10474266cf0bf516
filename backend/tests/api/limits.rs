//! Failed logins, counted by account and by address, at all servers together.

use futures::future::join_all;
use serde_json::json;

use crate::common::{Answer, Guarded, PASSWORD, Tokens, at_every_home, metric, problem, stranger};

at_every_home!(backend::settings::Who::Writers =>
    an_account_bears_ten_failures_wherever_they_come_from,
    guesses_at_once_are_counted_one_by_one,
    an_address_bears_fifty_failures_whomever_they_aim_at,
    who_succeeds_never_waits,
    what_comes_of_logins_and_refreshes_is_counted,
);

/// 429, and when to come back.
fn limited(answer: &Answer) {
    problem(answer, 429);
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=900).contains(&wait), "{wait}");
}

async fn an_account_bears_ten_failures_wherever_they_come_from(mut servers: Guarded) {
    servers.register("ada").await;
    servers.register("bob").await;
    for n in 0..10 {
        servers.from = stranger();
        let server = if n % 2 == 0 { servers.first } else { servers.second };
        problem(&servers.login(server, "ada", "wrong horse").await, 401);
        problem(&servers.login(server, "nobody", "wrong horse").await, 401);
    }
    for server in [servers.first, servers.second] {
        limited(&servers.login(server, "ada", "wrong horse").await);
        limited(&servers.login(server, "ADA", PASSWORD).await);
        limited(&servers.login(server, "nobody", PASSWORD).await);
        Tokens::of(&servers.login(server, "bob", PASSWORD).await);
    }
}

async fn guesses_at_once_are_counted_one_by_one(servers: Guarded) {
    servers.register("ada").await;
    let guess = async |n: usize| {
        let server = if n.is_multiple_of(2) { servers.first } else { servers.second };
        let mut answer = servers.login(server, "ada", &format!("guess {n}")).await;
        // On a busy machine, passwords may be checked too slowly for all of them.
        while answer.status == 503 {
            answer = servers.login(server, "ada", &format!("guess {n}")).await;
        }
        answer
    };
    let asks = (0..40).map(guess);
    let answers = join_all(asks).await;
    let told = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(told, 10, "as many are told that they are wrong, and no more");
    answers.iter().filter(|answer| answer.status != 401).for_each(limited);
}

async fn an_address_bears_fifty_failures_whomever_they_aim_at(mut servers: Guarded) {
    servers.register("ada").await;
    for n in 0..50 {
        problem(&servers.login(servers.first, &format!("nobody{n}"), "wrong horse").await, 401);
    }
    limited(&servers.login(servers.second, "somebody", "wrong horse").await);
    limited(&servers.login(servers.second, "ada", PASSWORD).await);
    let blocked = std::mem::replace(&mut servers.from, stranger());
    Tokens::of(&servers.login(servers.second, "ada", PASSWORD).await);
    // What a client writes itself before the trusted proxy's word counts for nothing.
    let body = json!({"email": servers.email("ada"), "password": PASSWORD});
    servers.from = blocked;
    let spoofed = servers
        .auth(servers.first, "login", &body)
        .header("x-forwarded-for", &format!("{}, {blocked}", stranger()));
    limited(&spoofed.await);
}

async fn who_succeeds_never_waits(servers: Guarded) {
    servers.register("ada").await;
    for _ in 0..3 {
        for _ in 0..9 {
            problem(&servers.login(servers.second, "ada", "wrong horse").await, 401);
        }
        // It forgets the account's failures.
        Tokens::of(&servers.login(servers.first, "ada", PASSWORD).await);
    }
    for _ in 0..20 {
        Tokens::of(&servers.login(servers.first, "ada", PASSWORD).await);
    }
}

async fn what_comes_of_logins_and_refreshes_is_counted(servers: Guarded) {
    servers.register("ada").await;
    let tokens = servers.tokens("ada").await;
    for _ in 0..10 {
        problem(&servers.login(servers.first, "nobody", "wrong horse").await, 401);
    }
    for _ in 0..2 {
        limited(&servers.login(servers.first, "nobody", "wrong horse").await);
    }
    let next = Tokens::of(&servers.refresh(servers.first, &tokens.refresh).await);
    // One that is none, one that was exchanged, and one whose session is over by that.
    for token in ["nonsense", &tokens.refresh, &next.refresh] {
        problem(&servers.refresh(servers.first, token).await, 401);
    }
    for (name, value) in [
        (r#"backend_auth_logins_total{result="ok"}"#, 1),
        (r#"backend_auth_logins_total{result="failed"}"#, 10),
        (r#"backend_auth_logins_total{result="limited"}"#, 2),
        (r#"backend_auth_refreshes_total{result="ok"}"#, 1),
        (r#"backend_auth_refreshes_total{result="refused"}"#, 3),
        ("backend_auth_reuses_total", 1),
    ] {
        assert_eq!(metric(servers.first, name).await, value, "{name}");
    }
    assert_eq!(metric(servers.second, "backend_auth_reuses_total").await, 0, "each for itself");
}
