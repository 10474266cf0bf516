//! Servers that come and go: by a real DNS server, and by files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod files;
mod names;
mod reloads;
mod services;

use std::net::SocketAddr;

use lb_tests::dns::Dns;
use lb_tests::lb::Lb;
use lb_tests::load::{Load, Running};
use lb_tests::origin::Origin;
use lb_tests::wait::until;
use serde_json::Value;

/// What everything here is about.
const NAME: &str = "app.internal";

/// An upstream `app` of what the name has, on the port of this origin, with these settings besides.
fn named(dns: &Dns, origin: &Origin, settings: &str) -> String {
    format!(
        "[upstreams.app]\nservers = [{{ address = \"dns://{NAME}:{}\", nameserver = \"{}\" }}]\n{settings}\n",
        origin.addr().port(),
        dns.addr()
    )
}

/// The name has the addresses of these.
fn set(dns: &mut Dns, origins: &[&Origin]) {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.addr().ip()).collect();
    dns.set(NAME, &addresses);
}

/// Waits until `app` has exactly these servers.
async fn wait_for_servers(lb: &Lb, origins: &[&Origin]) {
    let mut wanted: Vec<_> = origins.iter().map(|origin| origin.addr()).collect();
    wanted.sort();
    until(&format!("the servers are {wanted:?}"), async || {
        let mut now: Vec<SocketAddr> = lb
            .servers("app")
            .await
            .iter()
            .map(|server| server.address.parse().unwrap())
            .collect();
        now.sort();
        now == wanted
    })
    .await;
}

/// What `/api/status` says of where the servers of `app` come from.
async fn discovery(lb: &Lb) -> Value {
    let status = lb.status().await;
    let upstreams = status["upstreams"].as_array().unwrap();
    upstreams.iter().find(|upstream| upstream["name"] == "app").unwrap()["discovery"][0].clone()
}

async fn wait_for_failure(lb: &Lb) {
    until("a look has failed", async || discovery(lb).await["error"].is_string()).await;
}

/// A steady load from 64 connections, no request of which may fail.
fn load(lb: &Lb) -> Running {
    Load::new(lb.listen(), &["/"]).connections(64).start()
}

/// Waits until every one of these gets requests.
async fn wait_for_use(origins: &[&Origin]) {
    for origin in origins {
        origin.wait_for(origin.count() + 5).await;
    }
}
