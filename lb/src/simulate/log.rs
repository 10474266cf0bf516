//! Arrivals out of an access log: what came once comes again.
//!
//! Both formats that `lb` writes are read (JSON, and the combined one of nginx and Apache), line by line, also mixed. A line gives the time, what
//! `hash_on` goes by, and whether the method is idempotent. In JSON, requests that no server was asked for (cache hits, refusals) are left
//! out, and those of other upstreams. The combined format tells neither, and its times have whole seconds: requests of one second are spread
//! evenly over it, in their order.

use std::borrow::Cow;
use std::io::{self, BufRead};
use std::net::IpAddr;

use http::Method;
use lb_config::HashOn;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::Arrival;
use crate::balance::{hash_address, hash_key};
use crate::exchange::idempotent;
use crate::route::Target;

/// What a log has come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The requests, by time; the first is at 0.
    pub arrivals: Vec<Arrival>,
    /// Requests that went to no server, or to one of another upstream.
    pub elsewhere: u64,
    /// Lines that could not be read.
    pub bad: u64,
    /// The number of the first of them, from 1, and what was wrong.
    pub first_bad: Option<(u64, &'static str)>,
}

/// What is wanted of a log.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// The only upstream whose requests are taken; `None`: any.
    pub upstream: Option<&'a str>,
    /// What a request is told from others by. A header or a cookie is in no log: the client's address stands in.
    pub hash_on: &'a HashOn,
}

/// A line that tells of a request.
struct Line {
    /// Nanoseconds since 1970.
    at: i128,
    /// Whether that has whole seconds only.
    coarse: bool,
    hash: u64,
    idempotent: bool,
}

/// Why there is no [`Line`].
enum Not {
    Ours,
    Readable(&'static str),
}

/// Reads all lines.
///
/// # Errors
/// Those of reading.
pub fn read(mut input: impl BufRead, want: Want<'_>) -> io::Result<Reading> {
    let (mut reading, mut lines) = (Reading::default(), Vec::new());
    let (mut buffer, mut number) = (Vec::new(), 0);
    loop {
        buffer.clear();
        if input.read_until(b'\n', &mut buffer)? == 0 {
            break;
        }
        number += 1;
        let text = buffer.trim_ascii();
        let line = match text.first() {
            None => continue,
            Some(b'{') => json(text, want),
            Some(_) => combined(text, want),
        };
        match line {
            Ok(line) => lines.push(line),
            Err(Not::Ours) => reading.elsewhere += 1,
            Err(Not::Readable(why)) => {
                reading.bad += 1;
                reading.first_bad.get_or_insert((number, why));
            }
        }
    }
    reading.arrivals = arrivals(lines);
    Ok(reading)
}

/// Puts them in order, and spreads those that only have a second over it.
fn arrivals(mut lines: Vec<Line>) -> Vec<Arrival> {
    lines.sort_by_key(|line| line.at);
    let mut from = 0;
    while from < lines.len() {
        let at = lines[from].at;
        let same = lines[from..].iter().take_while(|line| line.coarse && line.at == at).count();
        for n in 0..same {
            lines[from + n].at += (1_000_000_000 * n / same) as i128;
        }
        from += same.max(1);
    }
    // One with whole seconds may now stand behind one without.
    lines.sort_by_key(|line| line.at);
    let first = lines.first().map_or(0, |line| line.at);
    let arrival = |line: &Line| Arrival {
        at: u64::try_from(line.at - first).unwrap_or(u64::MAX),
        hash: line.hash,
        idempotent: line.idempotent,
    };
    lines.iter().map(arrival).collect()
}

/// A line of `format = "json"`; other keys do not matter.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    client: Cow<'a, str>,
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    path: Cow<'a, str>,
    #[serde(borrow, default)]
    upstream: Option<Cow<'a, str>>,
}

fn json(line: &[u8], want: Want<'_>) -> Result<Line, Not> {
    let entry: Json<'_> = serde_json::from_slice(line).map_err(|_| Not::Readable("no JSON object with time and client"))?;
    let at = OffsetDateTime::parse(&entry.time, &Rfc3339).map_err(|_| Not::Readable("its time is not of RFC 3339"))?;
    let upstream = entry.upstream.ok_or(Not::Ours)?;
    if want.upstream.is_some_and(|wanted| wanted != upstream) {
        return Err(Not::Ours);
    }
    Ok(Line {
        at: at.unix_timestamp_nanos(),
        coarse: false,
        hash: hash(want.hash_on, entry.client.as_bytes(), entry.path.as_bytes()),
        idempotent: is_idempotent(entry.method.as_bytes()),
    })
}

const COMBINED: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]");

fn combined(line: &[u8], want: Want<'_>) -> Result<Line, Not> {
    let wrong = || Not::Readable("neither JSON nor the combined format");
    let (client, rest) = split(line, b' ').ok_or_else(wrong)?;
    let (_, rest) = split(rest, b'[').ok_or_else(wrong)?;
    let (time, rest) = split(rest, b']').ok_or_else(wrong)?;
    let (_, rest) = split(rest, b'"').ok_or_else(wrong)?;
    let time = std::str::from_utf8(time).map_err(|_| wrong())?;
    let at = OffsetDateTime::parse(time, COMBINED).map_err(|_| Not::Readable("its time is not as in 14/Nov/2023:22:13:20 +0000"))?;
    let request = &rest[..end_of_string(rest).ok_or_else(wrong)?];
    // A request that could not be read is logged as "-": it reached no server.
    let (method, target) = split(request, b' ').ok_or(Not::Ours)?;
    let target = target.split(|byte| *byte == b' ').next().unwrap_or_default();
    Ok(Line {
        at: at.unix_timestamp_nanos(),
        coarse: true,
        hash: hash(want.hash_on, client, target),
        idempotent: is_idempotent(method),
    })
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = memchr::memchr(at, text)?;
    Some((&text[..position], &text[position + 1..]))
}

/// Where the quote is that ends a string. Apache writes a quote in it as `\"`.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

fn is_idempotent(method: &[u8]) -> bool {
    Method::from_bytes(method).is_ok_and(|method| idempotent(&method))
}

/// As the proxy would have hashed it.
fn hash(on: &HashOn, client: &[u8], target: &[u8]) -> u64 {
    if *on == HashOn::Path {
        return hash_key(Target::parse(&unescape(target)).forward());
    }
    match std::str::from_utf8(client).ok().and_then(|client| client.parse::<IpAddr>().ok()) {
        Some(address) => hash_address(address),
        None => hash_key(client),
    }
}

/// Every `\xNN` is that byte, as both formats have it; all else stands for itself.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let digits = rest.strip_prefix(b"\\x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_on(text: &str, upstream: Option<&str>, hash_on: &HashOn) -> Reading {
        read(text.as_bytes(), Want { upstream, hash_on }).expect("a slice can be read")
    }

    fn read_all(text: &str) -> Reading {
        read_on(text, None, &HashOn::ClientIp)
    }

    fn millis(reading: &Reading) -> Vec<u64> {
        reading.arrivals.iter().map(|arrival| arrival.at / 1_000_000).collect()
    }

    const JSON: &str = concat!(
        r#"{"time":"2023-11-14T22:13:20.042Z","request_id":"a","client":"192.0.2.7","method":"GET","path":"/users?page=1","status":200,"upstream":"users"}"#,
        "\n",
        r#"{"time":"2023-11-14T22:13:20.040Z","client":"192.0.2.8","method":"POST","path":"/users","status":201,"upstream":"users","server":"127.0.0.1:3001"}"#,
        "\n",
        r#"{"time":"2023-11-14T22:13:20.050Z","client":"192.0.2.7","method":"GET","path":"/users","status":200,"cache":"hit"}"#,
        "\n",
        r#"{"time":"2023-11-14T22:13:20.060Z","client":"192.0.2.7","method":"GET","path":"/x","status":200,"upstream":"others"}"#,
        "\n"
    );

    #[test]
    fn json_lines_come_in_the_order_of_their_times() {
        let reading = read_on(JSON, Some("users"), &HashOn::ClientIp);
        assert_eq!(millis(&reading), [0, 2]);
        assert_eq!((reading.elsewhere, reading.bad), (2, 0));
        let [post, get] = [&reading.arrivals[0], &reading.arrivals[1]];
        assert!(!post.idempotent && get.idempotent);
        assert_eq!(get.hash, hash_key(&[192, 0, 2, 7]));
        assert_eq!(read_all(JSON).arrivals.len(), 3, "without a name, every upstream counts");
    }

    #[test]
    fn combined_lines_of_one_second_are_spread_over_it() {
        let line =
            |time: &str, request: &str| format!("192.0.2.7 - ann [14/Nov/2023:22:13:{time}] \"{request}\" 200 512 \"-\" \"curl \\x22\"\n");
        let text = [
            line("20 +0000", "GET /a HTTP/1.1"),
            line("21 +0000", "GET /b HTTP/1.1"),
            line("21 +0000", "POST /c HTTP/1.1"),
            line("21 +0000", "-"),
        ]
        .concat()
            + "2001:db8::1 - - [14/Nov/2023:23:13:21 +0100] \"GET /a\\\"b HTTP/1.1\" 200 1\n"
            + "host.example - - [14/Nov/2023:22:13:21 +0000] \"GET /d HTTP/2.0\" 200 1 \"-\" \"-\"";
        let reading = read_all(&text);
        assert_eq!(millis(&reading), [0, 1000, 1250, 1500, 1750]);
        assert_eq!((reading.elsewhere, reading.bad), (1, 0));
        assert_eq!(reading.arrivals[4].hash, hash_key(b"host.example"));
    }

    #[test]
    fn bad_lines_are_counted_and_the_first_is_told() {
        let text =
            format!("{JSON}\n\nnonsense\n{{\"time\":\"now\",\"client\":\"a\"}}\n{{\"time\":1}}\n1.2.3.4 - - [x] \"GET / HTTP/1.1\"\n");
        let reading = read_all(&text);
        assert_eq!((reading.arrivals.len(), reading.bad), (3, 4));
        assert_eq!(reading.first_bad, Some((7, "neither JSON nor the combined format")));
        assert_eq!(read_all("").arrivals, []);
    }

    #[test]
    fn paths_are_hashed_as_the_proxy_does() {
        let text = r#"{"time":"2023-11-14T22:13:20Z","client":"a","method":"GET","path":"/a\\xFFb?x=1","upstream":"u"}"#;
        let reading = read_on(text, None, &HashOn::Path);
        assert_eq!(reading.arrivals[0].hash, hash_key(Target::parse(b"/a\xffb?x=1").forward()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..8), by_path: bool) {
            let on = if by_path { HashOn::Path } else { HashOn::ClientIp };
            let text = lines.join(&b'\n');
            let reading = read(&text[..], Want { upstream: None, hash_on: &on }).expect("a slice can be read");
            prop_assert!(reading.arrivals.len() as u64 + reading.bad + reading.elsewhere <= text.split(|byte| *byte == b'\n').count() as u64);
        }

        #[test]
        fn whatever_the_order_times_rise_from_0(seconds in proptest::collection::vec(0u32..60, 1..50)) {
            let text: String = seconds.iter().map(|s| format!("1.2.3.4 - - [14/Nov/2023:22:13:{s:02} +0000] \"GET / HTTP/1.1\" 200 1\n")).collect();
            let reading = read_all(&text);
            prop_assert_eq!(reading.arrivals.len(), seconds.len());
            prop_assert_eq!(reading.arrivals[0].at, 0);
            prop_assert!(reading.arrivals.windows(2).all(|pair| pair[0].at < pair[1].at));
        }
    }
}
