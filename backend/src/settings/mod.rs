//! Settings: what the user said (`args`), and what the program uses (here).
//!
//! The two are different types, so that nothing behind this module ever meets a wrong or missing value. Constructing [`Settings`]
//! checks everything and touches nothing: no file, no socket, no name look-up.

mod args;
mod trace;
mod value;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tracing::level_filters::LevelFilter;

pub use args::{Cli, Command, CreateAdminArgs, DatabaseArgs, LogArgs, MigrateArgs, ServeArgs};
pub use trace::TraceSettings;

use crate::users::{Email, Name};

/// Settings that a later version will have. Until then, one that is set stops the start: a user who asks for events must not
/// believe to have them.
const UNSUPPORTED: [&str; 2] = ["GRPC_PORT", "EVENTS_URL"];

/// Everything that `backend serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Address or name to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// The database.
    pub database: DatabaseSettings,
    /// Bring the schema up to date at start.
    pub migrate: bool,
    /// What logging in needs, where one can.
    pub auth: Option<AuthSettings>,
    /// Where sessions and the cache are kept; without it, sessions are in the database, and there is no cache.
    pub redis: Option<redis::Client>,
    /// What the HTTP side needs.
    pub http: HttpSettings,
    /// How long requests are still accepted once the process was told to stop.
    pub drain_delay: Duration,
    /// Where traces go, if they go anywhere.
    pub trace: Option<TraceSettings>,
    /// The log.
    pub log: LogSettings,
}

/// Who must log in before the API does what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Nobody.
    Nobody,
    /// Whoever changes something.
    Writers,
    /// Whoever reads, too.
    Everybody,
}

/// What logging in needs.
#[derive(Debug)]
pub struct AuthSettings {
    /// Signs access tokens, at all servers and for `lb`.
    pub secret: Secret,
}

/// Bytes that are nobody's business.
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Which database, and how many connections to it.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Where it is.
    pub database: Database,
    /// Copies of it that reads go to; only of PostgreSQL.
    pub replicas: Vec<PgConnectOptions>,
    /// How connections to it are kept.
    pub pool: PoolSettings,
    /// Whether writes leave notes for a cache: where there is one, at every server.
    pub outbox: bool,
}

/// Where the users are kept.
#[derive(Debug, Clone)]
pub enum Database {
    /// In a file, which the servers of one machine share.
    Sqlite(SqliteConnectOptions),
    /// In a PostgreSQL server.
    Postgres(PgConnectOptions),
}

/// How connections to the database are kept.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Most connections at once; at least 1.
    pub max_connections: u32,
    /// How long to wait for a connection, be it a new one or one in use.
    pub connect_timeout: Duration,
    /// After which time an unused connection is closed.
    pub idle_timeout: Duration,
}

/// What the HTTP side needs to know.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Who must log in.
    pub who: Who,
    /// How long a shared cache may keep a read.
    pub cache_ttl: Duration,
    /// Which pages may call the API.
    pub cors: Cors,
    /// Whose word is taken for where a request came from.
    pub trusted_proxies: Vec<IpNet>,
}

/// Which pages of other origins may call the API from a browser.
#[derive(Debug, Clone)]
pub enum Cors {
    /// None; no CORS header is ever sent.
    Off,
    /// All.
    Any,
    /// Those of these origins.
    Origins(Vec<HeaderValue>),
}

/// What the log looks like.
#[derive(Debug, Clone, Copy)]
pub struct LogSettings {
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
    /// The least important level that is written. Requests are logged at `info`.
    pub level: LevelFilter,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Pretty,
}

/// Every mistake in the settings, one a line.
#[derive(Debug)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

impl Settings {
    /// Checks the arguments of `backend serve`. `environment` finds a variable of the process's environment.
    pub fn serve(args: &ServeArgs, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, Mistakes> {
        let mut check = Check::default();
        for name in UNSUPPORTED {
            // An empty value is how compose files spell "not set".
            if environment(name).is_some_and(|value| !value.is_empty()) {
                check
                    .mistakes
                    .push(format!("{name}: this version does not support it yet, so it must not be set"));
            }
        }
        let host = check.value("HOST", &args.host, value::host);
        let port = check.value("PORT", &args.port, |text| value::number(text, 0, u16::MAX));
        let who = check.value("AUTH", &args.auth, value::auth);
        let auth = check.auth(args, who);
        let redis = check.redis(args);
        let cache_ttl = check.value("CACHE_TTL", &args.cache_ttl, value::duration);
        let cors = check.value("CORS_ORIGINS", &args.cors_origins, value::cors);
        let trusted_proxies = check.value("TRUSTED_PROXIES", &args.trusted_proxies, value::networks);
        let drain_delay = check.value("DRAIN_DELAY", &args.drain_delay, value::duration);
        let log = check.log(&args.log);
        let trace = check.trace(&environment);
        let database = check.database(&args.database);
        if !args.database.database_replica_urls.is_empty() {
            let expected = "beside it: what is kept in Redis with the cache tells how much a replica must know";
            let absent = [
                ("REDIS_URL", args.redis_url.is_empty()),
                ("CACHE_TTL above 0s", cache_ttl.is_some_and(|ttl| ttl.is_zero())),
            ];
            for (name, _) in absent.iter().filter(|(_, absent)| *absent) {
                check.hidden::<()>("DATABASE_REPLICA_URLS", Err(format!("{name} {expected}")));
            }
        }
        let complete = || {
            let (redis, cache_ttl) = (redis?, cache_ttl?);
            let outbox = redis.is_some() && !cache_ttl.is_zero();
            let http = HttpSettings {
                who: who?,
                cache_ttl,
                cors: cors?,
                trusted_proxies: trusted_proxies?,
            };
            Some(Self {
                host: host?,
                port: port?,
                database: DatabaseSettings { outbox, ..database? },
                migrate: !args.no_migrate,
                auth: auth?,
                redis,
                http,
                drain_delay: drain_delay?,
                trace: trace?,
                log: log?,
            })
        };
        check.finish(complete)
    }

    /// Checks the arguments of `backend create-admin`.
    pub fn create_admin(args: &CreateAdminArgs) -> Result<(DatabaseSettings, LogSettings, Name, Email), Mistakes> {
        let mut check = Check::default();
        let email = check.user("--email", &args.email, Email::new);
        // Without a name, what stands before the @: it is never longer than a name may be.
        let name = args.name.as_deref().or_else(|| args.email.split('@').next()).unwrap_or_default();
        let name = email.is_some().then(|| check.user("--name", name, Name::new)).flatten();
        let database = check.database(&args.database);
        let log = check.log(&args.log);
        // Whoever serves the users may have a cache. A note that nobody reads is removed after a while.
        let complete = || {
            let database = DatabaseSettings { outbox: true, ..database? };
            Some((database, log?, name?, email?))
        };
        check.finish(complete)
    }

    /// Checks the arguments of `backend migrate`.
    pub fn migrate(args: &MigrateArgs) -> Result<(DatabaseSettings, LogSettings), Mistakes> {
        let mut check = Check::default();
        let database = check.database(&args.database);
        let log = check.log(&args.log);
        check.finish(|| Some((database?, log?)))
    }
}

/// Collects mistakes, so that the user hears of all of them at once.
#[derive(Default)]
struct Check {
    mistakes: Vec<String>,
}

impl Check {
    fn value<T>(&mut self, name: &str, text: &str, parse: impl FnOnce(&str) -> Result<T, value::Expected>) -> Option<T> {
        parse(text)
            .map_err(|expected| self.mistakes.push(format!("{name}: expected {expected}; found {text:?}")))
            .ok()
    }

    /// For what the API checks as well, and words by itself.
    fn user<T>(&mut self, name: &str, text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parse(text)
            .map_err(|why| self.mistakes.push(format!("{name}: {why}; found {text:?}")))
            .ok()
    }

    fn log(&mut self, args: &LogArgs) -> Option<LogSettings> {
        let format = self.value("LOG_FORMAT", &args.log_format, value::log_format);
        let level = self.value("LOG_LEVEL", &args.log_level, value::log_level);
        Some(LogSettings {
            format: format?,
            level: level?,
        })
    }

    fn database(&mut self, args: &DatabaseArgs) -> Option<DatabaseSettings> {
        let database = self.hidden("DATABASE_URL", value::database(&args.database_url));
        let replicas = self.hidden(
            "DATABASE_REPLICA_URLS",
            value::replicas(&args.database_replica_urls, database.as_ref()),
        );
        let max_connections = self.value("DATABASE_MAX_CONNECTIONS", &args.database_max_connections, |text| {
            value::number(text, 1, 10_000)
        });
        let connect_timeout = self.value("DATABASE_CONNECT_TIMEOUT", &args.database_connect_timeout, value::positive_duration);
        let idle_timeout = self.value("DATABASE_IDLE_TIMEOUT", &args.database_idle_timeout, value::positive_duration);
        let pool = PoolSettings {
            max_connections: max_connections?,
            connect_timeout: connect_timeout?,
            idle_timeout: idle_timeout?,
        };
        Some(DatabaseSettings {
            database: database?,
            replicas: replicas?,
            pool,
            outbox: false,
        })
    }

    /// For values that are not repeated, because they are secrets or may hold one.
    fn hidden<T>(&mut self, name: &str, outcome: Result<T, value::Expected>) -> Option<T> {
        outcome
            .map_err(|expected| self.mistakes.push(format!("{name}: expected {expected}")))
            .ok()
    }

    /// The inner `None`: nobody can log in.
    fn auth(&mut self, args: &ServeArgs, who: Option<Who>) -> Option<Option<AuthSettings>> {
        let needed = matches!(who, Some(Who::Writers | Who::Everybody));
        if args.jwt_secret.is_empty() && !needed {
            return Some(None);
        }
        let secret = self.hidden("JWT_SECRET", value::secret(&args.jwt_secret))?;
        Some(Some(AuthSettings { secret }))
    }

    /// The inner `None`: there is none.
    fn redis(&mut self, args: &ServeArgs) -> Option<Option<redis::Client>> {
        match args.redis_url.as_str() {
            "" => Some(None),
            url => self.hidden("REDIS_URL", value::redis(url)).map(Some),
        }
    }

    /// `complete` gives `None` only when a value was wrong, and then there is a mistake.
    fn finish<T>(self, complete: impl FnOnce() -> Option<T>) -> Result<T, Mistakes> {
        match complete() {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => Err(Mistakes(self.mistakes)),
        }
    }
}

#[cfg(test)]
mod tests;
