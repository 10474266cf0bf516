//! `lb purge`: takes stored responses of a running `lb` out, or marks them stale.

use std::process::ExitCode;

use clap::Args;
use hyper::{Method, StatusCode};

use super::client::{Admin, detail, failed};
use super::{AdminArgs, encoded, print};
use crate::admin::cache::Purged;

/// Arguments of `lb purge`.
#[derive(Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    what: What,
    /// Mark as stale instead of taking out: the next request has the origin asked again, and what is stored may still serve meanwhile or if
    /// that fails
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One URL with all its variants: http://api.example.com/users?page=2, or /users?page=2 on every host
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// The same
    #[arg(long = "url", value_name = "URL")]
    by_url: Option<String>,
    /// All URLs that begin so, written in the same two ways
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// All with this Cache-Tag, of every upstream
    #[arg(long)]
    tag: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

impl What {
    fn query(&self) -> String {
        match (self.url.as_ref().or(self.by_url.as_ref()), &self.prefix, &self.tag) {
            (Some(url), ..) => format!("url={}", encoded(url)),
            (_, Some(prefix), _) => format!("prefix={}", encoded(prefix)),
            (.., Some(tag)) => format!("tag={}", encoded(tag)),
            _ => format!("all={}", self.all),
        }
    }
}

/// Purges, and prints how many responses that were.
pub(super) fn run(args: &PurgeArgs) -> ExitCode {
    match purge(args) {
        Ok(Purged { purged }) => {
            let responses = if purged == 1 { "response" } else { "responses" };
            let done = if args.soft { "marked stale" } else { "taken out" };
            print(&format!("{purged} {responses} {done}\n"))
        }
        Err(code) => code,
    }
}

fn purge(args: &PurgeArgs) -> Result<Purged, ExitCode> {
    let admin = Admin::find(&args.admin)?;
    let soft = if args.soft { "&soft=true" } else { "" };
    let path = format!("/api/cache?{}{soft}", args.what.query());
    match admin.request(Method::DELETE, &path) {
        Ok((StatusCode::OK, body)) => serde_json::from_slice(&body)
            .map_err(|error| failed(&anyhow::anyhow!("the answer is not that of an lb of this version: {error}"))),
        Ok((_, body)) => Err(failed(&anyhow::anyhow!("{}", detail(&body)))),
        Err(error) => Err(failed(&error)),
    }
}
