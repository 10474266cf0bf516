//! How one setting's text becomes a value. Each function says what it expected; the caller adds the setting's name and what was found.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;
use tracing::level_filters::LevelFilter;

use super::{Cors, Database, LogFormat, Secret, Who};
use crate::store::server_name;

/// What was expected instead.
pub(super) type Expected = String;

const DURATION: &str = "a duration such as 250ms, 2s, 5m or 1h";

pub(super) fn duration(text: &str) -> Result<Duration, Expected> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(DURATION)?;
    let (number, unit) = text.split_at(unit_at);
    let millis_each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(DURATION.into()),
    };
    let number: u64 = number.parse().map_err(|_| DURATION)?;
    // A year is more than any of these settings can mean, and keeps sums of them far from overflow.
    let millis = number.checked_mul(millis_each).filter(|millis| *millis <= 365 * 24 * 3_600_000);
    Ok(Duration::from_millis(millis.ok_or("a duration of at most a year")?))
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, Expected> {
    let value = duration(text)?;
    if value.is_zero() {
        Err("a duration above 0".into())
    } else {
        Ok(value)
    }
}

pub(super) fn number<N: FromStr + PartialOrd + std::fmt::Display>(text: &str, least: N, most: N) -> Result<N, Expected> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = text.parse().ok().filter(|value| digits && *value >= least && *value <= most);
    value.ok_or_else(|| format!("a whole number from {least} to {most}"))
}

pub(super) fn host(text: &str) -> Result<String, Expected> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("an IP address or a host name".into())
    }
}

pub(super) fn auth(text: &str) -> Result<Who, Expected> {
    match text {
        "off" => Ok(Who::Nobody),
        "writes" => Ok(Who::Writers),
        "all" => Ok(Who::Everybody),
        _ => Err("writes, all or off".into()),
    }
}

/// As long as the hash at least (RFC 7518, section 3.2): a shorter one could be guessed from a single token.
pub(super) fn secret(text: &str) -> Result<Secret, Expected> {
    match text.len() {
        32.. => Ok(Secret(text.as_bytes().to_owned())),
        length => Err(format!(
            "at least 32 bytes, the same at every server, as from: openssl rand -base64 32 (or AUTH=off, where nobody has to log in); \
            found {length}"
        )),
    }
}

pub(super) fn redis(url: &str) -> Result<redis::Client, Expected> {
    // What the library says of a wrong one may repeat it, and there may be a password in it.
    redis::Client::open(url).map_err(|_| "a URL such as redis://127.0.0.1:6379/0; rediss: (with TLS) is not supported".into())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, Expected> {
    match text {
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err("json or pretty".into()),
    }
}

pub(super) fn log_level(text: &str) -> Result<LevelFilter, Expected> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err("off, error, warn, info, debug or trace".into()),
    }
}

/// The non-empty items of a comma-separated list.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, Expected> {
    let network = |item: &str| {
        let one = || item.parse::<IpAddr>().ok().map(IpNet::from);
        item.parse::<IpNet>().ok().or_else(one)
    };
    let expected = "addresses and networks such as 10.0.0.0/8, separated by commas";
    items(text).map(|item| network(item).ok_or_else(|| expected.into())).collect()
}

pub(super) fn cors(text: &str) -> Result<Cors, Expected> {
    let origins: Vec<&str> = items(text).collect();
    match origins.as_slice() {
        [] => Ok(Cors::Off),
        ["*"] => Ok(Cors::Any),
        _ => origins.into_iter().map(origin).collect::<Result<_, _>>().map(Cors::Origins),
    }
}

/// An origin as browsers send it: scheme, host and port, and nothing behind them (RFC 6454, section 7).
fn origin(text: &str) -> Result<HeaderValue, Expected> {
    let expected = || "* alone, or origins such as https://app.example.com, separated by commas, without a path".to_owned();
    let (scheme, authority) = text.split_once("://").ok_or_else(expected)?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
    let known = matches!(scheme, "http" | "https");
    if known && !authority.is_empty() && authority.bytes().all(plain) {
        HeaderValue::from_str(text).map_err(|_| expected())
    } else {
        Err(expected())
    }
}

pub(super) fn database(url: &str) -> Result<Database, Expected> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => sqlite(url),
        Some("postgres" | "postgresql") => postgres(url).map(Database::Postgres),
        _ => Err("a URL that starts with sqlite:, postgres: or postgresql:".into()),
    }
}

fn sqlite(url: &str) -> Result<Database, Expected> {
    let options = SqliteConnectOptions::from_str(url).map_err(|e| format!("an SQLite URL ({e})"))?;
    let name = options.get_filename().as_os_str();
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if in_memory || name.is_empty() {
        return Err("a file, as in sqlite:data/users.db: what is in memory cannot be shared by several servers".into());
    }
    Ok(Database::Sqlite(options))
}

/// Replicas of the database, where there is a correct one.
pub(super) fn replicas(urls: &str, of: Option<&Database>) -> Result<Vec<PgConnectOptions>, Expected> {
    let replicas: Vec<PgConnectOptions> = items(urls)
        .zip(1..)
        .map(|(url, n)| replica(url).map_err(|expected| format!("{expected}, as URL {n} of the list")))
        .collect::<Result<_, _>>()?;
    let primary = match of {
        Some(Database::Sqlite(_)) if !replicas.is_empty() => {
            return Err("a PostgreSQL server in DATABASE_URL beside it: an SQLite file has no replicas".into());
        }
        Some(Database::Postgres(primary)) => Some(primary),
        _ => None,
    };
    let mut names: Vec<String> = replicas.iter().chain(primary).map(server_name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(format!("each server once, and not DATABASE_URL's; found {} twice", twice[0])),
        None => Ok(replicas),
    }
}

fn replica(url: &str) -> Result<PgConnectOptions, Expected> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => postgres(url),
        _ => Err("a URL that starts with postgres: or postgresql:".into()),
    }
}

fn postgres(url: &str) -> Result<PgConnectOptions, Expected> {
    let options = PgConnectOptions::from_str(url).map_err(|e| format!("a PostgreSQL URL ({e})"))?;
    match options.get_ssl_mode() {
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => Ok(options),
        _ => Err("sslmode=disable, allow or prefer: this version cannot speak TLS to the database".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "5", "s", "1.5s", "-1s", "2 s", "2S", "99999999999999999999s", "9999999h"] {
            assert!(duration(wrong).is_err(), "{wrong:?} was taken");
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn numbers_are_digits_within_their_range() {
        assert_eq!(number::<u16>("0", 0, 65_535), Ok(0));
        for wrong in ["", "+1", "-1", "65536", "1e3", " 1"] {
            assert!(number::<u16>(wrong, 0, 65_535).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_single_address_is_a_network_of_one() {
        let trusted = networks("10.0.0.0/8, ::1").expect("both are fine");
        assert!(trusted[1].contains(&"::1".parse::<IpAddr>().expect("an address")));
        assert_eq!(networks(""), Ok(vec![]));
        assert!(networks("10.0.0.0/8,localhost").is_err());
    }

    #[test]
    fn an_origin_has_no_path() {
        assert!(matches!(cors(""), Ok(Cors::Off)));
        assert!(matches!(cors("*"), Ok(Cors::Any)));
        assert!(matches!(cors("https://a.example, http://localhost:5173"), Ok(Cors::Origins(list)) if list.len() == 2));
        for wrong in [
            "https://a.example/",
            "a.example",
            "ftp://a.example",
            "*,https://a.example",
            "https://A.example",
        ] {
            assert!(cors(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn only_databases_that_servers_can_share_are_taken() {
        assert!(matches!(database("sqlite:data/users.db"), Ok(Database::Sqlite(_))));
        assert!(matches!(database("sqlite:///tmp/users.db"), Ok(Database::Sqlite(_))));
        assert!(matches!(database("postgres://app@localhost/users"), Ok(Database::Postgres(_))));
        assert!(matches!(database("postgresql://app@localhost/users"), Ok(Database::Postgres(_))));
        for wrong in [
            "",
            "mysql://x",
            "sqlite::memory:",
            "sqlite:",
            "sqlite:a.db?mode=memory",
            "sqlite:a.db?what=1",
            "postgres://h/d?sslmode=require",
        ] {
            assert!(database(wrong).is_err(), "{wrong:?} was taken");
        }
    }
    #[test]
    fn replicas_are_postgresql_servers_each_once() {
        let primary = database("postgres://app@db/users").expect("it is right");
        let replicas = |urls: &str| replicas(urls, Some(&primary)).map(|list| list.len());
        assert_eq!(replicas(""), Ok(0));
        assert_eq!(replicas("postgres://app@r1/users, postgresql://app@r1:5433/users,"), Ok(2));
        let twice = super::replicas("postgres://app:hidden@db/users", Some(&primary)).expect_err("it is the primary");
        assert!(twice.contains("db:5432/users twice") && !twice.contains("hidden"), "{twice}");
        for wrong in [
            "sqlite:data/users.db",
            "r1",
            "postgres://app@r1/users,mysql://app@r2/users",
            "postgres://app@r1/users?sslmode=require",
            "postgres://app@db/users",
            "postgres://app@r1/users,postgres://other@r1:5432/users",
        ] {
            assert!(replicas(wrong).is_err(), "{wrong:?} was taken");
        }
        let file = database("sqlite:data/users.db").expect("it is right");
        assert!(super::replicas("postgres://app@r1/users", Some(&file)).is_err());
        assert!(super::replicas("", Some(&file)).is_ok());
    }
}
