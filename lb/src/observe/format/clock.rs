//! The date of a line. Most lines fall into the second of the line before, so a second is written out once and kept.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const ISO: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
const COMBINED: &[BorrowedFormatItem<'_>] = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// A second, written out in both forms. All times are in UTC.
#[derive(Default)]
pub(in crate::observe) struct Clock {
    second: Option<u64>,
    iso: String,
    combined: String,
}

impl Clock {
    /// Appends the time as RFC 3339 has it, to the millisecond.
    pub(super) fn iso(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let millis = self.turn_to(time);
        out.extend_from_slice(self.iso.as_bytes());
        let [hundreds, tens, ones] = [millis / 100 % 10, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8);
        out.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
    }

    /// Appends the time as the combined format has it.
    pub(super) fn combined(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        self.turn_to(time);
        out.extend_from_slice(self.combined.as_bytes());
    }

    /// Makes the kept second that of `time`; the milliseconds in it. A clock set before 1970 or beyond 9999 shows 1970.
    fn turn_to(&mut self, time: SystemTime) -> u32 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
            let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            self.iso = date.format(ISO).unwrap_or_default(); // fails only where a part of the date is missing
            self.combined = date.format(COMBINED).unwrap_or_default();
            self.second = Some(since.as_secs());
        }
        since.subsec_millis()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn iso(clock: &mut Clock, millis: u64) -> String {
        let mut out = Vec::new();
        clock.iso(UNIX_EPOCH + Duration::from_millis(millis), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_date_is_right_also_when_time_jumps_back() {
        let mut clock = Clock::default();
        assert_eq!(iso(&mut clock, 1_709_210_096_007), "2024-02-29T12:34:56.007Z");
        assert_eq!(iso(&mut clock, 1_709_210_096_999), "2024-02-29T12:34:56.999Z");
        assert_eq!(iso(&mut clock, 0), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_combined_form_is_that_of_nginx() {
        let mut out = Vec::new();
        Clock::default().combined(UNIX_EPOCH + Duration::from_secs(971_211_336), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "10/Oct/2000:20:55:36 +0000");
    }

    #[test]
    fn a_mad_clock_does_no_harm() {
        let mut clock = Clock::default();
        assert!(iso(&mut clock, u64::from(u32::MAX) * 1_000_000).starts_with("1970-"));
        let mut out = Vec::new();
        clock.iso(UNIX_EPOCH - Duration::from_secs(1), &mut out);
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }
}
