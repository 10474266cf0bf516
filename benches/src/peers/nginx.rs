//! nginx.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::{Peer, first_line};
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
        "one worker, `least_conn`, upstream keep-alive, the same forwarded headers as lb sends, no access log; the cache in memory-backed \
         files with `open_file_cache` and `sendfile off`, which is its faster way for small objects; buffers large enough that no body \
         touches a file"
    }

    fn can(&self, _case: Case) -> bool {
        true
    }

    fn command(&self, case: Case, port: u16, origins: &[u16], dir: &Path) -> anyhow::Result<Command> {
        let folder = dir.display();
        let mut text = String::new();
        write!(
            text,
            "worker_processes 1;\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/error crit;\nuser root;\n\
             events {{ worker_connections 4096; multi_accept on; }}\n\
             http {{\n access_log off;\n keepalive_requests 100000000;\n tcp_nodelay on;\n sendfile off;\n\
             client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             proxy_buffers 16 128k; proxy_buffer_size 16k; proxy_busy_buffers_size 512k; proxy_max_temp_file_size 0;\n\
             proxy_cache_path {folder}/cache keys_zone=c:64m max_size=512m inactive=1h use_temp_path=off;\n open_file_cache max=20000 inactive=10m; open_file_cache_valid 10m;\n\
             upstream origins {{\n  least_conn;\n"
        )?;
        for origin in origins {
            writeln!(text, "  server 127.0.0.1:{origin};")?;
        }
        let cache = if case.cached() {
            "proxy_cache c; proxy_cache_lock on; add_header cache-status $upstream_cache_status;"
        } else {
            ""
        };
        write!(
            text,
            "  keepalive 128; keepalive_requests 100000000;\n }}\n server {{\n  listen 127.0.0.1:{port} backlog=4096;\n  location / {{\n\
             proxy_pass http://origins; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
             proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;\n\
             proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Request-ID $request_id; add_header X-Request-ID $request_id;\n\
             {cache}\n  }}\n }}\n}}\n"
        )?;
        let file = dir.join("nginx.conf");
        std::fs::write(&file, text)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file).arg("-p").arg(dir);
        Ok(command)
    }
}
