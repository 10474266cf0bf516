//! Which bytes a `Range` asks for (RFC 9110 §14), as a pure function of the field and the body's length.
//!
//! What cannot be read, another unit than `bytes`, and a range that ends before it begins ask for nothing: the field is not heeded, and the
//! answer is whole (§14.2). Ranges that lie behind the end are left out; if all do, that is what the client is told (416).
//!
//! A few bytes of request must not make many of answer, as by "0-,0-,0-,…" of 2011 (CVE-2011-3192). So whatever is asked for, no byte is sent
//! twice: ranges that overlap, or lie so close that the head of a part costs more than the gap, become one. And nobody gets more than
//! [`MOST`] ranges: who asks for more gets the whole, which is cheaper to send.

use std::ops::Range;

/// Ranges of one request that are looked at.
const MOST: usize = 64;
/// A gap up to this is sent along: the head of another part takes about as much.
const GAP: u64 = 80;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything.
    Whole,
    /// These bytes, none empty, no two that overlap.
    Parts(Vec<Range<u64>>),
    /// Only what is not there.
    Nothing,
}

/// Reads a field for a body of that length.
pub(super) fn read(field: &[u8], length: u64) -> Asked {
    let Some(list) = field
        .get(..6)
        .filter(|unit| unit.eq_ignore_ascii_case(b"bytes="))
        .map(|_| &field[6..])
    else {
        return Asked::Whole;
    };
    // A client that always asks for a part gets what is there of an empty body: nothing, as a whole.
    if length == 0 {
        return Asked::Whole;
    }
    let mut parts = Vec::new();
    let mut seen = 0;
    for member in list
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
    {
        seen += 1;
        match spec(member, length) {
            Some(part) if seen <= MOST => parts.extend(Some(part).filter(|part| !part.is_empty())),
            _ => return Asked::Whole,
        }
    }
    match (seen, parts.is_empty()) {
        (0, _) => Asked::Whole,
        (_, true) => Asked::Nothing,
        _ => Asked::Parts(apart(parts)),
    }
}

/// `2-5`, `2-` or `-3`; empty if it lies behind the end. `None`: it is none.
fn spec(member: &[u8], length: u64) -> Option<Range<u64>> {
    let dash = member.iter().position(|&byte| byte == b'-')?;
    match (&member[..dash], &member[dash + 1..]) {
        (b"", last) => Some(length.saturating_sub(number(last)?)..length),
        (first, b"") => Some(number(first)?.min(length)..length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first.min(length)..last.saturating_add(1).min(length))
        }
    }
}

/// What is too large to be a number is larger than any body.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))),
    )
}

/// In the order in which they came, where no two are close to each other; else in the order of the body, with those made one.
fn apart(parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = parts.clone();
    sorted.sort_unstable_by_key(|part| part.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for part in sorted {
        match merged.last_mut() {
            Some(last) if part.start <= last.end.saturating_add(GAP) => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    if merged.len() == parts.len() { parts } else { merged }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(field: &str, length: u64) -> Vec<Range<u64>> {
        match read(field.as_bytes(), length) {
            Asked::Parts(parts) => parts,
            other => panic!("{field}: {other:?}"),
        }
    }

    #[test]
    fn one_range_is_read_in_its_three_forms() {
        assert_eq!(parts("bytes=2-5", 10), [2..6]);
        assert_eq!(parts("Bytes=2-", 10), [2..10]);
        assert_eq!(parts("bytes=-3", 10), [7..10]);
        assert_eq!(parts("bytes=-30", 10), [0..10]);
        assert_eq!(parts("bytes=9-99999999999999999999999", 10), [9..10]);
        assert_eq!(parts("bytes= 0-0 ,", 10), [0..1]);
    }

    #[test]
    fn what_is_not_there_is_nothing_and_what_is_beside_it_still_counts() {
        for field in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(read(field.as_bytes(), 10), Asked::Nothing, "{field}");
        }
        assert_eq!(parts("bytes=10-, 0-1", 10), [0..2]);
    }

    #[test]
    fn what_cannot_be_read_asks_for_nothing_in_particular() {
        for field in [
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=5",
            "bytes=5-2",
            "bytes=--1",
            "bytes=-",
            "bytes=1-2-3",
            "bytes=0-1,x",
            "lines=0-1",
            "bytes=+1-2",
            "bytes 0-1",
        ] {
            assert_eq!(read(field.as_bytes(), 10), Asked::Whole, "{field}");
        }
        assert_eq!(read(b"bytes=0-", 0), Asked::Whole);
    }

    #[test]
    fn several_keep_their_order_while_they_are_apart() {
        assert_eq!(parts("bytes=500-509,0-9", 1000), [500..510, 0..10]);
        assert_eq!(parts("bytes=500-509,0-9,5-20", 1000), [0..21, 500..510]);
        assert_eq!(parts("bytes=0-9,20-29", 1000), [0..30]);
    }

    #[test]
    fn many_are_not_worth_the_trouble() {
        let many = |count: u64| {
            format!(
                "bytes={}",
                (0..count)
                    .map(|at| format!("{}-{}", at * 1000, at * 1000))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        };
        assert_eq!(parts(&many(MOST as u64), 1 << 20).len(), MOST);
        assert_eq!(read(many(MOST as u64 + 1).as_bytes(), 1 << 20), Asked::Whole);
        assert_eq!(parts(&format!("bytes={}0-", "0-,".repeat(60)), 1000), [0..1000]);
    }

    proptest! {
        #[test]
        fn no_byte_is_sent_twice_and_every_byte_that_was_asked_for_is(
            length in 1_u64..2000, asked in proptest::collection::vec((0_u64..2500, 0_u64..2500), 1..20)
        ) {
            let list: Vec<_> = asked.iter().map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))).collect();
            let field = format!("bytes={}", list.join(","));
            let wanted = |at: u64| asked.iter().any(|(one, other)| (*one.min(other)..=*one.max(other)).contains(&at));
            match read(field.as_bytes(), length) {
                Asked::Whole => prop_assert!(false, "{} can be read", field),
                Asked::Nothing => prop_assert!((0..length).all(|at| !wanted(at))),
                Asked::Parts(parts) => {
                    prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                    for at in 0..length {
                        let times = parts.iter().filter(|part| part.contains(&at)).count();
                        prop_assert!(times <= 1 && (times == 1 || !wanted(at)), "{} of {}", at, field);
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(field in proptest::collection::vec(any::<u8>(), 0..40), length in any::<u64>()) {
            let field = [b"bytes=", &*field].concat();
            if let Asked::Parts(parts) = read(&field, length) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
            }
        }
    }
}
