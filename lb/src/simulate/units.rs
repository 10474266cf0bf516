//! Numbers with units, as the command line takes them and the tables show them.
//!
//! They are more generous than those of the configuration file: `1.5ms` and `250us` are times here, since servers are faster than timeouts.

/// The units of time, in seconds.
const TIMES: [(&str, f64); 5] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads `250us`, `1.5ms`, `2s`, `5m`, `1h`: seconds, 0 or more.
pub fn duration(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit)?;
    number_of(number).map(|number| number * factor)
}

/// Reads `5000/s`, `100/m`, `10/h`, or a number alone: a second, above 0.
pub fn rate(text: &str) -> Option<f64> {
    let (number, per) = match text.trim().split_once('/') {
        Some((number, "s")) => (number, 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((number, "h")) => (number, 3600.0),
        Some(_) => return None,
        None => (text, 1.0),
    };
    number_of(number).map(|number| number / per).filter(|rate| *rate > 0.0)
}

/// Reads `1%`: a share, 0 or more.
pub fn percent(text: &str) -> Option<f64> {
    number_of(text.trim().strip_suffix('%')?).map(|percent| percent / 100.0)
}

/// Digits, with a fraction or without.
fn number_of(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

/// A time with three digits in the unit that suits it: `850us`, `10.1ms`, `1.25s`, `180s`.
pub fn show(seconds: f64) -> String {
    let (number, unit) = match seconds {
        _ if seconds < 999.5e-6 => (seconds * 1e6, "us"),
        _ if seconds < 999.5e-3 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    format!("{}{unit}", digits(number))
}

/// Three digits, without zeros behind the point that say nothing.
pub fn digits(number: f64) -> String {
    let text = match number {
        _ if number < 9.995 => format!("{number:.2}"),
        _ if number < 99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rates_and_shares_are_read() {
        assert_eq!(duration("1.5ms"), Some(0.0015));
        assert_eq!(duration("2s"), Some(2.0));
        assert_eq!(duration("1h"), Some(3600.0));
        for bad in ["", "5", "ms", "-1s", "1e3s", "infs", "1 s", "1d", "..s", "1.2.3s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!((rate("5000/s"), rate("120/m"), rate("3")), (Some(5000.0), Some(2.0), Some(3.0)));
        for bad in ["", "0/s", "-1/s", "5/d", "x/s", "5%"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
        assert_eq!((percent("1%"), percent("0.5%"), percent("5")), (Some(0.01), Some(0.005), None));
    }

    #[test]
    fn times_are_shown_with_three_digits() {
        for (seconds, shown) in [
            (0.0, "0us"),
            (0.000_25, "250us"),
            (0.010_07, "10.1ms"),
            (0.2, "200ms"),
            (0.999_4, "999ms"),
            (0.999_9, "1s"),
            (1.254, "1.25s"),
            (181.0, "181s"),
        ] {
            assert_eq!(show(seconds), shown);
        }
    }
}
