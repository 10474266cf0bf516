//! Whole files: the examples, what they give, and that no text is too much.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use crate::fields::Check;
use crate::unknown::every_table;
use crate::*;

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn environment(name: &str) -> Option<String> {
    match name {
        "COUNT" => Some("7".into()),
        "FLAG" => Some("true".into()),
        "TIME" => Some("9s".into()),
        "PORT" => Some("3009".into()),
        "EVIL" => Some("x\"\nkeepalive = 1".into()),
        _ => None,
    }
}

fn load_text(text: &str) -> Result<Config, Problems> {
    let folder = folder(&[("lb.toml", text)]);
    load_with(&folder.path().join("lb.toml"), &environment)
}

/// The example files, which stand in this crate's folder.
fn examples() -> Vec<PathBuf> {
    let files = std::fs::read_dir(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "toml") && !path.ends_with("Cargo.toml"))
        .collect()
}

#[test]
fn every_example_loads() {
    let examples = examples();
    assert!(examples.len() >= 3);
    for path in examples {
        if let Err(problems) = load_with(&path, &|_| None) {
            panic!("{problems}");
        }
    }
}

#[test]
fn the_full_example_has_every_key_and_every_key_is_read() {
    let include::Loaded { root, sources, lost, .. } = include::load(Path::new("full.toml"), &environment);
    let cx = Check::new(&sources, &environment, lost);
    check::config(&cx, &root.unwrap()).unwrap();
    let asked = cx.asked.into_inner();
    for table in every_table() {
        for key in table.keys {
            assert!(
                asked.contains(&(table.title, key.name)),
                "nobody reads `{}` of {}",
                key.name,
                table.title
            );
            let written = sources[0].text.lines().map(str::trim_start).any(|line| {
                let line = line.trim_start_matches(['[', '{', ' ']);
                line.starts_with(key.name)
                    || line.contains(&format!(" {} = ", key.name))
                    || line.split(['.', ']']).any(|word| word == key.name)
            });
            assert!(written, "`{}` of {} is not in full.toml", key.name, table.title);
        }
    }
}

#[test]
fn the_full_example_gives_what_it_says() {
    insta::assert_debug_snapshot!(load_with(Path::new("full.toml"), &|_| None).unwrap());
}

#[test]
fn the_smallest_file_has_all_defaults() {
    let config = load_with(Path::new("minimal.toml"), &|_| None).unwrap();
    insta::assert_debug_snapshot!(config);
    assert_eq!(config.server.admin.unwrap().listen, "127.0.0.1:9901".parse().unwrap());
    assert_eq!((config.limits.max_body, config.cache.memory), (10_000_000, 256 << 20));
    assert_eq!(config.upstreams[0].timeouts.idle, Duration::from_secs(60));
}

#[test]
fn an_inline_table_and_a_table_of_its_own_are_the_same() {
    let inline = "[server]\nlisten = ['127.0.0.1:1']\naccess_log = { path = 'a.log' }\n[upstreams.u]\nservers = ['a:1', { address = 'b:1', weight = 2 }]\n\
                  health_check = { path = '/r' }\nretry = { attempts = 2 }\n[[routes]]\nupstream = 'u'\ncache = { ttl = '1s' }\nrewrite = { add_prefix = '/v' }\n";
    let tables = "[server]\nlisten = ['127.0.0.1:1']\n[server.access_log]\npath = 'a.log'\n[[upstreams.u.servers]]\naddress = 'a:1'\n\
                  [[upstreams.u.servers]]\naddress = 'b:1'\nweight = 2\n[upstreams.u.health_check]\npath = '/r'\n[upstreams.u.retry]\nattempts = 2\n\
                  [[routes]]\nupstream = 'u'\n[routes.cache]\nttl = '1s'\n[routes.rewrite]\nadd_prefix = '/v'\n";
    let folder = folder(&[("a/lb.toml", inline), ("b/lb.toml", tables)]);
    let show = |name: &str| {
        let text = format!("{:?}", load_with(&folder.path().join(name).join("lb.toml"), &environment).unwrap());
        text.replace(&*folder.path().join(name).to_string_lossy(), "")
    };
    assert_eq!(show("a"), show("b"));
}

#[test]
fn a_reference_may_stand_for_a_number_or_a_flag_and_cannot_add_keys() {
    let config = load_text(
        "[server]\nlisten = ['127.0.0.1:${PORT}']\nthreads = '${COUNT}'\ngrace_period = '${TIME}'\n[upstreams.u]\n\
         servers = [{ address = 'a:${PORT}', weight = '${COUNT}', backup = '${FLAG}' }]\nhash_on = 'cookie:$$${NONE:-c}'\nbalance = 'hash'\n\
         [[routes]]\nname = '${EVIL}'\nupstream = 'u'\npath = '~^/u/[0-9]+$'\n",
    )
    .unwrap();
    let server = &config.upstreams[0].servers[0];
    assert_eq!((server.weight, server.backup), (7, true));
    assert_eq!(server.address, Address::Host("a".into(), 3009));
    assert_eq!(config.server.threads.map(usize::from), Some(7));
    assert_eq!(config.server.grace_period, Duration::from_secs(9));
    assert_eq!(config.upstreams[0].balance, Balance::Hash(HashOn::Cookie("$c".into())));
    assert_eq!(config.upstreams[0].keepalive, 128);
    assert_eq!(&*config.routes[0].name, "x\"\nkeepalive = 1");
}

#[test]
fn files_are_merged_in_the_order_of_their_names_and_paths_start_at_their_folders() {
    let folder = folder(&[
        (
            "lb.toml",
            "include = ['d/*.toml', 'd/b.toml']\n[server]\nlisten = ['127.0.0.1:1']\naccess_log = { path = 'x.log' }\n[[routes]]\npath = '/main'\nupstream = 'b'\n",
        ),
        (
            "d/b.toml",
            "[upstreams.b]\nservers = ['unix:b.sock']\n[[routes]]\npath = '/b'\nupstream = 'b'\n",
        ),
        (
            "d/a.toml",
            "[upstreams.b.timeouts]\nread = '3s'\n[[routes]]\npath = '/a'\nupstream = 'b'\n",
        ),
        ("d/.hidden.toml", "nonsense"),
        ("d/c.txt", "nonsense"),
    ]);
    let config = load_with(&folder.path().join("lb.toml"), &environment).unwrap();
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["/main", "/a", "/b"]);
    let files: Vec<_> = config
        .sources
        .iter()
        .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(files, ["lb.toml", "d/a.toml", "d/b.toml"]);
    assert_eq!(
        config.upstreams[0].servers[0].address,
        Address::Unix(folder.path().join("d/b.sock"))
    );
    assert_eq!(config.upstreams[0].timeouts.read, Duration::from_secs(3));
    assert_eq!(config.server.access_log.unwrap().path, LogPath::File(folder.path().join("x.log")));
}

#[test]
fn certificates_may_be_added_by_included_files_and_start_at_their_folders() {
    let entry = "[[server.tls]]\nlisten = '0.0.0.0:443'\ncertificate = 'c.pem'\nkey = 'k.pem'\n";
    let folder = folder(&[
        (
            "lb.toml",
            "include = ['sites/*.toml']\n[server]\nadmin = 'off'\n[[server.tls]]\nlisten = '0.0.0.0:443'\ncertificate = '/c.pem'\nkey = '/k.pem'\nclient_ca = 'ca.pem'\n[[routes]]\nrespond = {}\n",
        ),
        ("sites/a.toml", entry),
        ("sites/b.toml", &entry.replace("c.pem", "d.pem")),
    ]);
    let config = load_with(&folder.path().join("lb.toml"), &environment).unwrap();
    let shown: Vec<_> = config
        .server
        .tls
        .iter()
        .map(|entry| (entry.certificate.clone(), entry.client_ca.clone()))
        .collect();
    let at = |path: &str| folder.path().join(path);
    assert_eq!(
        shown,
        [
            ("/c.pem".into(), Some(at("ca.pem"))),
            (at("sites/c.pem"), None),
            (at("sites/d.pem"), None)
        ]
    );
    assert!(config.server.listen.is_empty());
    let problem = config.mentions.problem("server.tls[2].key", "wrong", None);
    assert_eq!((problem.file, problem.line), (at("sites/b.toml").display().to_string(), Some(4)));
}

#[test]
fn a_server_is_verified_by_sni_then_by_its_host_name_then_by_host_then_by_its_address() {
    let names = |keys: &str| {
        let text = format!(
            "[server]\nlisten = ['0.0.0.0:80']\n[upstreams.u]\nservers = ['App.internal:1', '10.0.0.1:1', '[::1]:1']\nprotocol = 'https'\n{keys}\n"
        );
        let config = load_text(&text).unwrap();
        let upstream = &config.upstreams[0];
        let name = |server: &UpstreamServer| upstream.tls_name(&server.address).unwrap().to_string();
        upstream.servers.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["app.internal", "10.0.0.1", "::1"]);
    assert_eq!(
        names("host = 'Users.internal:8443'"),
        ["app.internal", "users.internal", "users.internal"]
    );
    assert_eq!(names("host = '10.9.9.9'"), ["app.internal", "10.0.0.1", "::1"]);
    assert_eq!(names("host = 'x'\ntls = { sni = 'Other.internal.' }"), ["other.internal"; 3]);
    assert_eq!(names("tls = { sni = '10.0.0.7' }"), ["10.0.0.7"; 3]);
}

#[test]
fn what_is_fine_is_not_refused() {
    for text in [
        "[[server.tls]]\nlisten = '127.0.0.1:0'\ncertificate = 'a'\nkey = 'a'\n[[server.tls]]\nlisten = '127.0.0.1:0'\ncertificate = 'b'\nkey = 'a'\n[server]\nlisten = ['127.0.0.1:0']\n[[routes]]\nrespond = {}\n",
        "[server]\nlisten = []\ntls = [{ listen = '127.0.0.1:1', certificate = 'a', key = 'b' }]\n[upstreams.u]\nservers = ['unix:x', '[::1]:1']\nprotocol = 'https'\nhost = 'u'\n",
        "[server]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']\nadmin = 'off'\n[[routes]]\nrespond = {}\n",
        "[server]\nlisten = ['[::]:8080']\nadmin = '[::1]:0'\n[[routes]]\nredirect = { to = '/x' }\n[[routes]]\nmethods = ['GET']\nredirect = { to = '{scheme}://a' }\n",
        "include = ['nothing/*.toml']\n[server]\nlisten = ['0.0.0.0:80']\n[upstreams.u]\nservers = ['a:1', { address = 'b:1', weight = 0 }]\nprotocol = 'http'\nhash_on = 'path'\n",
        "[server]\nlisten = ['0.0.0.0:80']\n[upstreams.u]\nservers = ['[::1]:1']\n[[routes]]\nhost = '[::1]'\nmethods = ['PURGE', 'FROBNICATE']\nupstream = 'u'\n",
    ] {
        if let Err(problems) = load_text(text) {
            panic!("{text}\n{problems}");
        }
    }
}

#[test]
fn a_path_is_kept_in_the_form_that_requests_are_matched_in() {
    let path = |written: &str| {
        let text = format!(
            "[server]\nlisten = ['0.0.0.0:80']\n[upstreams.u]\nservers = ['a:1']\n[[routes]]\npath = '{written}'\nupstream = 'u'\n"
        );
        match load_text(&text).unwrap().routes.remove(0).path {
            PathMatch::Prefix(path) => format!("prefix {path}"),
            PathMatch::Exact(path) => format!("exact {path}"),
            PathMatch::Regex(regex) => format!("regex {regex}"),
        }
    };
    assert_eq!(path("/"), "prefix /");
    assert_eq!(path("/%75sers/"), "prefix /users");
    assert_eq!(path("=/users/"), "exact /users/");
    assert_eq!(path("~^/u/\\d+$"), "regex ^/u/\\d+$");
}

/// Whatever a schema of ours may say of a value, checked the slow way.
fn fits(root: &serde_json::Value, schema: &serde_json::Value, value: &toml::Value) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(root, &root["$defs"][name.strip_prefix("#/$defs/").unwrap()], value);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|schema| fits(root, schema, value));
    }
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().any(|name| {
            name.as_str().is_some_and(|name| value.as_str() == Some(name))
                || (name.as_i64().is_some() && name.as_i64() == value.as_integer())
        });
    }
    match (schema["type"].as_str().unwrap(), value) {
        ("string", toml::Value::String(text)) => schema["pattern"]
            .as_str()
            .is_none_or(|pattern| regex::Regex::new(pattern).unwrap().is_match(text)),
        ("integer", toml::Value::Integer(number)) => {
            schema["minimum"].as_i64() <= Some(*number) && Some(*number) <= schema["maximum"].as_i64()
        }
        ("number", toml::Value::Integer(number)) => (0..=100).contains(number),
        ("number", toml::Value::Float(number)) => (0.0..=100.0).contains(number),
        ("boolean", toml::Value::Boolean(_)) => true,
        ("array", toml::Value::Array(list)) => list.iter().all(|value| fits(root, &schema["items"], value)),
        ("object", toml::Value::Table(table)) => {
            let known = |key: &String| {
                schema["properties"]
                    .get(key)
                    .or(schema["additionalProperties"].as_object().map(|_| &schema["additionalProperties"]))
            };
            let required = schema["required"]
                .as_array()
                .is_none_or(|keys| keys.iter().all(|key| table.contains_key(key.as_str().unwrap())));
            required
                && table
                    .iter()
                    .all(|(key, value)| known(key).is_some_and(|schema| fits(root, schema, value)))
        }
        _ => false,
    }
}

#[test]
fn the_schema_takes_every_example_and_no_unknown_key() {
    let schema = schema();
    for path in examples() {
        let value: toml::Value = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(fits(&schema, &schema, &value), "{}", path.display());
    }
    let unknown = |text: &str| !fits(&schema, &schema, &toml::from_str(text).unwrap());
    assert!(unknown("[server]\nlisten = ['127.0.0.1:80']\ncolour = 'blue'\n"));
    assert!(unknown("[server]\nlisten = [80]\n"));
    assert!(unknown("[upstreams.u]\nservers = ['a:1']\n"));
}

#[test]
fn every_key_of_the_schema_is_described_and_is_one_that_is_read() {
    fn keys(schema: &serde_json::Value, found: &mut usize) {
        for schema in schema["anyOf"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&schema["items"], &schema["additionalProperties"]])
        {
            if schema.is_object() {
                keys(schema, found);
            }
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 5), "{name}");
            *found += 1;
            keys(schema, found);
        }
    }
    let mut found = 0;
    keys(&schema(), &mut found);
    // Both `request_headers` and `response_headers` have the keys of the one table that describes them.
    let known: usize = every_table().iter().map(|table| table.keys.len()).sum();
    assert_eq!(found, known + 3);
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in "\\PC{0,60}|([\\[\\]{}=\"'.,#$~a-z0-9 \\\\\n]{0,120})") {
        if let Err(problems) = load_text(&text) {
            prop_assert!(problems.iter().count() > 0);
            let _ = problems.to_string();
        }
    }

    #[test]
    fn a_damaged_file_loads_or_has_problems_at_places_that_exist(cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, "[\\[\\]{}=\"'.,#$\\\\a-z0-9 \n]{0,4}"), 1..4)) {
        let mut text = include_str!("../full.toml").to_owned();
        for (at, length, insert) in cuts {
            let start = text.floor_char_boundary(at.index(text.len()));
            let end = text.floor_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, &insert);
        }
        if let Err(problems) = load_text(&text) {
            prop_assert!(problems.iter().count() > 0);
            let lines: Vec<&str> = text.split('\n').collect();
            for problem in problems.iter() {
                let (line, column) = (problem.line.unwrap(), problem.column.unwrap());
                prop_assert!(line <= lines.len() && column <= lines[line - 1].chars().count() + 1, "{problem}\n{text}");
            }
        }
    }
}
