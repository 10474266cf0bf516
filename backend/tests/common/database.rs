//! A database for one test: an SQLite file in a folder of its own, or a new database in the PostgreSQL server of `TEST_DATABASE_URL`.

use std::path::PathBuf;
use std::str::FromStr;

use backend::settings::{Database as Where, DatabaseSettings};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tempfile::TempDir;

use super::database_settings;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// An empty database, removed when this is dropped.
pub struct Database {
    pub url: String,
    place: Place,
}

enum Place {
    Sqlite { _folder: TempDir, file: PathBuf },
    Postgres { server: Box<PgConnectOptions>, name: String },
}

impl Database {
    pub async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                // The folder below does not exist yet: to make it is the server's task.
                let file = folder.path().join("data/users.db");
                Self {
                    url: format!("sqlite:{}", file.display()),
                    place: Place::Sqlite { _folder: folder, file },
                }
            }
            Kind::Postgres => {
                let url = server_url();
                let server = Box::new(PgConnectOptions::from_str(&url).expect("TEST_DATABASE_URL is a PostgreSQL URL"));
                let name = format!("test_{}", uuid::Uuid::now_v7().simple());
                on_server(&server, format!("CREATE DATABASE {name}")).await;
                let (before, _) = url.rsplit_once('/').expect("TEST_DATABASE_URL ends with /DATABASE");
                Self {
                    url: format!("{before}/{name}"),
                    place: Place::Postgres { server, name },
                }
            }
        }
    }

    pub fn settings(&self) -> DatabaseSettings {
        database_settings(match &self.place {
            Place::Sqlite { file, .. } => Where::Sqlite(SqliteConnectOptions::new().filename(file)),
            Place::Postgres { server, name } => Where::Postgres(server.clone().database(name)),
        })
    }

    /// Runs SQL on it, behind the server's back.
    pub async fn execute(&self, sql: &'static str) {
        match &self.place {
            Place::Sqlite { file, .. } => {
                let mut connection: SqliteConnection = SqliteConnectOptions::new()
                    .filename(file)
                    .connect()
                    .await
                    .expect("the file can be opened");
                connection.execute(sql).await.expect("the SQL is right");
                connection.close().await.expect("it can be closed");
            }
            Place::Postgres { server, name } => {
                let mut connection: PgConnection = server.clone().database(name).connect().await.expect("the server answers");
                connection.execute(sql).await.expect("the SQL is right");
            }
        }
    }

    /// A connection of the test's own to a PostgreSQL database.
    pub async fn connection(&self) -> PgConnection {
        let Place::Postgres { server, name } = &self.place else {
            panic!("only PostgreSQL has sessions")
        };
        server.clone().database(name).connect().await.expect("the server answers")
    }

    /// One number that SQL gives.
    pub async fn number(&self, sql: &'static str) -> i64 {
        match &self.place {
            Place::Sqlite { file, .. } => {
                let mut connection = SqliteConnectOptions::new()
                    .filename(file)
                    .connect()
                    .await
                    .expect("the file can be opened");
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("the SQL is right")
            }
            Place::Postgres { server, name } => {
                let mut connection = server.clone().database(name).connect().await.expect("the server answers");
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("the SQL is right")
            }
        }
    }

    /// Ends all connections to a PostgreSQL database, and lets new ones in or not.
    pub async fn let_in(&self, allow: bool) {
        let Place::Postgres { server, name } = &self.place else {
            panic!("SQLite has no door")
        };
        on_server(server, format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allow}")).await;
        on_server(
            server,
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        )
        .await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Place::Postgres { server, name } = &self.place {
            let (server, name) = (server.clone(), name.clone());
            // A thread of its own, since this one runs a test, and cannot wait.
            let dropping = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(on_server(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
            });
            let _ = dropping.join();
        }
    }
}

async fn on_server(server: &PgConnectOptions, sql: String) {
    let mut connection = server.connect().await.expect("the server of TEST_DATABASE_URL answers");
    connection.execute(AssertSqlSafe(sql)).await.expect("the role may create databases");
    connection.close().await.expect("it can be closed");
}

/// The address of a PostgreSQL server where the role may create databases.
pub fn server_url() -> String {
    std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| {
        panic!(
            "TEST_DATABASE_URL is not set: these tests need a PostgreSQL server. `make test` provides one, and so does \
            `tests/with-servers.sh cargo test -p backend`"
        )
    })
}
