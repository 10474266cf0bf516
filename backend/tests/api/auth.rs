//! Registering, logging in, refreshing, logging out: at two servers, which must not make a difference.

use argon2::password_hash::PasswordHasher;
use argon2::{Argon2, Params};
use backend::settings::Who;
use futures::future::join_all;
use serde_json::json;

use crate::common::{Answer, Ask, Guarded, Home, PASSWORD, Tokens, at_every_home, problem};

at_every_home!(backend::settings::Who::Writers =>
    a_session_made_at_one_server_works_at_the_other,
    an_old_refresh_token_ends_its_session_and_no_other,
    of_many_refreshes_at_once_at_most_one_succeeds,
    a_session_ends_with_its_user,
    a_new_password_ends_the_sessions_of_the_old_one,
    a_logout_ends_the_session,
    a_hash_with_old_parameters_is_renewed_at_login,
    what_is_missing_or_wrong_is_named,
    whoever_has_no_password_cannot_log_in,
    no_answer_tells_which_part_was_wrong,
);

/// 401, and how to log in.
pub fn unauthorized(answer: &Answer) {
    problem(answer, 401);
    assert!(
        answer.header("www-authenticate").starts_with("Bearer realm=\"users\""),
        "{:?}",
        answer.headers
    );
}

async fn a_session_made_at_one_server_works_at_the_other(servers: Guarded) {
    let body = json!({"name": "Ada", "email": servers.email("Ada"), "password": PASSWORD});
    let registered = servers.auth(servers.first, "register", &body).await;
    assert_eq!(registered.status, 201, "{}", registered.text());
    let mut myself = registered.json();
    assert_eq!((&myself["name"], &myself["role"]), (&json!("Ada"), &json!("user")));
    assert_eq!(
        myself.as_object().expect("an object").len(),
        4,
        "no hash, and nothing else: {myself}"
    );
    assert_eq!(registered.header("location"), format!("/users/{}", myself["id"]));
    assert_eq!(
        (registered.header("cache-purge"), registered.header("cache-control")),
        ("users", "no-store")
    );
    problem(&servers.auth(servers.second, "register", &body).await, 409);

    // Without regard to case, as e-mail addresses are compared everywhere.
    let login = servers.login(servers.second, "ADA", PASSWORD).await;
    let tokens = Tokens::of(&login);
    assert_eq!(
        (login.json()["expires_in"].as_u64(), login.header("cache-control")),
        (Some(900), "no-store")
    );
    assert_eq!(login.json().as_object().expect("an object").len(), 3);
    let me = Ask::new(servers.first, "GET", "/auth/me").token(&tokens.access).await;
    assert_eq!((me.status, me.header("cache-control")), (200, "no-store"));
    assert_eq!(me.json(), myself);
    assert_eq!(me.header("etag"), registered.header("etag"));

    let next = Tokens::of(&servers.refresh(servers.first, &tokens.refresh).await);
    let me = Ask::new(servers.second, "GET", "/auth/me").token(&next.access).await;
    assert_eq!(me.json(), myself);
    Tokens::of(&servers.refresh(servers.second, &next.refresh).await);
    myself.as_object_mut().expect("an object").remove("role");
    assert_eq!(Ask::new(servers.first, "GET", registered.header("location")).await.json(), myself);
}

async fn an_old_refresh_token_ends_its_session_and_no_other(servers: Guarded) {
    servers.register("ada").await;
    let (stolen, other) = (servers.tokens("ada").await, servers.tokens("ada").await);
    let next = Tokens::of(&servers.refresh(servers.first, &stolen.refresh).await);
    unauthorized(&servers.refresh(servers.second, &stolen.refresh).await);
    unauthorized(&servers.refresh(servers.first, &next.refresh).await);
    Tokens::of(&servers.refresh(servers.second, &other.refresh).await);
}

async fn of_many_refreshes_at_once_at_most_one_succeeds(servers: Guarded) {
    servers.register("ada").await;
    let tokens = servers.tokens("ada").await;
    let asks = (0..20).map(|n| {
        let server = if n % 2 == 0 { servers.first } else { servers.second };
        servers.refresh(server, &tokens.refresh).into_future()
    });
    let answers = join_all(asks).await;
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(winners.len() <= 1, "{} succeeded", winners.len());
    answers.iter().filter(|answer| answer.status != 200).for_each(unauthorized);
    // One of them was not the first to come.
    for winner in winners {
        unauthorized(&servers.refresh(servers.first, &Tokens::of(winner).refresh).await);
    }
}

async fn a_session_ends_with_its_user(servers: Guarded) {
    let path = format!("/users/{}", servers.register("ada").await);
    let tokens = servers.tokens("ada").await;
    let gone = Ask::new(servers.second, "DELETE", &path).token(&tokens.access).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    unauthorized(&servers.refresh(servers.first, &tokens.refresh).await);
    unauthorized(&Ask::new(servers.first, "GET", "/auth/me").token(&tokens.access).await);
    unauthorized(&servers.login(servers.first, "ada", PASSWORD).await);
    // Somebody else with the same address is somebody else.
    servers.register("ada").await;
    unauthorized(&servers.refresh(servers.first, &tokens.refresh).await);
    problem(&Ask::new(servers.second, "DELETE", &path).token(&tokens.access).await, 404);
}

async fn a_new_password_ends_the_sessions_of_the_old_one(servers: Guarded) {
    let id = servers.register("admin").await;
    let old = servers.tokens("admin").await;
    let new = servers.admin().await;
    unauthorized(&servers.refresh(servers.first, &old.refresh).await);
    Tokens::of(&servers.refresh(servers.first, &new.refresh).await);
    let me = Ask::new(servers.second, "GET", "/auth/me").token(&new.access).await.json();
    assert_eq!((&me["id"], &me["role"]), (&json!(id), &json!("admin")));
}

async fn a_logout_ends_the_session(servers: Guarded) {
    servers.register("ada").await;
    let (tokens, other) = (servers.tokens("ada").await, servers.tokens("ada").await);
    for token in [tokens.refresh.as_str(), tokens.refresh.as_str(), "x", ""] {
        let answer = servers.auth(servers.second, "logout", &json!({ "refresh_token": token })).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.text());
    }
    unauthorized(&servers.refresh(servers.first, &tokens.refresh).await);
    Tokens::of(&servers.refresh(servers.first, &other.refresh).await);
}

async fn a_hash_with_old_parameters_is_renewed_at_login(servers: Guarded) {
    let weak = Argon2::from(Params::new(64, 1, 1, None).expect("valid"));
    let weak = weak.hash_password(PASSWORD.as_bytes()).expect("a hash").to_string();
    servers.admin_with("ada", &weak).await;
    let renewed = "SELECT count(*) FROM users WHERE password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'";
    unauthorized(&servers.login(servers.first, "ada", "wrong horse").await);
    assert_eq!(servers.database.number(renewed).await, 0, "not before the password is known");
    let before = servers.tokens("ada").await;
    assert_eq!(servers.database.number(renewed).await, 1);
    Tokens::of(&servers.login(servers.second, "ada", PASSWORD).await);
    Tokens::of(&servers.refresh(servers.first, &before.refresh).await);
}

async fn what_is_missing_or_wrong_is_named(servers: Guarded) {
    let cases = [
        ("register", json!({}), vec!["email", "name", "password"]),
        (
            "register",
            json!({"name": "", "email": "x", "password": "short", "role": "admin"}),
            vec!["email", "name", "password", "role"],
        ),
        ("login", json!({}), vec!["email", "password"]),
        (
            "login",
            json!({"email": 1, "password": null, "name": "x"}),
            vec!["email", "name", "password"],
        ),
        ("refresh", json!({}), vec!["refresh_token"]),
        ("logout", json!({"refresh_token": 1, "x": 2}), vec!["refresh_token", "x"]),
    ];
    for (call, body, wrong) in cases {
        let mut fields = servers.auth(servers.first, call, &body).await.wrong_fields();
        fields.sort();
        assert_eq!(fields, wrong, "{call} {body}");
    }
    for token in ["", "x", "x.y", &"a".repeat(10_000)] {
        unauthorized(&servers.refresh(servers.first, token).await);
    }
    problem(&Ask::new(servers.first, "GET", "/auth/login").await, 405);
}

async fn whoever_has_no_password_cannot_log_in(servers: Guarded) {
    let admin = servers.admin().await;
    let add = |body: serde_json::Value| Ask::new(servers.first, "POST", "/users").token(&admin.access).json(&body);
    let email = servers.email("bob");
    assert_eq!(add(json!({"name": "Bob", "email": email})).await.status, 201);
    for password in ["", PASSWORD] {
        unauthorized(&servers.login(servers.first, "bob", password).await);
    }
    let with = add(json!({"name": "Eve", "email": servers.email("eve"), "password": PASSWORD})).await;
    assert_eq!(with.status, 201, "{}", with.text());
    Tokens::of(&servers.login(servers.second, "eve", PASSWORD).await);
}

async fn no_answer_tells_which_part_was_wrong(servers: Guarded) {
    servers.register("ada").await;
    let mut texts = Vec::new();
    for (email, password) in [
        (servers.email("ada"), "wrong horse"),
        (servers.email("nobody"), PASSWORD),
        ("no address".into(), PASSWORD),
        ("nul\0@example.com".into(), PASSWORD),
    ] {
        let answer = servers
            .auth(servers.first, "login", &json!({"email": email, "password": password}))
            .await;
        unauthorized(&answer);
        let mut json = answer.json();
        json.as_object_mut().expect("an object").remove("request_id");
        texts.push(json.to_string());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn what_is_over_is_swept_away() {
    for home in [Home::Sqlite, Home::Postgres] {
        let servers = Guarded::start(home, Who::Writers).await;
        servers.register("ada").await;
        let old = servers.tokens("ada").await;
        unauthorized(&servers.login(servers.first, "ada", "wrong horse").await);
        servers.database.execute("UPDATE sessions SET ends_at = 1").await;
        servers
            .database
            .execute("UPDATE login_failures SET ends_at = 1, failures = 1000")
            .await;
        unauthorized(&servers.refresh(servers.first, &old.refresh).await);
        // A window that is over counts no more, and a new failure begins another.
        unauthorized(&servers.login(servers.first, "ada", "wrong horse").await);
        let new = servers.tokens("ada").await;
        servers.store.sweep().await.expect("it answers");
        assert_eq!(servers.database.number("SELECT count(*) FROM sessions").await, 1);
        Tokens::of(&servers.refresh(servers.first, &new.refresh).await);
    }
}
