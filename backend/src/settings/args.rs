//! What the user may say: the command line, where every option is also an environment variable.
//!
//! Everything is taken as text here. What it means, and whether it may be so, is decided in one place (`Settings::serve`), which
//! can then report all mistakes at once instead of the first.

use clap::{Args, Parser, Subcommand};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BACKEND_REVISION"), ")");

/// The user API behind lb.
#[derive(Debug, Parser)]
#[command(name = "backend", version = VERSION, about, after_help = "Example:\n  AUTH=off PORT=3001 backend serve")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `backend`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the user API
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Bring the database's schema up to date
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://app@db.internal/users backend migrate")]
    Migrate(MigrateArgs),
    /// Make an administrator, the password read from standard input
    #[command(after_help = CREATE_ADMIN_HELP)]
    CreateAdmin(CreateAdminArgs),
}

const SERVE_HELP: &str = "\
Not supported by this version, which refuses to start when one of them is set:
  GRPC_PORT, EVENTS_URL

Everybody who is to log in needs JWT_SECRET, the same at every server. The first administrator comes from `backend create-admin`.

Durations are written with their unit: 250ms, 2s, 5m, 1h.
Traces go where OTEL_EXPORTER_OTLP_ENDPOINT says, and nowhere without it; the other OTEL_ variables mean what they always do.
SIGTERM and SIGINT: /ready answers 503 for DRAIN_DELAY, then what is under way is finished.

Example:
  JWT_SECRET=$(openssl rand -base64 32) DATABASE_URL=postgres://app@db.internal/users backend serve
  AUTH=off PORT=3001 backend serve";

const CREATE_ADMIN_HELP: &str = "\
The password is the first line of standard input, 8 to 128 characters long. A user who has the e-mail address already becomes an
administrator with that password; the user's sessions end.

Example:
  backend create-admin --email ada@example.com < password.txt";

/// Options of `backend serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Port to listen on; 0 takes a free one, which the first line of the log tells
    #[arg(long, env = "PORT", default_value = "3000", hide_env_values = true)]
    pub port: String,
    /// Address to listen on
    #[arg(long, env = "HOST", default_value = "127.0.0.1", hide_env_values = true)]
    pub host: String,
    /// Where the users are kept.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Do not bring the schema up to date at start
    #[arg(long)]
    pub no_migrate: bool,
    /// Who must log in: writes (whoever changes something), all (whoever reads, too) or off
    #[arg(long, env = "AUTH", default_value = "writes", hide_env_values = true)]
    pub auth: String,
    /// Signs access tokens; the same at every server, at least 32 bytes. Needed unless AUTH=off
    #[arg(long, env = "JWT_SECRET", default_value = "", hide_env_values = true)]
    pub jwt_secret: String,
    /// Where sessions, the cache, and the place of the last writes are kept, as redis://HOST:PORT/DB; empty: sessions in the database, and no cache
    #[arg(long, env = "REDIS_URL", default_value = "", hide_env_values = true)]
    pub redis_url: String,
    /// How long a read may be served from a cache, in Redis or at lb; 0s: not at all
    #[arg(long, env = "CACHE_TTL", default_value = "300s", hide_env_values = true)]
    pub cache_ttl: String,
    /// Origins whose pages may call this API, separated by commas, or *; empty: none
    #[arg(long, env = "CORS_ORIGINS", default_value = "", hide_env_values = true)]
    pub cors_origins: String,
    /// Whose X-Forwarded-For, X-Real-IP and X-Request-ID are believed: addresses and networks, separated by commas
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "127.0.0.0/8", hide_env_values = true)]
    pub trusted_proxies: String,
    /// How long requests are still accepted after SIGTERM, while /ready answers 503
    #[arg(long, env = "DRAIN_DELAY", default_value = "0s", hide_env_values = true)]
    pub drain_delay: String,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Options of `backend migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Options of `backend create-admin`.
#[derive(Debug, Args)]
pub struct CreateAdminArgs {
    /// The administrator's e-mail address
    #[arg(long)]
    pub email: String,
    /// What to call a new one; by default what stands before the @
    #[arg(long)]
    pub name: Option<String>,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// How to reach the database.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// sqlite:FILE, postgres://… or postgresql://…; an SQLite file and its folder are created
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:data/users.db", hide_env_values = true)]
    pub database_url: String,
    /// Streaming replicas of DATABASE_URL's PostgreSQL server, separated by commas: reads go there. Needs REDIS_URL
    #[arg(long, env = "DATABASE_REPLICA_URLS", default_value = "", hide_env_values = true)]
    pub database_replica_urls: String,
    /// Most connections to the database at once
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", default_value = "20", hide_env_values = true)]
    pub database_max_connections: String,
    /// How long a request waits for a connection to the database
    #[arg(long, env = "DATABASE_CONNECT_TIMEOUT", default_value = "2s", hide_env_values = true)]
    pub database_connect_timeout: String,
    /// After which time an unused connection to the database is closed
    #[arg(long, env = "DATABASE_IDLE_TIMEOUT", default_value = "30s", hide_env_values = true)]
    pub database_idle_timeout: String,
}

/// What the log on standard output looks like.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// json or pretty
    #[arg(long, env = "LOG_FORMAT", default_value = "json", hide_env_values = true)]
    pub log_format: String,
    /// off, error, warn, info, debug or trace
    #[arg(long, env = "LOG_LEVEL", default_value = "info", hide_env_values = true)]
    pub log_level: String,
}
