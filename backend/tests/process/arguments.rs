//! What it makes of its arguments and environment, and how it says so.

use crate::common::{Database, Kind, Process, run};

const VARIABLES: [(&str, &str); 15] = [
    ("PORT", "3000"),
    ("HOST", "127.0.0.1"),
    ("DATABASE_URL", "sqlite:data/users.db"),
    ("DATABASE_MAX_CONNECTIONS", "20"),
    ("DATABASE_CONNECT_TIMEOUT", "2s"),
    ("DATABASE_IDLE_TIMEOUT", "30s"),
    ("AUTH", "writes"),
    ("CACHE_TTL", "300s"),
    ("CORS_ORIGINS", ""),
    ("TRUSTED_PROXIES", "127.0.0.0/8"),
    ("DRAIN_DELAY", "0s"),
    ("LOG_FORMAT", "json"),
    ("LOG_LEVEL", "info"),
    ("REDIS_URL", ""),
    ("JWT_SECRET", ""),
];

#[tokio::test]
async fn help_lists_every_variable_with_its_default() {
    let output = run(&["serve", "--help"], &[]).await;
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for (name, default) in VARIABLES {
        let as_option = format!("[env: {name}]");
        let line = help
            .lines()
            .find(|line| line.contains(&as_option))
            .or_else(|| help.lines().find(|line| line.contains(name)));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{help}"));
        assert!(default.is_empty() || line.ends_with(&format!("[default: {default}]")), "{line}");
    }
    assert!(help.contains("Example:"));
}

#[tokio::test]
async fn the_compose_file_sets_nothing_that_is_unknown() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker/compose.yml");
    let text = std::fs::read_to_string(file).expect("it is there");
    let service = text.split("\n  app:\n").nth(1).expect("a service app");
    let environment = service.split("\n    environment:\n").nth(1).expect("settings");
    let names: Vec<&str> = environment
        .lines()
        .map_while(|line| line.strip_prefix("      ")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    assert!(names.contains(&"DATABASE_URL") && names.contains(&"DRAIN_DELAY"), "{names:?}");
    let output = run(&["serve", "--help"], &[]).await;
    let help = String::from_utf8_lossy(&output.stdout);
    for name in names {
        assert!(help.contains(name), "{name} is not in\n{help}");
    }
}

/// Exit code and standard error.
async fn refused(environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = run(&["serve"], environment).await;
    assert!(output.stdout.is_empty(), "nothing was started");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn without_a_secret_it_says_how_to_start() {
    for environment in [&[][..], &[("AUTH", "writes")], &[("AUTH", "all")]] {
        let (code, text) = refused(environment).await;
        assert_eq!(code, Some(2));
        assert!(
            text.starts_with("error: JWT_SECRET: expected at least 32 bytes") && text.contains("AUTH=off"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_this_version_cannot_do_is_refused() {
    for name in ["GRPC_PORT", "EVENTS_URL"] {
        let (code, text) = refused(&[("AUTH", "off"), (name, "something")]).await;
        assert_eq!(
            (code, text.as_str()),
            (
                Some(2),
                format!("error: {name}: this version does not support it yet, so it must not be set\n").as_str()
            )
        );
    }
}

#[tokio::test]
async fn wrong_values_are_named_with_what_was_expected_all_at_once() {
    let environment = [
        ("AUTH", "no"),
        ("PORT", "65536"),
        ("HOST", "a b"),
        ("DATABASE_URL", "mysql://root:secret@db/users"),
        ("DATABASE_MAX_CONNECTIONS", "0"),
        ("DATABASE_CONNECT_TIMEOUT", "2"),
        ("DATABASE_IDLE_TIMEOUT", "0s"),
        ("CACHE_TTL", "5 minutes"),
        ("CORS_ORIGINS", "app.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("DRAIN_DELAY", "-1s"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "verbose"),
        ("JWT_SECRET", "secret"),
        ("REDIS_URL", "http://:secret@localhost"),
    ];
    let (code, text) = refused(&environment).await;
    assert_eq!(code, Some(2));
    for (name, value) in environment {
        let line = text.lines().find(|line| line.starts_with(&format!("error: {name}: expected ")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{text}"));
        assert!(
            ["DATABASE_URL", "JWT_SECRET", "REDIS_URL"].contains(&name) || line.ends_with(&format!("found {value:?}")),
            "{line}"
        );
    }
    assert_eq!(text.lines().count(), environment.len());
    assert!(!text.contains("root:secret") && !text.contains(":secret@"), "{text}");
}

#[tokio::test]
async fn unknown_arguments_are_refused() {
    for arguments in [&[][..], &["create-user"], &["serve", "--prot", "1"], &["serve", "x"]] {
        assert_eq!(run(arguments, &[("AUTH", "off")]).await.status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_failure_and_no_mistake() {
    let database = Database::new(Kind::Sqlite).await;
    let first = Process::start(&database.url, &[]).await;
    let port = first.addr.port().to_string();
    let second = run(&["serve"], &[("AUTH", "off"), ("PORT", &port), ("DATABASE_URL", &database.url)]).await;
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text.contains("cannot listen on 127.0.0.1") && text.contains(&port) && text.contains("in use"),
        "{text}"
    );
}

#[tokio::test]
async fn migrate_brings_up_to_date_once_and_again() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::new(kind).await;
        for _ in 0..2 {
            let output = run(&["migrate"], &[("DATABASE_URL", &database.url)]).await;
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(String::from_utf8_lossy(&output.stdout), "the database's schema is up to date\n");
        }
    }
}

#[tokio::test]
async fn migrate_fails_where_it_cannot_work() {
    let nobody = run(&["migrate"], &[("DATABASE_URL", "postgres://u@127.0.0.1:1/d")]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).starts_with("error: "));
    let no_folder = run(&["migrate"], &[("DATABASE_URL", "sqlite:/dev/null/users.db")]).await;
    assert_eq!(no_folder.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&no_folder.stderr).contains("/dev/null"));
}
