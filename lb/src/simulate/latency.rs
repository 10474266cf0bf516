//! How long servers take: distributions of the time that one worker needs for one request.
//!
//! All of them are drawn by turning a uniform number into the quantile of that rank (Devroye, "Non-Uniform Random Variate Generation",
//! 1986), but for the lognormal, which takes two numbers (Box and Muller 1958). The functions of `libm` give the same result on every
//! machine, which those of the standard library do not promise.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::random::Draws;
use super::units::{duration, show};

/// The longest that one request may take a server: a day.
const LONGEST: f64 = 86_400.0;

/// A distribution of times. Seconds, all above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// Always the same.
    Constant(f64),
    /// Anything between the two alike.
    Uniform(f64, f64),
    /// Without memory, with this mean.
    Exponential(f64),
    /// What sums of many delays look like: the median, and the standard deviation of the logarithm.
    Lognormal(f64, f64),
    /// A heavy tail: the least, and how fast the tail falls (above 1, so that there is a mean).
    Pareto(f64, f64),
}

impl Latency {
    /// The expected time.
    pub fn mean(&self) -> Duration {
        let seconds = match *self {
            Self::Constant(time) | Self::Exponential(time) => time,
            Self::Uniform(low, high) => (low + high) / 2.0,
            Self::Lognormal(median, sigma) => median * libm::exp(sigma * sigma / 2.0),
            Self::Pareto(least, shape) => least * shape / (shape - 1.0),
        };
        Duration::from_secs_f64(seconds.min(LONGEST))
    }

    /// The same shape, stretched.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        match *self {
            Self::Constant(time) => Self::Constant(time * factor),
            Self::Uniform(low, high) => Self::Uniform(low * factor, high * factor),
            Self::Exponential(mean) => Self::Exponential(mean * factor),
            Self::Lognormal(median, sigma) => Self::Lognormal(median * factor, sigma),
            Self::Pareto(least, shape) => Self::Pareto(least * factor, shape),
        }
    }

    /// One time, in nanoseconds, at least 1.
    pub(super) fn draw(&self, draws: &mut Draws) -> u64 {
        let seconds = match *self {
            Self::Constant(time) => time,
            Self::Uniform(low, high) => low + (high - low) * draws.unit(),
            Self::Exponential(mean) => -mean * libm::log(draws.unit()),
            Self::Lognormal(median, sigma) => {
                let (radius, turn) = (libm::sqrt(-2.0 * libm::log(draws.unit())), draws.unit());
                median * libm::exp(sigma * radius * libm::cos(std::f64::consts::TAU * turn))
            }
            Self::Pareto(least, shape) => least * libm::pow(draws.unit(), -1.0 / shape),
        };
        ((seconds.min(LONGEST) * 1e9) as u64).max(1)
    }
}

impl fmt::Display for Latency {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Constant(time) => write!(f, "{}", show(time)),
            Self::Uniform(low, high) => write!(f, "uniform({}, {})", show(low), show(high)),
            Self::Exponential(mean) => write!(f, "exponential({})", show(mean)),
            Self::Lognormal(median, sigma) => write!(f, "lognormal({}, {sigma})", show(median)),
            Self::Pareto(least, shape) => write!(f, "pareto({}, {shape})", show(least)),
        }
    }
}

/// What an error says is due.
const EXPECTED: &str = "expected a latency: 10ms, uniform(5ms, 20ms), exponential(10ms), lognormal(10ms, 0.5) or pareto(5ms, 1.5)";

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{EXPECTED}; found {text:?}{why}");
        let text = text.trim();
        let Some((name, rest)) = text.split_once('(') else {
            return time(text).map(Self::Constant).ok_or_else(|| wrong(""));
        };
        let inside = rest.strip_suffix(')').ok_or_else(|| wrong(", without its closing parenthesis"))?;
        let arguments: Vec<&str> = inside.split(',').map(str::trim).collect();
        let first = arguments
            .first()
            .and_then(|first| time(first))
            .ok_or_else(|| wrong(": its first argument is no time above 0, such as 10ms"))?;
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        match (name.trim(), &arguments[1..]) {
            ("constant", []) => Ok(Self::Constant(first)),
            ("exponential", []) => Ok(Self::Exponential(first)),
            ("uniform", [high]) => match time(high) {
                Some(high) if high >= first => Ok(Self::Uniform(first, high)),
                _ => Err(wrong(": its second argument is no time that is not below the first")),
            },
            ("lognormal", [sigma]) => match number(sigma) {
                Some(sigma) if (0.0..=5.0).contains(&sigma) => Ok(Self::Lognormal(first, sigma)),
                _ => Err(wrong(
                    ": its second argument, the deviation of the logarithm, is not between 0 and 5",
                )),
            },
            ("pareto", [shape]) => match number(shape) {
                Some(shape) if shape > 1.0 => Ok(Self::Pareto(first, shape)),
                _ => Err(wrong(": its second argument, the shape, is not above 1: there would be no mean")),
            },
            ("constant" | "exponential", _) => Err(wrong(": it takes one argument")),
            ("uniform" | "lognormal" | "pareto", _) => Err(wrong(": it takes two arguments")),
            _ => Err(wrong("")),
        }
    }
}

/// A time above 0, in seconds.
fn time(text: &str) -> Option<f64> {
    duration(text).filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    const ALL: [&str; 5] = [
        "10ms",
        "uniform(5ms, 20ms)",
        "exponential(10ms)",
        "lognormal(10ms, 0.5)",
        "pareto(5ms, 2.5)",
    ];

    fn draws(latency: &Latency, n: u64) -> Vec<f64> {
        (0..n)
            .map(|n| latency.draw(&mut Draws::new(1, Purpose::Work, n)) as f64 / 1e9)
            .collect()
    }

    #[test]
    fn what_is_read_is_shown_as_it_was() {
        for text in ALL {
            assert_eq!(text.parse::<Latency>().map(|latency| latency.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("constant( 1.5ms )".parse(), Ok(Latency::Constant(0.0015)));
        assert_eq!("250us".parse(), Ok(Latency::Constant(0.000_25)));
    }

    #[test]
    fn what_is_none_says_what_is_due() {
        for (text, why) in [
            ("fast", "found \"fast\""),
            ("10", "found \"10\""),
            ("0ms", "found \"0ms\""),
            ("gauss(10ms)", "found \"gauss(10ms)\""),
            ("lognormal(10ms)", "it takes two arguments"),
            ("exponential(10ms, 2)", "it takes one argument"),
            ("lognormal(10, 0.5)", "no time above 0"),
            ("lognormal(10ms, x)", "between 0 and 5"),
            ("uniform(10ms, 5ms)", "not below the first"),
            ("pareto(10ms, 1)", "not above 1"),
            ("pareto(10ms, 2", "closing parenthesis"),
        ] {
            let error = text.parse::<Latency>().expect_err(text);
            assert!(
                error.starts_with("expected a latency: 10ms, ") && error.contains(why),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn draws_have_the_mean_that_is_said() {
        for text in ALL {
            let latency: Latency = text.parse().expect(text);
            let drawn = draws(&latency, 200_000).iter().sum::<f64>() / 200_000.0;
            let said = latency.mean().as_secs_f64();
            assert!((drawn / said - 1.0).abs() < 0.02, "{text}: {drawn} for {said}");
            let slow = latency.times(20.0);
            assert!((slow.mean().as_secs_f64() / said / 20.0 - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn draws_have_the_shape_that_is_said() {
        let quantile = |text: &str, share: f64| {
            let mut all = draws(&text.parse().expect(text), 100_000);
            all.sort_by(f64::total_cmp);
            all[(share * 100_000.0) as usize]
        };
        let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.05, "{found} for {expected}");
        near(quantile("lognormal(10ms, 0.5)", 0.5), 0.010);
        near(quantile("lognormal(10ms, 0.5)", 0.99), 0.010 * (0.5f64 * 2.326).exp());
        near(quantile("exponential(10ms)", 0.9), 0.010 * 10f64.ln());
        near(quantile("pareto(5ms, 2.5)", 0.99), 0.005 * 100f64.powf(0.4));
        near(quantile("uniform(5ms, 20ms)", 0.2), 0.008);
    }
}
