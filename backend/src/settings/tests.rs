//! What is taken, and what is said of what is not.

use clap::Parser;

use super::*;

fn serve(arguments: &[&str], environment: &[&str]) -> Result<Settings, Mistakes> {
    let line = ["backend", "serve"].iter().chain(arguments);
    let Command::Serve(args) = Cli::parse_from(line).command else {
        unreachable!("serve was asked for")
    };
    Settings::serve(&args, |name| environment.contains(&name).then(|| "x".into()))
}

const SECRET: &str = "--jwt-secret=0123456789abcdef0123456789abcdef";

#[test]
fn whoever_wants_logins_has_to_say_with_which_secret() {
    let mistakes = serve(&[], &[]).expect_err("there is no secret").to_string();
    assert!(mistakes.starts_with("JWT_SECRET: expected at least 32 bytes"), "{mistakes}");
    assert!(serve(&["--auth=all"], &[]).is_err());
    let short = serve(&["--auth=off", "--jwt-secret=too-short"], &[])
        .expect_err("it is short")
        .to_string();
    assert!(short.starts_with("JWT_SECRET") && !short.contains("too-short"), "{short}");
    let settings = serve(&[SECRET], &[]).expect("that is all it needs");
    assert_eq!(settings.http.who, Who::Writers);
    assert!(settings.auth.is_some_and(|auth| !format!("{auth:?}").contains("0123")));
}

#[test]
fn notes_are_written_where_there_is_a_cache_to_read_them() {
    let redis = "--redis-url=redis://127.0.0.1:6379";
    for (arguments, with_cache) in [
        (&["--auth=off"][..], false),
        (&["--auth=off", redis], true),
        (&[SECRET, redis], true),
        (&[SECRET, redis, "--cache-ttl=0s"], false),
    ] {
        let settings = serve(arguments, &[]).expect("that is all it needs");
        assert_eq!(settings.redis.is_some(), arguments.contains(&redis));
        assert_eq!(settings.database.outbox, with_cache, "{arguments:?}");
    }
}

#[test]
fn replicas_need_a_redis() {
    let database = "--database-url=postgres://app@db/users";
    let replicas = "--database-replica-urls=postgres://app@r1/users,postgres://app@r2/users";
    let redis = "--redis-url=redis://127.0.0.1:6379";
    let mistakes = serve(&["--auth=off", database, replicas], &[])
        .expect_err("there is none")
        .to_string();
    assert!(
        mistakes.starts_with("DATABASE_REPLICA_URLS: expected REDIS_URL beside it"),
        "{mistakes}"
    );
    let mistakes = serve(&["--auth=off", database, replicas, redis, "--cache-ttl=0s"], &[])
        .expect_err("there is no cache")
        .to_string();
    assert!(
        mistakes.starts_with("DATABASE_REPLICA_URLS: expected CACHE_TTL above 0s beside it"),
        "{mistakes}"
    );
    let settings = serve(&["--auth=off", database, replicas, redis], &[]).expect("that is all it needs");
    assert_eq!(settings.database.replicas.len(), 2);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let wrong = [
        "--port=x",
        "--auth=maybe",
        "--drain-delay=5",
        "--log-level=loud",
        "--database-url=mysql://u:secret@h",
        "--redis-url=http://u:secret@h",
        "--jwt-secret=x",
    ];
    let mistakes = serve(&wrong, &["GRPC_PORT"]).expect_err("all of it is wrong").to_string();
    let names: Vec<&str> = mistakes.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(
        names,
        [
            "GRPC_PORT",
            "PORT",
            "AUTH",
            "JWT_SECRET",
            "REDIS_URL",
            "DRAIN_DELAY",
            "LOG_LEVEL",
            "DATABASE_URL"
        ]
    );
    assert!(!mistakes.contains("secret"), "{mistakes}");
}

#[test]
fn with_auth_off_the_defaults_are_those_of_the_contract() {
    let settings = serve(&["--auth=off"], &[]).expect("all defaults are right");
    assert_eq!((settings.host.as_str(), settings.port, settings.migrate), ("127.0.0.1", 3000, true));
    assert_eq!(settings.database.pool.max_connections, 20);
    assert_eq!(settings.database.pool.connect_timeout, Duration::from_secs(2));
    assert_eq!(settings.database.pool.idle_timeout, Duration::from_secs(30));
    assert_eq!(settings.http.cache_ttl, Duration::from_secs(300));
    assert_eq!(settings.drain_delay, Duration::ZERO);
}
