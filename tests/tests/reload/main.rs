//! A new configuration, all or nothing, without losing a request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod bad_files;
mod effects;
mod footprint;
mod listeners;
mod signals;
mod streams;

use lb_tests::origin::Origin;
use lb_tests::servers;

/// Everything to one origin, and a route that says which version of the file this is.
fn versioned(origin: &Origin, version: usize) -> String {
    let app = format!(
        "[upstreams.app]\nservers = [{}]\n\n[[routes]]\npath = \"/\"\nupstream = \"app\"\n",
        servers(&[origin.addr()])
    );
    format!("{app}\n[[routes]]\npath = \"/version\"\nrespond = {{ status = 200, body = \"{version}\", content_type = \"text/plain\" }}\n")
}
