//! `[cache] file`: what is stored outlives the process, and only where that is safe.

use std::os::unix::fs::PermissionsExt;

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::process::Signal;
use tempfile::TempDir;

use super::{PATIENCE, cached_as, fresh};

fn config(origin: &Origin, folder: &TempDir) -> String {
    let file = folder.path().join("cache");
    let routes = cached_as(origin, "ttl = \"0s\", key = \"{path}\"");
    format!("[cache]\nfile = \"{}\"\n\n{routes}", file.display())
}

async fn end(mut lb: Lb) -> String {
    lb.terminate();
    let status = lb.exit_within(PATIENCE).await;
    assert!(status.success(), "{status}");
    lb.stderr()
}

#[tokio::test]
async fn a_restart_costs_no_hit() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(|seen| fresh(&format!("answer to {}", seen.target)).header("Cache-Tag", "a")).await;
    let config = config(&origin, &folder);
    let lb = Lb::start(&config).await;
    for number in 0..50 {
        lb.get(&format!("/{number}")).await;
    }
    let log = end(lb).await;
    assert!(log.contains("the cache is saved"), "{log}");
    let mode = std::fs::metadata(folder.path().join("cache")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lb = Lb::start(&config).await;
    for number in 0..50 {
        let answer = lb.get(&format!("/{number}")).await;
        assert_eq!(answer.text(), format!("answer to /{number}"));
        assert!(answer.is_hit(), "{answer:?}");
    }
    assert_eq!(origin.count(), 50);
    assert_eq!(lb.purge("tag=a").await, 50, "their tags are known");
    lb.get("/1").await;
    assert_eq!(origin.count(), 51);
}

#[tokio::test]
async fn after_a_crash_it_begins_empty() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(|_| fresh("a")).await;
    let config = config(&origin, &folder);
    let lb = Lb::start(&config).await;
    lb.get("/").await;
    end(lb).await;
    let mut lb = Lb::start(&config).await;
    // It has the answer, and purges it; nothing of that may come back.
    assert_eq!(lb.purge("all=true").await, 1);
    lb.process.crash();
    lb.exit_within(PATIENCE).await;
    let lb = Lb::start(&config).await;
    assert!(lb.stderr().contains("the cache begins empty"), "{}", lb.stderr());
    lb.get("/").await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn one_that_drains_while_another_has_begun_saves_nothing() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(|_| fresh("a")).await;
    let config = config(&origin, &folder);
    let old = Lb::start(&config).await;
    old.get("/old").await;
    let new = Lb::start(&config).await;
    let log = end(old).await;
    assert!(log.contains("another lb has taken its file"), "{log}");
    new.get("/new").await;
    end(new).await;
    let lb = Lb::start(&config).await;
    lb.get("/new").await;
    assert_eq!(origin.count(), 2);
    lb.get("/old").await;
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn it_is_older_by_the_time_between() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(|_| Reply::text("a").header("Cache-Control", "max-age=600")).await;
    let config = config(&origin, &folder);
    let lb = Lb::start(&config).await;
    lb.get("/").await;
    end(lb).await;
    // As if it had been written a hundred seconds earlier: behind the magic number, four seeds and a hash stands when it was.
    let file = folder.path().join("cache");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = 48..56;
    let written = u64::from_le_bytes(bytes[at.clone()].try_into().unwrap());
    bytes[at].copy_from_slice(&(written - 100_000).to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    let lb = Lb::start(&config).await;
    let answer = lb.get("/").await;
    let age: u64 = answer.header("Age").parse().unwrap();
    assert!(answer.is_hit() && (100..200).contains(&age), "{answer:?}");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn it_cannot_change_while_lb_runs() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(|_| fresh("a")).await;
    let mut lb = Lb::start(&config(&origin, &folder)).await;
    lb.write_config(&cached_as(&origin, "ttl = \"0s\", key = \"{path}\""));
    let answer = lb.reload_by_api().await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("cache.file cannot change while lb runs"),
        "{}",
        answer.text()
    );
    lb.process.signal(Signal::TERM);
}

#[tokio::test]
async fn a_folder_that_is_missing_is_said_at_the_start() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing/cache");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"off\"\n\n[cache]\nfile = \"{}\"\n\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n",
        missing.display()
    );
    let path = folder.path().join("lb.toml");
    std::fs::write(&path, text).unwrap();
    let output = tokio::process::Command::new(lb_tests::process::binary("lb"))
        .arg("run")
        .arg("--config")
        .arg(&path)
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains("cache.file: cannot read or write"),
        "{error}"
    );
}
