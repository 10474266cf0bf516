//! Medians and ratios over the rounds.

use crate::case::Case;
use crate::measure::{Sample, median};
use crate::run::Bench;

/// The proxies that lb must be better than.
pub const RIVALS: [&str; 2] = ["nginx", "haproxy"];

/// The samples of a peer in a case, where there are any.
pub fn samples<'a>(bench: &'a Bench, case: Case, peer: &str) -> Option<&'a [Sample]> {
    let index = bench.peers.iter().position(|other| other.name() == peer)?;
    let (_, samples) = bench.results.iter().find(|(other, _)| *other == case)?;
    Some(samples[index].as_slice()).filter(|samples| !samples.is_empty())
}

/// The median of one figure.
pub fn of(bench: &Bench, case: Case, peer: &str, figure: fn(&Sample) -> f64) -> Option<f64> {
    Some(median(samples(bench, case, peer)?.iter().map(figure).collect()))
}

/// The median over the rounds of a figure beside the other peer's in the same round.
pub fn ratio(bench: &Bench, case: Case, peer: &str, other: &str, figure: fn(&Sample) -> f64) -> Option<f64> {
    let pairs = samples(bench, case, peer)?.iter().zip(samples(bench, case, other)?);
    Some(median(pairs.map(|(one, other)| figure(one) / figure(other)).collect()))
}

/// The median over the rounds of a peer's CPU time a request beside its own in another case, in the same round.
pub fn growth(bench: &Bench, case: Case, first: Case, peer: &str) -> Option<f64> {
    let pairs = samples(bench, case, peer)?.iter().zip(samples(bench, first, peer)?);
    Some(median(pairs.map(|(one, other)| one.cpu_us / other.cpu_us).collect()))
}

/// CPU time a request beside that of whichever rival needs less.
pub fn beside_the_better(bench: &Bench, case: Case, peer: &str, rivals: [&'static str; 2]) -> Option<f64> {
    let cpu = |rival: &&str| of(bench, case, rival, |sample| sample.cpu_us);
    let better = rivals
        .iter()
        .filter(|rival| cpu(rival).is_some())
        .min_by(|one, other| cpu(one).unwrap_or(f64::NAN).total_cmp(&cpu(other).unwrap_or(f64::NAN)))?;
    ratio(bench, case, peer, better, |sample| sample.cpu_us)
}
