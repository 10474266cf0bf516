//! The small languages of the options. What is wrong is told with what was expected.

use std::num::NonZeroU32;
use std::ops::Range;
use std::str::FromStr;

use crate::simulate::Latency;
use crate::simulate::units::{duration, percent, rate};

/// Which servers an option is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// `*`.
    All,
    /// `3` or `3-5`, counted from 1, both ends included.
    Some(usize, usize),
}

impl Which {
    /// Their indices among so many.
    pub(super) fn of(self, servers: usize) -> Result<Range<usize>, String> {
        match self {
            Self::All => Ok(0..servers),
            Self::Some(from, to) if (1..=servers).contains(&from) && (from..=servers).contains(&to) => Ok(from - 1..to),
            Self::Some(from, to) => {
                let found = if from == to { from.to_string() } else { format!("{from}-{to}") };
                Err(format!("expected servers between 1 and {servers}, found {found}"))
            }
        }
    }

    /// What stands before the separator, and what stands after it.
    fn split(text: &str, separator: char) -> Option<(Self, &str)> {
        let (which, rest) = text.split_once(separator)?;
        let number = |text: &str| text.trim().parse().ok();
        let which = match which.split_once('-') {
            _ if which.trim() == "*" => Self::All,
            Some((from, to)) => Self::Some(number(from)?, number(to)?),
            None => Self::Some(number(which)?, number(which)?),
        };
        Some((which, rest.trim()))
    }
}

/// `--server N:KEY=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting(pub(super) Which, pub(super) Change);

/// What is different about a server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Latency(Latency),
    Workers(Workers),
    Weight(u32),
    MaxConnections(Option<NonZeroU32>),
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected N:latency=…, N:workers=…, N:weight=… or N:max_connections=… with a server's number (3), several (3-5) or all (*), found {text:?}"
            )
        };
        let (which, rest) = Which::split(text, ':').ok_or_else(wrong)?;
        let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
        let value = value.trim();
        let number = |most: u32| {
            let number = value.parse().ok().filter(|number| *number <= most);
            number.ok_or_else(|| format!("expected a whole number up to {most} after {key}=, found {value:?}"))
        };
        let change = match key.trim() {
            "latency" => Change::Latency(value.parse()?),
            "workers" => Change::Workers(value.parse()?),
            "weight" => Change::Weight(number(65_535)?),
            "max_connections" => Change::MaxConnections(NonZeroU32::new(number(u32::MAX)?)),
            _ => return Err(wrong()),
        };
        Ok(Self(which, change))
    }
}

/// `--workers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Workers(pub(super) Option<NonZeroU32>);

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        let number = text
            .parse()
            .map_err(|_| format!("expected a number above 0, or unlimited, found {text:?}"))?;
        Ok(Self(Some(number)))
    }
}

/// `--slow N:FACTORx`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slow(pub(super) Which, pub(super) f64);

impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = Which::split(text, ':');
        let found = parts.and_then(|(which, rest)| Some(Self(which, factor(rest)?)));
        found.ok_or_else(|| format!("expected a server and how many times slower it is, such as 1:20x, found {text:?}"))
    }
}

fn factor(text: &str) -> Option<f64> {
    let factor: f64 = text.strip_suffix('x')?.parse().ok()?;
    (factor > 0.0 && factor <= 1e6).then_some(factor)
}

/// `--fail N:PERCENT%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fail(pub(super) Which, pub(super) f64);

impl FromStr for Fail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = Which::split(text, ':');
        let found = parts.and_then(|(which, rest)| Some(Self(which, percent(rest).filter(|share| *share <= 1.0)?)));
        found.ok_or_else(|| format!("expected a server and the share of its answers that fail, such as 2:1%, found {text:?}"))
    }
}

/// `--down N@FROM..TO`; nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Down(pub(super) Which, pub(super) (u64, u64));

impl FromStr for Down {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Which::split(text, '@').and_then(|(which, rest)| {
            let (from, to) = rest.split_once("..")?;
            let (from, to) = (nanos(from)?, nanos(to)?);
            (from < to).then_some(Self(which, (from, to)))
        });
        found.ok_or_else(|| format!("expected a server and when it is down, such as 2@10s..20s, found {text:?}"))
    }
}

fn nanos(text: &str) -> Option<u64> {
    duration(text).map(|seconds| (seconds * 1e9).round() as u64)
}

/// `--rate`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rate {
    /// Requests a second.
    Number(f64),
    /// Of what the servers can do.
    Share(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = percent(text).filter(|share| *share > 0.0).map(Self::Share);
        share.or_else(|| rate(text).map(Self::Number)).ok_or_else(|| {
            format!("expected requests a second, such as 5000/s, or a share of what the servers can do, such as 50%, found {text:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_counted_from_1() {
        let slow = |text: &str| text.parse::<Slow>();
        assert_eq!(slow("1:20x"), Ok(Slow(Which::Some(1, 1), 20.0)));
        assert_eq!(slow("2-4: 1.5x"), Ok(Slow(Which::Some(2, 4), 1.5)));
        assert_eq!(slow("*:2x"), Ok(Slow(Which::All, 2.0)));
        assert_eq!((Which::Some(2, 4).of(5), Which::All.of(5)), (Ok(1..4), Ok(0..5)));
        for (which, found) in [(Which::Some(0, 0), "0"), (Which::Some(3, 6), "3-6"), (Which::Some(4, 2), "4-2")] {
            let expected = format!("expected servers between 1 and 5, found {found}");
            assert_eq!(which.of(5), Err(expected));
        }
    }

    #[test]
    fn settings_are_read() {
        let change = |text: &str| text.parse::<Setting>().map(|setting| setting.1);
        assert_eq!(change("3:latency=200ms"), Ok(Change::Latency(Latency::Constant(0.2))));
        assert_eq!(
            change("3:latency=uniform(1ms, 2ms)"),
            Ok(Change::Latency(Latency::Uniform(0.001, 0.002)))
        );
        assert_eq!(change("*:workers=4"), Ok(Change::Workers(Workers(NonZeroU32::new(4)))));
        assert_eq!(change("1:workers=unlimited"), Ok(Change::Workers(Workers(None))));
        assert_eq!(change("1-2:weight=3"), Ok(Change::Weight(3)));
        assert_eq!(change("1:max_connections=10"), Ok(Change::MaxConnections(NonZeroU32::new(10))));
        assert_eq!("2:1%".parse(), Ok(Fail(Which::Some(2, 2), 0.01)));
        assert_eq!("2@10s..20s".parse(), Ok(Down(Which::Some(2, 2), (10_000_000_000, 20_000_000_000))));
        assert_eq!(("70%".parse(), "5000/s".parse()), (Ok(Rate::Share(0.7)), Ok(Rate::Number(5000.0))));
    }

    #[test]
    fn errors_say_what_was_expected_and_found() {
        let said = |error: Result<(), String>, parts: [&str; 2]| {
            let error = error.expect_err("it is wrong");
            assert!(
                error.starts_with("expected ") && parts.iter().all(|part| error.contains(part)),
                "{error}"
            );
        };
        said("1:fast".parse::<Slow>().map(drop), ["1:20x", "\"1:fast\""]);
        said("1:-2x".parse::<Slow>().map(drop), ["1:20x", "\"1:-2x\""]);
        said("1:NaNx".parse::<Slow>().map(drop), ["1:20x", "\"1:NaNx\""]);
        said("a:1%".parse::<Fail>().map(drop), ["2:1%", "\"a:1%\""]);
        said("1:101%".parse::<Fail>().map(drop), ["2:1%", "\"1:101%\""]);
        said("1@20s..10s".parse::<Down>().map(drop), ["2@10s..20s", "20s..10s"]);
        said("fast".parse::<Rate>().map(drop), ["5000/s", "\"fast\""]);
        said("0".parse::<Workers>().map(drop), ["above 0", "\"0\""]);
        said("1:colour=red".parse::<Setting>().map(drop), ["N:latency=", "1:colour=red"]);
        said(
            "1:weight=heavy".parse::<Setting>().map(drop),
            ["whole number up to 65535", "\"heavy\""],
        );
        said("1:latency=fast".parse::<Setting>().map(drop), ["a latency: 10ms", "\"fast\""]);
    }
}
