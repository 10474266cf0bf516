//! Servers that start at once on an empty database.

use futures::future::join_all;

use crate::common::{Database, Kind, Process, run};

const ROUNDS: usize = 20;

async fn three_migrate_at_once(kind: Kind) {
    for round in 0..ROUNDS {
        let database = Database::new(kind).await;
        let environment = [("DATABASE_URL", database.url.as_str())];
        for output in join_all((0..3).map(|_| run(&["migrate"], &environment))).await {
            assert!(
                output.status.success(),
                "round {round}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let applied = database.number("SELECT count(*) FROM _sqlx_migrations").await;
        let newest = database.number("SELECT max(version) FROM _sqlx_migrations").await;
        assert_eq!(applied, newest, "round {round}: each was applied once");
    }
}

async fn three_serve_at_once(kind: Kind) {
    for round in 0..ROUNDS {
        let database = Database::new(kind).await;
        let mut servers = join_all((0..3).map(|_| Process::start(&database.url, &[]))).await;
        for (n, server) in servers.iter().enumerate() {
            server.until_ready().await;
            let body = serde_json::json!({"name": "n", "email": format!("{n}@example.com")});
            let answer = server.ask("POST", "/users").json(&body).await;
            assert_eq!(answer.status, 201, "round {round}: {}", answer.text());
        }
        for server in &mut servers {
            assert_eq!(server.get("/users").await.json()["total"], 3, "round {round}: they share it");
            server.signal("TERM");
        }
        for server in &mut servers {
            assert_eq!(server.end().await, Some(0), "round {round}");
        }
    }
}

mod sqlite {
    use crate::common::Kind;

    #[tokio::test]
    async fn three_migrate_at_once() {
        super::three_migrate_at_once(Kind::Sqlite).await;
    }

    #[tokio::test]
    async fn three_serve_at_once() {
        super::three_serve_at_once(Kind::Sqlite).await;
    }
}

mod postgres {
    use crate::common::{Database, Kind, run};

    /// As many as there are, by the rows that say how many.
    const WRONG: &str = "SELECT (SELECT sum(number)::bigint FROM user_counts) - (SELECT count(*) FROM users)";

    async fn migrate(database: &Database) {
        let output = run(&["migrate"], &[("DATABASE_URL", database.url.as_str())]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[tokio::test]
    async fn users_that_were_there_before_they_were_counted_are_counted() {
        let database = Database::new(Kind::Postgres).await;
        migrate(&database).await;
        database
            .execute(
                "DROP TABLE user_counts; DROP FUNCTION count_users CASCADE; DELETE FROM _sqlx_migrations WHERE version = 6; \
                 INSERT INTO users (name, email) SELECT 'n', n || '@example.com' FROM generate_series(1, 100) n",
            )
            .await;
        migrate(&database).await;
        assert_eq!(database.number("SELECT sum(number)::bigint FROM user_counts").await, 100);
    }

    #[tokio::test]
    async fn however_users_come_and_go_it_is_known_how_many_there_are() {
        let database = Database::new(Kind::Postgres).await;
        migrate(&database).await;
        for (sql, expected) in [
            (
                "INSERT INTO users (name, email) SELECT 'n', n || '@example.com' FROM generate_series(1, 1000) n",
                1000,
            ),
            ("DELETE FROM users WHERE id <= 100", 900),
            ("DELETE FROM users WHERE id <= 100", 900),
            (
                "INSERT INTO users (name, email) VALUES ('n', '1000@example.com'), ('n', 'new@example.com') ON CONFLICT DO NOTHING",
                901,
            ),
            (
                "INSERT INTO users (name, email) VALUES ('n', '1000@example.com') ON CONFLICT (lower(email COLLATE \"C\")) DO UPDATE SET name = 'm'",
                901,
            ),
            ("UPDATE users SET name = 'm'", 901),
            ("BEGIN; DELETE FROM users; ROLLBACK", 901),
            (
                "WITH gone AS (DELETE FROM users WHERE id <= 200 RETURNING id), come AS (INSERT INTO users (name, email) VALUES ('n', 'a@example.com')) \
                 SELECT * FROM gone",
                802,
            ),
            ("BEGIN; TRUNCATE users CASCADE; ROLLBACK", 802),
            ("TRUNCATE users CASCADE", 0),
            ("INSERT INTO users (name, email) VALUES ('n', 'b@example.com')", 1),
        ] {
            database.execute(sql).await;
            assert_eq!(database.number("SELECT count(*) FROM users").await, expected, "{sql}");
            assert_eq!(database.number(WRONG).await, 0, "{sql}");
        }
    }

    #[tokio::test]
    async fn three_migrate_at_once() {
        super::three_migrate_at_once(Kind::Postgres).await;
    }

    #[tokio::test]
    async fn three_serve_at_once() {
        super::three_serve_at_once(Kind::Postgres).await;
    }
}
