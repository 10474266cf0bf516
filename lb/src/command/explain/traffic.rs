//! What `lb explain` says of a route's `split`, `mirror` and `fault`.

use std::fmt::{Result, Write};
use std::net::IpAddr;

use lb_config::units::show_duration;
use lb_config::{Config, Fault, Mirror, Split};

use crate::route;

/// The shares of a split, and whose the client is. Which upstreams may get the request: the client's, or all.
pub(super) fn split(
    out: &mut String,
    config: &Config,
    split: &Split,
    client: Option<IpAddr>,
) -> std::result::Result<Vec<usize>, std::fmt::Error> {
    let shares = split.shares();
    if let [only] = shares {
        return Ok(vec![only.upstream]);
    }
    let name = |upstream: usize| &*config.upstreams[upstream].name;
    let total: f64 = shares.iter().map(|share| f64::from(share.weight)).sum();
    let percent = |weight| format!("{:.2}", f64::from(weight) / total * 100.0);
    let parts = shares.iter().map(|share| {
        let percent = percent(share.weight);
        let percent = percent.trim_end_matches('0').trim_end_matches('.');
        format!("{} {percent} %", name(share.upstream))
    });
    writeln!(out, "split      {}; by the client's address", parts.collect::<Vec<_>>().join(", "))?;
    let Some(client) = client else {
        writeln!(out, "           --client ADDRESS says which of them a client gets")?;
        return Ok(shares.iter().filter(|share| share.weight > 0).map(|share| share.upstream).collect());
    };
    let chosen = route::Split::new(split, name).choose(client, |_| true);
    writeln!(
        out,
        "           {client} gets {}; another one only while no server of it is up",
        name(chosen)
    )?;
    Ok(vec![chosen])
}

/// Who gets copies.
pub(super) fn mirror(out: &mut String, config: &Config, mirror: &Mirror) -> Result {
    let name = &config.upstreams[mirror.upstream].name;
    writeln!(
        out,
        "mirror     {} % of the requests that are forwarded go to {name} as well",
        mirror.percent
    )
}

/// What goes wrong on purpose.
pub(super) fn fault(out: &mut String, fault: &Fault) -> Result {
    let delay = fault.delay.map(|delay| format!("wait {}", show_duration(delay)));
    let abort = fault.abort.map(|status| format!("get {}", status.as_u16()));
    let what: Vec<String> = delay.into_iter().chain(abort).collect();
    writeln!(
        out,
        "fault      {} % of the requests {} (injected for a drill)",
        fault.percent,
        what.join(", then ")
    )
}
