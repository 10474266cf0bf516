//! Logging in at real servers: which die, or whose Redis does.

use serde_json::json;

use crate::common::{Ask, Database, Kind, Process, SECRET, redis_url, run, run_with_input, until};

const MINE: [(&str, &str); 2] = [("AUTH", "writes"), ("JWT_SECRET", SECRET)];

async fn create_admin(url: &str, email: &str, password: &str) -> (Option<i32>, String, String) {
    let input = format!("{password}\n");
    let output = run_with_input(&["create-admin", "--email", email], &[("DATABASE_URL", url)], input.as_bytes()).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn post(server: &Process, call: &str, body: &serde_json::Value) -> Ask {
    server.ask("POST", &format!("/auth/{call}")).json(body)
}

/// An e-mail address that no other test has, in the Redis that they share.
fn email() -> String {
    format!("root@{}.example", uuid::Uuid::now_v7().simple())
}

#[tokio::test]
async fn a_session_outlives_the_server_where_it_began() {
    let redis = redis_url();
    for (kind, redis) in [(Kind::Sqlite, ""), (Kind::Postgres, ""), (Kind::Postgres, &redis)] {
        let (database, email) = (Database::new(kind).await, email());
        let (code, told, _) = create_admin(&database.url, &email, "correct horse").await;
        assert_eq!((code, told), (Some(0), format!("{email} is an administrator (user 1)\n")));
        let environment = [MINE[0], MINE[1], ("REDIS_URL", redis)];
        let mut first = Process::start(&database.url, &environment).await;
        let second = Process::start(&database.url, &environment).await;
        first.until_ready().await;
        second.until_ready().await;
        let login = post(&first, "login", &json!({"email": email, "password": "correct horse"})).await;
        assert_eq!(login.status, 200, "{}", login.text());
        first.signal("KILL");
        first.end().await;
        let token = login.json()["access_token"].as_str().expect("text").to_owned();
        let added = second
            .ask("POST", "/users")
            .token(&token)
            .json(&json!({"name": "Ada", "email": "ada@example.com"}));
        assert_eq!(added.await.status, 201);
        let refresh = post(&second, "refresh", &json!({"refresh_token": login.json()["refresh_token"]})).await;
        assert_eq!(refresh.status, 200, "{}", refresh.text());
    }
}

#[tokio::test]
async fn without_its_redis_it_reads_on_and_logs_nobody_in() {
    let (database, email) = (Database::new(Kind::Postgres).await, email());
    create_admin(&database.url, &email, "correct horse").await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let addr = socket.local_addr().expect("it is bound");
    let url = format!("redis://{addr}");
    let server = Process::start(&database.url, &[MINE[0], MINE[1], ("REDIS_URL", &url)]).await;
    server.until_ready().await;
    let login = || post(&server, "login", &json!({"email": email, "password": "correct horse"}));
    let answer = login().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert!(!answer.text().to_lowercase().contains("redis"), "{}", answer.text());
    assert_eq!(server.get("/users").await.status, 200);
    // It comes back by itself with its Redis: this port now leads to the real one.
    let redis = redis_url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let listener = socket.listen(16).expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::TcpStream::connect(&redis).await.expect("the real server listens");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    until("a login to succeed", async || login().await.status == 200).await;
}

#[tokio::test]
async fn create_admin_promotes_whom_it_finds() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::new(kind).await;
        let server = Process::start(&database.url, &MINE).await;
        server.until_ready().await;
        let body = json!({"name": "Ada", "email": "Ada@example.com", "password": "her own word"});
        assert_eq!(post(&server, "register", &body).await.status, 201);
        let login = async |password: &str| {
            post(&server, "login", &json!({"email": "ada@example.com", "password": password}))
                .await
                .status
        };
        let (code, told, _) = create_admin(&database.url, "ada@example.com", "another word").await;
        assert_eq!((code, told.as_str()), (Some(0), "Ada@example.com is an administrator (user 1)\n"));
        assert_eq!((login("her own word").await, login("another word").await), (401, 200));
    }
}

#[tokio::test]
async fn create_admin_says_what_is_wrong() {
    let database = Database::new(Kind::Sqlite).await;
    let (code, _, text) = create_admin(&database.url, "nobody", "correct horse").await;
    assert_eq!(code, Some(2));
    assert!(
        text.contains("--email: expected an e-mail address") && text.contains("\"nobody\""),
        "{text}"
    );
    for short in ["", "short"] {
        let (code, _, text) = create_admin(&database.url, "ada@example.com", short).await;
        assert_eq!(code, Some(1));
        assert!(text.contains("standard input: expected 8 to 128 characters"), "{text}");
    }
    assert_eq!(run(&["create-admin"], &[]).await.status.code(), Some(2));
}
