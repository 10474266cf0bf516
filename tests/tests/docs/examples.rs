//! What the documents show as files and as output.
//!
//! Code blocks say by their info string what is to be done with them:
//!
//! * `toml` is a whole file, which `lb check` has to pass;
//! * `toml fragment` is a part of one, which has to pass once [`complete`] has put before it what it leaves out;
//! * `toml broken` is a whole file whose errors are shown by `$ lb check -c bad.toml` in a `console` block, word for word.

use std::fs;
use std::path::Path;

use lb_tests::command;

use super::{blocks, documents, listed, read, root};

/// What the files in the documents take from the environment without a default.
const ENVIRONMENT: &[(&str, &str)] = &[("LB_ADMIN_TOKEN", "a-token")];

/// A fragment with what it leaves out before it: `[server]`; the upstream `users`, where it has none; and a route to that one, where it
/// has only tables of a route.
fn complete(fragment: &str) -> String {
    let has = |header: &str| fragment.lines().any(|line| line.starts_with(header));
    let own_upstream = fragment
        .lines()
        .any(|line| line.starts_with("[upstreams.") && !line.trim_start_matches("[upstreams.").contains('.'));
    let mut text = String::new();
    if !has("[server]") {
        text += "[server]\nlisten = [\"127.0.0.1:8080\"]\n\n";
    }
    if !own_upstream {
        text += "[upstreams.users]\nservers = [\"127.0.0.1:3001\"]\n\n";
    }
    if has("[routes.") && !has("[[routes]]") {
        text += "[[routes]]\npath = \"/\"\nupstream = \"users\"\n\n";
    }
    text + fragment
}

/// Makes the files that a configuration names as `….pem`: a certificate, which is its own authority, and its key.
fn certificates(folder: &Path, text: &str) {
    let names: Vec<&str> = text.split('"').filter(|name| name.ends_with(".pem")).collect();
    if names.is_empty() {
        return;
    }
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for name in names {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let is_key = name.ends_with("key.pem");
        fs::write(path, if is_key { signing_key.serialize_pem() } else { cert.pem() }).unwrap();
    }
}

/// What `lb check` says of this text, in a folder with the certificates that it names.
async fn check(text: &str) -> command::Outcome {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), text);
    let file = folder.path().join("lb.toml");
    fs::write(&file, text).unwrap();
    command::run("lb", &["check", "-c", file.to_str().unwrap()], ENVIRONMENT).await
}

#[tokio::test]
async fn every_configuration_in_them_passes_lb_check() {
    let mut checked = 0;
    for name in documents() {
        for block in blocks(&read(&name)) {
            let text = match block.info.as_str() {
                "toml" => block.text,
                "toml fragment" => complete(&block.text),
                "toml broken" => continue,
                info => {
                    assert!(!info.starts_with("toml"), "{name}:{}: what is {info:?}?", block.line);
                    continue;
                }
            };
            let outcome = check(&text).await;
            assert_eq!(outcome.code, 0, "{name}:{}: {}\n{text}", block.line, outcome.stderr);
            checked += 1;
        }
    }
    assert!(checked >= 15, "only {checked} blocks were found");
    for name in [listed("docker", ".toml"), listed("config", ".toml")].concat() {
        // `config/Cargo.toml` is no configuration.
        if !name.ends_with("Cargo.toml") {
            let outcome = check(&read(&name)).await;
            assert_eq!(outcome.code, 0, "{name}: {}", outcome.stderr);
        }
    }
}

/// What a `console` block that begins with this command shows as its output.
fn shown(document: &str, command: &str) -> String {
    let all = blocks(document);
    let block = all
        .iter()
        .filter(|block| block.info == "console")
        .find_map(|block| block.text.strip_prefix(&format!("$ {command}\n")));
    block.unwrap_or_else(|| panic!("nothing shows {command}")).into()
}

#[tokio::test]
async fn the_examples_of_lb_check_and_lb_explain_are_what_they_print() {
    let document = read("docs/OPERATIONS.md");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    fs::write(
        &file,
        &blocks(&document).iter().find(|block| block.info == "toml broken").unwrap().text,
    )
    .unwrap();
    let outcome = command::lb(&["check", "-c", file.to_str().unwrap()]).await;
    let printed = outcome.stderr.replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(
        (outcome.code, printed.as_str()),
        (2, shown(&document, "lb check -c bad.toml").as_str())
    );

    let url = "http://127.0.0.1:8080/users?page=1";
    let outcome = command::lb(&["explain", "-c", root().join("config/lb.toml").to_str().unwrap(), url]).await;
    assert_eq!(outcome.stdout, shown(&document, &format!("lb explain -c config/lb.toml '{url}'")));
}

/// The words of a command as a shell would split them; quotes are single ones.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('\'').enumerate();
    let words = parts.flat_map(|(n, part)| match n % 2 {
        0 => part.split_whitespace().map(String::from).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// With `UPDATE_DOCS=1`, documents and picture are written anew instead.
#[tokio::test]
async fn what_lb_simulate_is_said_to_print_and_to_draw_is_what_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().join("plot.svg");
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let mut seen = 0;
    for name in documents() {
        let mut document = read(&name);
        for block in blocks(&read(&name)).iter().filter(|block| block.text.starts_with("$ lb simulate ")) {
            let (command, shown) = block.text.split_once('\n').unwrap();
            let mut arguments = words(command.trim_start_matches("$ lb "));
            let mut plot = None;
            for argument in &mut arguments {
                if argument.ends_with(".svg") {
                    plot = Some(std::mem::replace(argument, drawn.display().to_string()));
                } else if argument.ends_with(".toml") {
                    *argument = root().join(&*argument).display().to_string();
                }
            }
            let outcome = command::lb(&arguments).await;
            let svg = plot.map(|plot| (plot, fs::read_to_string(&drawn).unwrap()));
            if update {
                document = document.replace(shown, &outcome.stdout);
                fs::write(root().join(&name), &document).unwrap();
                svg.iter().for_each(|(plot, drawn)| fs::write(root().join(plot), drawn).unwrap());
            }
            let shown = if update { &outcome.stdout } else { shown };
            assert_eq!(
                outcome.stdout, shown,
                "{name}:{}: {command} (UPDATE_DOCS=1 writes it anew) {}",
                block.line, outcome.stderr
            );
            if let Some((plot, drawn)) = svg {
                assert!(
                    drawn == read(&plot),
                    "{name}:{}: {command} draws another {plot}:\n{drawn}",
                    block.line
                );
            }
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} commands were found");
}
