//! What the cache would do: the key, whether the request may be answered from the store, and whether its answer could be stored.

use std::fmt::Write;

use http::header::{AUTHORIZATION, RANGE};
use lb_config::{BypassOn, Route, RouteCache, Upstream};

use super::{Asked, text};
use crate::cache::Bypass;
use crate::cache::policy::admit;
use crate::cache::unkeyed::claims_place;
use crate::exchange::head::Fields;
use crate::filter;
use crate::route::{Target, render};

pub(super) fn cache(out: &mut String, route: &Route, upstreams: &[&Upstream], request: &Asked, target: &Target<'_>) -> std::fmt::Result {
    let Some(cache) = &route.cache else {
        return writeln!(out, "cache      off for this route");
    };
    let mut key = Vec::new();
    render(
        &cache.key,
        request.scheme,
        request.authority.as_bytes(),
        target.forward(),
        target.query(),
        &mut key,
    );
    let upstreams: Vec<&str> = upstreams.iter().map(|upstream| &*upstream.name).collect();
    writeln!(out, "cache      key {:?} in upstream {}", text(&key), upstreams.join(" or "))?;
    variant(out, cache, request)?;
    match (bypassed(cache, request), admit(request)) {
        (Some(on), _) => {
            return writeln!(
                out,
                "           the request goes past it, and its answer is not stored: {on}, as bypass_on says"
            );
        }
        (None, Err(why)) => {
            return writeln!(
                out,
                "           the request goes past it, and its answer is not stored: {}",
                bypass(why)
            );
        }
        (None, Ok(_)) => verdict(out, request)?,
    }
    unsent(out, cache, request)?;
    lifetime(out, cache)
}

/// What tells answers under one key apart.
fn variant(out: &mut String, cache: &RouteCache, request: &Asked) -> std::fmt::Result {
    for name in &cache.vary_on {
        match request.get(name) {
            Some(value) => writeln!(out, "           for {name}: {}", text(value))?,
            None => writeln!(out, "           for requests without {name}")?,
        }
    }
    Ok(())
}

fn bypassed(cache: &RouteCache, request: &Asked) -> Option<String> {
    cache.bypass_on.iter().find_map(|on| match on {
        BypassOn::Header(name) => request.get(name).map(|_| format!("it has the header {name}")),
        BypassOn::Cookie(name) => filter::cookie(request, name).map(|_| format!("it has the cookie {name}")),
    })
}

fn verdict(out: &mut String, request: &Asked) -> std::fmt::Result {
    writeln!(
        out,
        "           the request may be answered from the store, {}",
        match (
            request.method == http::Method::HEAD,
            request.get(&RANGE),
            request.get(&AUTHORIZATION)
        ) {
            (true, ..) => "by what GET has stored; its own answer is not stored, for it has no body",
            (_, Some(_), _) => "by a part of what is stored whole; where nothing is, its answer is not stored",
            (_, _, Some(_)) => "and its answer stored where the origin says public, s-maxage or must-revalidate: it has Authorization",
            _ => "and its answer stored where the origin allows it",
        }
    )
}

/// Fields that the origin is not sent.
fn unsent(out: &mut String, cache: &RouteCache, request: &Asked) -> std::fmt::Result {
    for (name, _) in request.iter() {
        let keyed = cache
            .vary_on
            .iter()
            .any(|keyed| name.eq_ignore_ascii_case(keyed.as_str().as_bytes()));
        if claims_place(name) && !keyed {
            writeln!(
                out,
                "           {} is not sent along: it could change the answer, and is no part of the key (vary_on)",
                text(name)
            )?;
        }
    }
    Ok(())
}

fn lifetime(out: &mut String, cache: &RouteCache) -> std::fmt::Result {
    let statuses: Vec<&str> = cache.statuses.iter().map(http::StatusCode::as_str).collect();
    match cache.ttl.map(|ttl| ttl.as_secs_f64()) {
        None => writeln!(
            out,
            "           fresh for as long as the origin says; where it says nothing, a tenth of the time since Last-Modified"
        ),
        Some(0.0) => writeln!(
            out,
            "           fresh for as long as the origin says; not stored where it says nothing"
        ),
        Some(ttl) => writeln!(
            out,
            "           fresh for as long as the origin says; where it says nothing, {ttl} s for {}",
            statuses.join(", ")
        ),
    }
}

fn bypass(why: Bypass) -> &'static str {
    match why {
        Bypass::Method => "its method is neither GET nor HEAD; if it succeeds and is not safe, what is stored for its URL is taken out",
        Bypass::Body => "it has a body",
        Bypass::Upgrade => "it wants another protocol",
        Bypass::Range => "it asks for a part",
        Bypass::Precondition => "it has a precondition that only the origin can tell",
        Bypass::NoStore => "it says no-store",
        Bypass::Ambiguous => "it claims another method, or hides fields from the origin",
        Bypass::HeadMiss => "it is a HEAD for which nothing is stored",
    }
}
