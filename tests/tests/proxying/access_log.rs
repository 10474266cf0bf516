//! One line a request, whatever was sent.

use std::fs;
use std::path::PathBuf;

use lb_tests::access_log::{mentions, parse};
use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::process::Signal;
use lb_tests::wait::until;

use super::{plain, smallest};

/// An `lb` that logs to a file, and the file.
async fn logging(format: &str, origin: &Origin) -> (Lb, PathBuf) {
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ntrusted_proxies = []\n";
    let log = format!("access_log = {{ path = \"access.log\", format = \"{format}\" }}\n");
    let lb = Lb::start(&format!("{server}{log}\n{}", smallest(origin))).await;
    let path = lb.folder().join("access.log");
    (lb, path)
}

fn lines(path: &PathBuf) -> Vec<String> {
    let text = String::from_utf8(fs::read(path).unwrap_or_default()).expect("a log in UTF-8");
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_request_is_a_line_of_json_with_what_happened() {
    let (lb, _origin) = plain().await;
    let answer = lb
        .send(&Request::post("/users?page=1", "body").header("User-Agent", "tester/1.0"))
        .await;
    let line = lb.log_lines(1).await.remove(0);
    assert_eq!((&line["method"], &line["status"]), (&"POST".into(), &200.into()), "{line}");
    assert_eq!(line["request_id"], answer.header("x-request-id"), "{line}");
    for part in ["/users?page=1", "127.0.0.1", "app", "tester/1.0", "lb.test"] {
        assert!(mentions(&line, part), "{part:?} is not in {line}");
    }
}

#[tokio::test]
async fn requests_that_lb_answers_itself_are_logged_too() {
    let origin = Origin::start(|_| Reply::close()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    lb.get("/refused").await.assert_problem(502);
    lb.send_raw("GET /malformed HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    let lines = lb.log_lines(2).await;
    let mut statuses: Vec<u64> = lines
        .iter()
        .map(|line| line["status"].as_u64().unwrap_or_else(|| panic!("no status in {line}")))
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [400, 502]);
}

#[tokio::test]
async fn a_client_that_hung_up_is_logged_as_499() {
    let origin = Origin::held("late").await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/left").bytes()).await;
    origin.wait_for(1).await;
    connection.reset();
    assert_eq!(lb.log_lines(1).await[0]["status"], 499);
}

/// Requests with everything in them that has broken a log.
fn odd_requests() -> Vec<Vec<u8>> {
    let get = |fields: &[u8]| [b"GET /odd HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n\r\n"].concat();
    vec![
        get(b"User-Agent: \xff\xfe raw"),
        get(b"User-Agent: \"quoted\" and \\back\\slashed\\"),
        get("User-Agent: line\u{2028}separator".as_bytes()),
        get(b"User-Agent: tab\there"),
        get(b"Referer: \"}{\" \xc3\x28"),
        get([b"User-Agent: ".as_slice(), &[b'x'; 8192]].concat().as_slice()),
        b"GET /%0a%0d%22%5c HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /raw\x80byte HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        [b"GET /".as_slice(), &[b'y'; 8192], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
        get(b"X-Request-ID: chosen with spaces"),
        get([b"X-Request-ID: ".as_slice(), &[b'z'; 4096]].concat().as_slice()),
        b"G\xffT / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n".to_vec(),
    ]
}

async fn send_odd(lb: &Lb) -> usize {
    let all = odd_requests();
    for bytes in &all {
        let mut connection = Connection::open(lb.listen()).await.unwrap();
        connection.write(bytes).await;
        // served or refused: both are logged
        connection
            .response("GET")
            .await
            .unwrap_or_else(|failure| panic!("{failure:?} to {:?}", String::from_utf8_lossy(bytes)));
    }
    all.len()
}

#[tokio::test]
async fn c38_whatever_was_sent_a_line_is_one_json_text() {
    let origin = Origin::named("origin").await;
    let (lb, path) = logging("json", &origin).await;
    let count = send_odd(&lb).await;
    until("every request is logged", async || lines(&path).len() >= count).await;
    let text = fs::read_to_string(&path).expect("a log in UTF-8");
    let parsed = parse(&text);
    assert_eq!(parsed.len(), count, "one line a request");
    for line in &parsed {
        assert!(line.is_object() && line["status"].is_u64(), "{line}");
        assert!(
            !mentions(line, "chosen with spaces") && !mentions(line, "zzzz"),
            "an untrusted request ID was used: {line}"
        );
    }
    assert!(
        parsed.iter().any(|line| mentions(line, "\"quoted\" and \\back\\slashed\\")),
        "{text}"
    );
    assert!(parsed.iter().any(|line| mentions(line, "/%0a%0d%22%5c")), "{text}");
}

#[tokio::test]
async fn c38_combined_keeps_its_quotes() {
    let origin = Origin::named("origin").await;
    let (lb, path) = logging("combined", &origin).await;
    let count = send_odd(&lb).await;
    until("every request is logged", async || lines(&path).len() >= count).await;
    let lines = lines(&path);
    assert_eq!(lines.len(), count, "one line a request");
    for line in lines {
        // address, -, -, [time], "request", status, size, "referer", "agent": quotes inside are escaped, so that six are left
        let bare = line.replace("\\\\", "").replace("\\\"", "");
        assert_eq!(bare.matches('"').count(), 6, "{line}");
        assert!(line.starts_with("127.0.0.1 ") && line.contains('['), "{line}");
        let status = bare
            .split('"')
            .nth(2)
            .and_then(|part| part.split_whitespace().next())
            .unwrap_or_default();
        assert!(status.len() == 3 && status.parse::<u16>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn sigusr1_opens_the_file_again_and_loses_nothing() {
    let origin = Origin::named("origin").await;
    let (mut lb, path) = logging("json", &origin).await;
    let moved = path.with_file_name("access.log.1");
    for _ in 0..5 {
        lb.get("/before").await;
    }
    until("five lines", async || lines(&path).len() == 5).await;
    fs::rename(&path, &moved).unwrap();
    lb.get("/between").await;
    lb.process.signal(Signal::USR1);
    until("a new file is there", async || path.exists()).await;
    for _ in 0..5 {
        lb.get("/after").await;
    }
    until("eleven lines in all", async || lines(&path).len() + lines(&moved).len() == 11).await;
    assert!(lines(&path).len() >= 5, "the new file is used");
    assert!(lines(&moved).iter().filter(|line| line.contains("/before")).count() == 5);
}

#[tokio::test]
async fn an_access_log_that_is_off_writes_nothing() {
    let origin = Origin::named("origin").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\naccess_log = \"off\"\n\n";
    let mut lb = Lb::start(&format!("{server}{}", smallest(&origin))).await;
    lb.get("/").await;
    lb.terminate();
    assert!(lb.exit_within(lb_tests::wait::DEADLINE).await.success());
    assert_eq!(lb.process.stdout(), "");
}

#[tokio::test]
async fn what_the_client_was_answered_is_logged_however_it_ended() {
    let origin = Origin::start(|seen| {
        if seen.target == "/tunnel" {
            Reply::tunnel("x")
        } else {
            Reply::echo()
        }
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let chunks = "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    lb.send_raw(chunks).await.0.assert_problem(400);
    let line = lb.log_lines(1).await.remove(0);
    assert_eq!((&line["path"], &line["status"]), (&"/chunks".into(), &400.into()), "{line}");
    let mut connection = lb.connect().await;
    let upgrade = Request::get("/tunnel").header("Connection", "Upgrade").header("Upgrade", "x");
    assert_eq!(connection.send(&upgrade).await.unwrap().status, 101);
    drop(connection);
    let line = lb.log_lines(2).await.remove(1);
    assert_eq!((&line["path"], &line["status"]), (&"/tunnel".into(), &101.into()), "{line}");
}
