//! `lb status`, `lb check`, `lb schema`, and what they exit with.

use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::ports::Port;
use serde_json::Value;

use super::{named_route, plain};

#[tokio::test]
async fn lb_status_shows_upstreams_and_servers() {
    let (lb, origin) = plain().await;
    for arguments in [
        ["status", "-c", &lb.config_path()],
        ["status", "--admin", &lb.admin_addr().to_string()],
    ] {
        let shown = command::lb(&arguments).await;
        assert_eq!(shown.code, 0, "{shown:?}");
        for part in ["users", &origin.addr().to_string(), "healthy"] {
            assert!(shown.stdout.contains(part), "{part} is not in {}", shown.stdout);
        }
    }
}

#[tokio::test]
async fn lb_status_json_is_what_the_api_says() {
    let (lb, _origin) = plain().await;
    let shown = command::lb(&["status", "--json", "--admin", &lb.admin_addr().to_string()]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let (mut json, mut api): (Value, Value) = (serde_json::from_str(&shown.stdout).unwrap(), lb.status().await);
    json["uptime_seconds"] = 0.into();
    api["uptime_seconds"] = 0.into();
    assert_eq!(json, api);
}

#[tokio::test]
async fn the_token_is_found_in_the_file() {
    let origin = Origin::named("origin").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = { listen = \"@ADMIN@\", token = \"s3cret\" }\n\n";
    let lb = Lb::setup(&format!("{server}{}", named_route(&origin)))
        .token("s3cret")
        .start()
        .await;
    let shown = command::lb(&["status", "-c", &lb.config_path()]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let refused = command::lb(&["status", "--admin", &lb.admin_addr().to_string()]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
}

#[tokio::test]
async fn without_a_running_lb_commands_that_talk_to_it_fail() {
    let nobody = Port::pick();
    let address = nobody.address().to_string();
    for command in ["status", "reload"] {
        let failed = command::lb(&[command, "--admin", &address]).await;
        assert_eq!(failed.code, 1, "{failed:?}");
        assert!(failed.stderr.contains(&address), "{failed:?}");
    }
}

#[tokio::test]
async fn lb_check_says_ok_or_what_is_wrong() {
    let origin = Origin::named("origin").await;
    let setup = Lb::setup(&named_route(&origin));
    let path = setup.write().display().to_string();
    let good = command::lb(&["check", "-c", &path]).await;
    assert_eq!((good.code, good.stdout.trim_end()), (0, format!("{path}: ok").as_str()), "{good:?}");
    let from_environment = command::run("lb", &["check"], &[("LB_CONFIG", &path)]).await;
    assert_eq!(from_environment.code, 0, "{from_environment:?}");

    let setup = Lb::setup("[limits]\nmax_boddy = \"1MB\"\n\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n");
    let bad = command::lb(&["check", "-c", &setup.write().display().to_string()]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
    assert!(
        bad.stderr.contains("max_body") && bad.stderr.contains("lb.toml:6:1"),
        "{}",
        bad.stderr
    );
    let missing = command::lb(&["check", "-c", "/nowhere/lb.toml"]).await;
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("/nowhere/lb.toml"), "{}", missing.stderr);
}

#[tokio::test]
async fn lb_schema_prints_a_json_schema() {
    let shown = command::lb(&["schema"]).await;
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let schema: Value = serde_json::from_str(&shown.stdout).unwrap();
    for table in ["server", "limits", "upstreams", "routes", "cache", "include"] {
        assert!(schema["properties"][table].is_object(), "{table} is not in the schema");
    }
}

#[tokio::test]
async fn the_command_line_is_checked() {
    for arguments in [vec!["frobnicate"], vec!["run", "--nonsense"], vec!["explain"]] {
        let failed = command::lb(&arguments).await;
        assert_eq!(failed.code, 2, "{arguments:?}: {failed:?}");
        assert!(!failed.stderr.is_empty(), "{arguments:?}");
    }
    for command in ["run", "check", "reload", "status", "server", "explain", "schema"] {
        let help = command::lb(&[command, "--help"]).await;
        assert_eq!(help.code, 0, "{command}");
        assert!(help.stdout.contains(&format!("lb {command}")), "{}", help.stdout);
    }
    let version = command::lb(&["--version"]).await;
    assert_eq!(version.code, 0);
    assert!(
        version.stdout.starts_with(&format!("lb {}", env!("CARGO_PKG_VERSION"))),
        "{}",
        version.stdout
    );
}
