//! What the documents say holds: every example is a file that `lb` takes, every key is described, every link leads somewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use lb_tests::backend::Backends;
use lb_tests::command;
use lb_tests::lb::Lb;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Every document of the project, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = [root(), root().join("docs"), root().join("backend")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let documents: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(documents.len() >= 8, "{documents:?}");
    documents
}

/// The blocks of a language in a document.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_configuration_in_the_documents_is_one_that_lb_takes() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for (path, text) in documents() {
        for block in blocks(&text, "toml") {
            let file = folder.path().join("lb.toml");
            fs::write(&file, &block).unwrap();
            let outcome = command::lb(&["check", "-c", &file.display().to_string()]).await;
            assert_eq!(outcome.code, 0, "{}:\n{block}\n{outcome:?}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 4, "{checked} examples");
    let container = root().join("docker/lb.toml").display().to_string();
    let outcome = command::run("lb", &["check", "-c", &container], &[("LB_ADMIN_TOKEN", "x")]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

fn keys(schema: &Value, found: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        found.extend(properties.keys().cloned());
    }
    let inner = schema.as_object().into_iter().flat_map(|object| object.values());
    inner.chain(schema.as_array().into_iter().flatten()).for_each(|value| keys(value, found));
}

#[tokio::test]
async fn every_key_is_in_the_reference() {
    let schema = command::lb(&["schema"]).await;
    let mut found = Vec::new();
    keys(&serde_json::from_str(&schema.stdout).unwrap(), &mut found);
    assert!(found.len() > 50, "{found:?}");
    let reference = fs::read_to_string(root().join("docs/CONFIGURATION.md")).unwrap();
    let missing: Vec<_> = found.iter().filter(|key| !reference.contains(&format!("`{key}`")) && *key != "include").collect();
    let tables = ["server", "limits", "upstreams", "routes", "cache"];
    let missing: Vec<_> = missing.into_iter().filter(|key| !tables.contains(&key.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/CONFIGURATION.md: {missing:?}");
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = path.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{} links to {link}", path.display());
        }
    }
}

/// README's walk, with the ports of this test in place of its own.
#[tokio::test]
async fn the_walk_in_the_readme_goes_as_it_says() {
    let mut backends = Backends::start(3).await;
    let servers: Vec<String> = backends.addrs().iter().map(|address| format!("\"{address}\"")).collect();
    let config = fs::read_to_string(root().join("config/lb.toml")).unwrap();
    let upstream = config.find("[upstreams.users]").unwrap();
    let config = config[upstream..].replace("\"127.0.0.1:3001\", \"127.0.0.1:3002\", \"127.0.0.1:3003\"", &servers.join(", "));
    let lb = Lb::start(&config).await;
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let walk = blocks(&readme, "sh").into_iter().find(|block| block.contains("curl")).unwrap();
    let here = format!("http://{}", lb.listen());
    let mut answers = Vec::new();
    for line in walk.lines().filter(|line| line.starts_with("curl")) {
        let line = line.replace("http://127.0.0.1:8080", &here);
        let output = tokio::process::Command::new("sh").args(["-c", &line]).output().await.unwrap();
        answers.push(String::from_utf8_lossy(&output.stdout).to_lowercase());
    }
    let [create, first, second, again, third] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(create.contains(" 201 created") && again.contains(" 201 created"), "{create}{again}");
    assert!(first.contains("cache-status: lb; fwd=uri-miss; stored") && first.contains("ada"), "{first}");
    assert!(second.contains("cache-status: lb; hit; ttl=") && second.contains("ada"), "{second}");
    assert!(third.contains("grace"), "{third}");
    backends.all[0].crash();
    for _ in 0..20 {
        assert_eq!(lb.get("/users?page=1").await.status, 200);
    }
}
