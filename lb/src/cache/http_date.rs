//! Dates as origins write them.
//!
//! The three forms of RFC 9110 §5.6.7, whose names are read in any case: some origins write `THU, 18 AUG 2050`, and to take what is plainly a date
//! for none would make the response stale. For the same reason the day of the week may be any. Everything else about the forms is strict.

use std::time::SystemTime;

/// The longest form, `Wednesday, 31-Dec-69 23:59:59 GMT`, with room.
const LONGEST: usize = 40;
/// How the days of the week begin.
const DAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// Reads a date; `None` where it is none.
pub(super) fn read(line: &[u8]) -> Option<SystemTime> {
    let line = line.trim_ascii();
    if let Some(date) = parse(line) {
        return Some(date);
    }
    let mut text = [0; LONGEST];
    let text = text.get_mut(..line.len())?;
    let mut before = b' ';
    for (to, &from) in text.iter_mut().zip(line) {
        *to = if before.is_ascii_alphabetic() {
            from.to_ascii_lowercase()
        } else {
            from.to_ascii_uppercase()
        };
        before = from;
    }
    if let Some(zone) = text.len().checked_sub(3).and_then(|at| text.get_mut(at..))
        && zone == b"Gmt"
    {
        zone.make_ascii_uppercase();
    }
    parse(text).or_else(|| on_some_day(text))
}

/// Reads it with whichever day of the week is right.
fn on_some_day(text: &mut [u8]) -> Option<SystemTime> {
    let (day, rest) = text.split_at_checked(3)?;
    if !DAYS.iter().any(|known| day == known.as_slice()) || !matches!(rest, [b',' | b' ', ..]) {
        return None;
    }
    DAYS.iter().find_map(|other| {
        text.get_mut(..3)?.copy_from_slice(*other);
        parse(text)
    })
}

fn parse(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_nothing_else_is() {
        let date = read(b"Thu, 18 Aug 2050 02:01:18 GMT");
        assert!(date.is_some());
        for same in [
            "THU, 18 AUG 2050 02:01:18 GMT",
            "thu, 18 aug 2050 02:01:18 gmt",
            "Thu, 18 Aug 2050 02:01:18 gMT",
            " Thursday, 18-AUG-50 02:01:18 GMT",
            "Thu Aug 18 02:01:18 2050",
            "Mon Aug 18 02:01:18 2050",
            "Fri, 18 Aug 2050 02:01:18 GMT",
        ] {
            assert_eq!(read(same.as_bytes()), date, "{same}");
        }
        for none in [
            "",
            "0",
            "Xxx, 18 Aug 2050 02:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT and a good deal more",
        ] {
            assert_eq!(read(none.as_bytes()), None, "{none}");
        }
    }
}
