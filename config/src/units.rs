//! Durations and sizes as they are written: a whole number and its unit.

use std::time::Duration;

/// Why a duration or size is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not start with a digit.
    #[error("start with a whole number")]
    NoNumber,
    /// It ends after the number.
    #[error("add a unit: {0}")]
    NoUnit(String),
    /// What follows the number is no unit.
    #[error("the units are {0}")]
    UnknownUnit(&'static str),
    /// There is something between number and unit.
    #[error("leave out the space")]
    Space,
    /// It has a fraction.
    #[error("use a smaller unit instead of a fraction")]
    Fraction,
    /// It is beyond what can be counted.
    #[error("at most {0}")]
    TooLarge(&'static str),
}

/// Units of durations, in milliseconds.
const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Ten years. Beyond any use, and far from what the clock's arithmetic overflows at.
const LONGEST: u64 = 3650 * 86_400_000;

/// Units of sizes, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
/// A size that still fits where lengths are signed.
const LARGEST: u64 = 1 << 60;

/// Reads `"250ms"`, `"2s"`, `"5m"`, `"1h"`, `"7d"`.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text, "s")?;
    let (_, factor) = DURATIONS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(UnitError::UnknownUnit("ms, s, m, h and d"))?;
    let millis = number
        .and_then(|number| number.checked_mul(*factor))
        .filter(|millis| *millis <= LONGEST);
    millis.map(Duration::from_millis).ok_or(UnitError::TooLarge("3650d"))
}

/// Reads `"512B"`, `"64KiB"`, `"10MB"` (10^7), `"1GiB"`.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text, "B")?;
    let (_, factor) = SIZES
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(UnitError::UnknownUnit("B, kB, MB, GB, TB, KiB, MiB, GiB and TiB"))?;
    number
        .and_then(|number| number.checked_mul(*factor))
        .filter(|bytes| *bytes <= LARGEST)
        .ok_or(UnitError::TooLarge("1048576TiB"))
}

/// Number and unit; the number is `None` beyond 64 bits.
fn split<'a>(text: &'a str, usual: &str) -> Result<(Option<u64>, &'a str), UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match unit {
        _ if number.is_empty() => Err(UnitError::NoNumber),
        "" => Err(UnitError::NoUnit(format!("\"{number}{usual}\""))),
        unit if unit.starts_with(char::is_whitespace) => Err(UnitError::Space),
        unit if unit.starts_with(['.', ',']) => Err(UnitError::Fraction),
        unit => Ok((number.parse().ok(), unit)),
    }
}

/// A duration as [`duration`] reads it, in the largest unit that needs no fraction.
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, DURATIONS).unwrap_or_else(|| "0s".into())
}

/// A size as [`size`] reads it, in the largest unit that needs no fraction.
pub fn show_size(bytes: u64) -> String {
    show(bytes, SIZES).unwrap_or_else(|| "0B".into())
}

fn show(number: u64, units: &[(&str, u64)]) -> Option<String> {
    let fits = units.iter().filter(|(_, factor)| number != 0 && number.is_multiple_of(*factor));
    fits.max_by_key(|(_, factor)| *factor)
        .map(|(unit, factor)| format!("{}{unit}", number / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_a_whole_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("5"), Err(UnitError::NoUnit("\"5s\"".into())));
        assert_eq!(duration("s"), Err(UnitError::NoNumber));
        assert_eq!(duration("-1s"), Err(UnitError::NoNumber));
        assert_eq!(duration(""), Err(UnitError::NoNumber));
        assert_eq!(duration("1.5s"), Err(UnitError::Fraction));
        assert_eq!(duration("2 s"), Err(UnitError::Space));
        assert!(matches!(duration("2sec"), Err(UnitError::UnknownUnit(_))));
        assert!(matches!(duration("3651d"), Err(UnitError::TooLarge(_))));
        assert!(matches!(duration("99999999999999999999s"), Err(UnitError::TooLarge(_))));
    }

    #[test]
    fn sizes_count_by_thousands_or_by_1024() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(size("1024"), Err(UnitError::NoUnit("\"1024B\"".into())));
        assert!(matches!(size("10mb"), Err(UnitError::UnknownUnit(_))));
        assert!(matches!(size("99999999TiB"), Err(UnitError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same(millis in 0..=LONGEST, bytes in 0..=LARGEST, factor in 0..DURATIONS.len()) {
            let millis = millis / DURATIONS[factor].1 * DURATIONS[factor].1;
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_them_panic(text in "\\PC*", digits in "[0-9]{0,25}[a-zA-Z]{0,3}") {
            let _ = (duration(&text), size(&text), duration(&digits), size(&digits));
        }
    }
}
