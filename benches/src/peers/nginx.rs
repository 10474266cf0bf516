//! nginx.

use std::fmt::Write;
use std::process::Command;

use super::{Job, Peer, Prepared, first_line};
use crate::case::Case;

/// nginx with one worker.
pub struct Nginx;

impl Peer for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn version(&self) -> String {
        first_line("nginx", "-v")
    }

    fn note(&self) -> &'static str {
        "one worker, `least_conn`, upstream keep-alive, the same forwarded headers as lb sends; the cache in memory-backed files with \
         `open_file_cache` and `sendfile off`, which is its faster way for small objects; 1 MiB \
         bodies without buffering, through 256 KiB, which is its cheapest way (buffers of 16 to 256 KiB, with \
         and without buffering, were tried); the access log with lb's keys as JSON, written in blocks of 64 KiB"
    }

    fn can(&self, case: Case) -> bool {
        // What it stores stands in files.
        !case.api() && case != Case::Stored
    }

    fn prepare(&self, job: &Job<'_>) -> anyhow::Result<Prepared> {
        let file = job.dir.join("nginx.conf");
        std::fs::write(&file, configuration(job)?)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file).arg("-p").arg(job.dir);
        Ok(Prepared::Ready(command))
    }
}

/// The same keys as lb writes.
const LOG_FORMAT: &str = r#"log_format json escape=json '{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr","method":"$request_method","scheme":"$scheme","host":"$http_host","path":"$request_uri","protocol":"$server_protocol","status":$status,"bytes_sent":$body_bytes_sent,"bytes_received":$request_length,"duration_ms":$request_time,"upstream":"$proxy_host","server":"$upstream_addr","upstream_ms":"$upstream_header_time","cache":"$upstream_cache_status","user_agent":"$http_user_agent"}';"#;

/// What was cheapest of several ways. Streaming as lb does costs half of what buffering does for a large body, and nothing for a small one.
fn buffers(case: Case) -> &'static str {
    if case == Case::Large {
        "proxy_buffering off; proxy_buffers 8 256k; proxy_buffer_size 256k; proxy_busy_buffers_size 256k;"
    } else {
        "proxy_max_temp_file_size 0;"
    }
}

fn configuration(job: &Job<'_>) -> anyhow::Result<String> {
    let (folder, port) = (job.dir.display(), job.port);
    let mut text = String::new();
    let connections = if job.case.crowded() { 15_000 } else { 4096 };
    write!(
        text,
        "worker_processes 1;\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/error crit;\nuser root;\n\
         events {{ worker_connections {connections}; multi_accept on; }}\n\
         http {{\n keepalive_requests 100000000;\n tcp_nodelay on;\n sendfile off;\n\
         client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         {}\n",
        buffers(job.case)
    )?;
    if job.case.logged() {
        writeln!(text, " {LOG_FORMAT}\n access_log {folder}/access.log json buffer=64k flush=1s;")?;
    } else {
        writeln!(text, " access_log off;")?;
    }
    if job.case.cached() {
        writeln!(
            text,
            " proxy_cache_path {folder}/cache keys_zone=c:64m max_size=512m inactive=1h use_temp_path=off;\n \
             open_file_cache max=20000 inactive=10m; open_file_cache_valid 10m;"
        )?;
    }
    writeln!(text, " upstream origins {{\n  least_conn;")?;
    for server in job.servers {
        writeln!(text, "  server {server};")?;
    }
    let tls = if job.case.tls() { " ssl" } else { "" };
    writeln!(
        text,
        "  keepalive 128; keepalive_requests 100000000;\n }}\n server {{\n  listen 127.0.0.1:{port}{tls} backlog=4096;"
    )?;
    if job.case.tls() {
        let (certificate, key) = (job.certificate.certificate.display(), job.certificate.key.display());
        writeln!(
            text,
            "  ssl_protocols TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {key};"
        )?;
    }
    let cache = if job.case.cached() {
        "proxy_cache c; proxy_cache_lock on; add_header cache-status $upstream_cache_status;"
    } else {
        ""
    };
    write!(
        text,
        "  location / {{\n\
         proxy_pass http://origins; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;\n\
         proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Request-ID $request_id; add_header X-Request-ID $request_id;\n\
         {cache}\n  }}\n }}\n}}\n"
    )?;
    Ok(text)
}
