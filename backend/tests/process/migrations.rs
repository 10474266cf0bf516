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
    use crate::common::Kind;

    #[tokio::test]
    async fn three_migrate_at_once() {
        super::three_migrate_at_once(Kind::Postgres).await;
    }

    #[tokio::test]
    async fn three_serve_at_once() {
        super::three_serve_at_once(Kind::Postgres).await;
    }
}
