//! The latencies as a picture: an SVG file that needs nothing else.
//!
//! Percentiles run to the right and time runs upwards, both on logarithmic axes: 90, 99 and 99.9 % stand at equal distances (as in the
//! plots of HdrHistogram), because what tells algorithms apart happens in the tail, which an even axis hides.

use std::fmt::Write;

use super::Outcome;
use super::units::show;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 600.0;
/// The part that has the curves: left, top, right, bottom.
const AREA: [f64; 4] = [80.0, 120.0, 760.0, 534.0];
/// Lines that there is room for below the title.
const LINES: usize = 4;
/// Colours that those who see few can tell apart (Okabe and Ito), and dashes for those who see none.
const STYLES: [(&str, &str); 8] = [
    ("#0072b2", ""),
    ("#d55e00", ""),
    ("#009e73", ""),
    ("#cc79a7", ""),
    ("#e69f00", "8 3"),
    ("#56b4e9", "8 3"),
    ("#000000", "8 3"),
    ("#999999", "3 3"),
];
/// Points of a curve for each factor of 10.
const POINTS: u32 = 60;

/// How a value becomes a place.
struct Axes {
    /// Powers of 10: how far the percentiles go, and the times at the bottom and at the top.
    tail: f64,
    low: f64,
    high: f64,
}

impl Axes {
    fn of(outcomes: &[Outcome]) -> Self {
        let requests = outcomes.iter().map(|outcome| outcome.latency.len()).max().unwrap_or(0);
        let ends = |share: f64| outcomes.iter().filter_map(move |outcome| outcome.quantile(share));
        let least = ends(0.0).fold(f64::INFINITY, f64::min).max(1e-6);
        let most = ends(1.0).fold(0.0, f64::max);
        let (least, most) = if most > 0.0 { (least, most) } else { (1e-3, 1.0) };
        let ticks: Vec<f64> = ticks().collect();
        let low = ticks.iter().rev().copied().find(|tick| *tick <= least).unwrap_or(1e-6);
        let high = ticks.iter().copied().find(|tick| *tick >= most && *tick > low).unwrap_or(1e5);
        Self {
            tail: libm::log10(requests as f64).clamp(2.0, 6.0),
            low: libm::log10(low),
            high: libm::log10(high),
        }
    }

    /// Where the percentile stands that this share of requests is beyond, given as a power of 10: 2 for 99 %.
    fn x(&self, power: f64) -> f64 {
        AREA[0] + (AREA[2] - AREA[0]) * power / self.tail
    }

    fn y(&self, seconds: f64) -> f64 {
        let part = (libm::log10(seconds.max(1e-6)) - self.low) / (self.high - self.low);
        AREA[3] - (AREA[3] - AREA[1]) * part
    }
}

/// 1, 2 and 5 microseconds, and so on, to a day.
fn ticks() -> impl Iterator<Item = f64> {
    (0..11).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * libm::pow(10.0, f64::from(power)) / 1e6))
}

/// Draws a curve for each of them. `about` is what was simulated, in a few lines.
pub fn svg(about: &str, outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_svg(&mut out, about, outcomes);
    out
}

fn write_svg(out: &mut String, about: &str, outcomes: &[Outcome]) -> std::fmt::Result {
    let axes = Axes::of(outcomes);
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">"#
    )?;
    writeln!(out, "<title>Simulated latency</title>")?;
    writeln!(out, r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##)?;
    let left = AREA[0];
    writeln!(
        out,
        r#"<text x="{left}" y="30" font-size="16" font-weight="bold">Simulated latency</text>"#
    )?;
    for (line, y) in about.lines().take(LINES).zip((50..).step_by(17)) {
        writeln!(
            out,
            r##"<text x="{left}" y="{y}" fill="#444444" font-size="12">{}</text>"##,
            escape(line.trim())
        )?;
    }
    grid(out, &axes)?;
    for (outcome, style) in outcomes.iter().zip(STYLES.iter().cycle()) {
        curve(out, &axes, outcome, *style)?;
    }
    legend(out, outcomes)?;
    writeln!(out, "</svg>")
}

fn grid(out: &mut String, axes: &Axes) -> std::fmt::Result {
    let [left, top, right, bottom] = AREA;
    writeln!(out, r##"<g stroke="#dddddd">"##)?;
    let percentiles = [
        (0.0, "0 %"),
        (libm::log10(2.0), "50 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (4.0, "99.99 %"),
        (5.0, "99.999 %"),
        (6.0, "99.9999 %"),
    ];
    let percentiles = percentiles.iter().filter(|(power, _)| *power <= axes.tail);
    let times: Vec<f64> = ticks()
        .filter(|tick| (axes.low - 1e-9..=axes.high + 1e-9).contains(&libm::log10(*tick)))
        .collect();
    for (power, _) in percentiles.clone() {
        let x = axes.x(*power);
        writeln!(out, r#"<line x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}"/>"#)?;
    }
    for time in &times {
        let y = axes.y(*time);
        writeln!(out, r#"<line x1="{left}" y1="{y:.1}" x2="{right}" y2="{y:.1}"/>"#)?;
    }
    writeln!(out, "</g>")?;
    for (power, label) in percentiles {
        let (x, y) = (axes.x(*power), bottom + 20.0);
        writeln!(out, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{label}</text>"#)?;
    }
    for time in &times {
        let (x, y) = (left - 8.0, axes.y(*time) + 4.5);
        writeln!(out, r#"<text x="{x}" y="{y:.1}" text-anchor="end">{}</text>"#, show(*time))?;
    }
    let (middle, below) = ((left + right) / 2.0, bottom + 48.0);
    writeln!(
        out,
        r#"<text x="{middle}" y="{below}" text-anchor="middle">percentile of the good answers</text>"#
    )?;
    let middle = (top + bottom) / 2.0;
    writeln!(
        out,
        r#"<text transform="translate(22 {middle}) rotate(-90)" text-anchor="middle">latency</text>"#
    )?;
    writeln!(
        out,
        r##"<rect x="{left}" y="{top}" width="{}" height="{}" fill="none" stroke="#444444"/>"##,
        right - left,
        bottom - top
    )
}

fn curve(out: &mut String, axes: &Axes, outcome: &Outcome, (colour, dash): (&str, &str)) -> std::fmt::Result {
    if outcome.latency.is_empty() {
        return Ok(());
    }
    write!(
        out,
        r#"<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round" stroke-dasharray="{}" points=""#,
        if dash.is_empty() { "none" } else { dash }
    )?;
    let steps = (axes.tail * f64::from(POINTS)) as u32;
    for step in 0..=steps {
        let power = f64::from(step) / f64::from(POINTS);
        let share = 1.0 - libm::pow(10.0, -power);
        let time = outcome.quantile(share).unwrap_or_default();
        write!(out, "{:.1},{:.1} ", axes.x(power), axes.y(time))?;
    }
    writeln!(out, r#""/>"#)
}

fn legend(out: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    let x = AREA[2] + 20.0;
    for ((n, outcome), (colour, dash)) in (0u32..).zip(outcomes).zip(STYLES.iter().cycle()) {
        let y = AREA[1] + 12.0 + 40.0 * f64::from(n);
        let dash = if dash.is_empty() { "none" } else { dash };
        writeln!(
            out,
            r#"<line x1="{x}" y1="{y}" x2="{}" y2="{y}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>"#,
            x + 28.0
        )?;
        let p99 = outcome
            .quantile(0.99)
            .map_or("no good answer".into(), |time| format!("p99 {}", show(time)));
        writeln!(
            out,
            r#"<text x="{}" y="{}">{}</text>"#,
            x + 36.0,
            y + 4.5,
            escape(outcome.algorithm)
        )?;
        writeln!(
            out,
            r##"<text x="{}" y="{}" fill="#666666" font-size="12">{p99}</text>"##,
            x + 36.0,
            y + 20.0
        )?;
    }
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
