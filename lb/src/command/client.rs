//! Talks to the admin address of a running `lb`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{AdminArgs, WRONG};

/// How long an answer may take. A reload resolves names and may take a while.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The admin address of a running `lb`.
pub(super) struct Admin {
    address: String,
    token: Option<String>,
}

impl Admin {
    /// From the arguments, or from the file.
    pub(super) fn find(args: &AdminArgs) -> Result<Admin, ExitCode> {
        if let Some(address) = &args.admin {
            return Ok(Admin {
                address: address.clone(),
                token: args.token.clone(),
            });
        }
        let config = super::load(&args.file.file)?;
        let Some(admin) = config.server.admin else {
            eprintln!(
                "lb: {} has admin = \"off\": expected an address there, or --admin ADDR",
                args.file.file.display()
            );
            return Err(ExitCode::from(WRONG));
        };
        let token = args.token.clone().or(admin.token.map(|token| token.0));
        Ok(Admin {
            address: admin.listen.to_string(),
            token,
        })
    }

    /// Sends one request and waits for the whole answer.
    pub(super) fn request(&self, method: Method, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        self.send(method, path, Bytes::new())
    }

    /// As [`Admin::request`], with a body of JSON.
    pub(super) fn post(&self, path: &str, body: &impl serde::Serialize) -> anyhow::Result<(StatusCode, Bytes)> {
        self.send(Method::POST, path, serde_json::to_vec(body)?.into())
    }

    fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match tokio::time::timeout(TIMEOUT, self.exchange(method, path, body)).await {
                Ok(answer) => answer,
                Err(_) => bail!("no answer from {} within {} s", self.address, TIMEOUT.as_secs()),
            }
        })
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let connecting = TcpStream::connect(&self.address).await;
        let stream =
            connecting.with_context(|| format!("no lb answers at {} (is it running? is this its admin address?)", self.address))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let answer = sender.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        if status == StatusCode::UNAUTHORIZED {
            bail!("{} wants a token: --token, LB_ADMIN_TOKEN or the file", self.address);
        }
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

/// What an error of the admin API says (RFC 9457).
pub(super) fn detail(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match value["detail"].as_str() {
        Some(detail) => detail.trim_end().to_string(),
        None => String::from_utf8_lossy(body).into_owned(),
    }
}

/// Says on standard error what went wrong.
pub(super) fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("lb: {error:#}");
    ExitCode::FAILURE
}
