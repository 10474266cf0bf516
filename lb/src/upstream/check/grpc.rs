//! `type = "grpc"`: whether a server says SERVING.
//!
//! The health checking protocol of gRPC: a call of `grpc.health.v1.Health/Check` with the name of a service, over HTTP/2, on a connection
//! of its own. A message is five bytes (0 for uncompressed, and its length) and then the protobuf; how the call went stands in
//! `grpc-status`, in the trailers, or in the head of an answer that has nothing else
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). The timeout is for all of it. No more than [`MAX_ANSWER`] is read.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use prost::Message;
use tokio::task::JoinSet;

use super::Secured;
use super::secured::SecuredHttp2;
use super::tcp::{connect, within};

/// Bytes of an answer. A good one has seven.
const MAX_ANSWER: usize = 4 << 10;
const CALL: &str = "/grpc.health.v1.Health/Check";
const GRPC_STATUS: &str = "grpc-status";

/// `HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    service: String,
}

/// `HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(enumeration = "Status", tag = "1")]
    status: i32,
}

/// `HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Status {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// See the module.
pub(super) struct GrpcCheck {
    service: Arc<str>,
    host: HeaderValue,
    /// The framed message.
    question: Bytes,
    tls: Option<SecuredHttp2>,
    timeout: Duration,
    rise: usize,
    fall: usize,
}

impl GrpcCheck {
    pub(super) fn new(check: &lb_config::HealthCheck, service: &Arc<str>, host: Option<&HeaderValue>, tls: Option<&Secured>) -> Self {
        let question = Question {
            service: service.to_string(),
        };
        Self {
            service: service.clone(),
            host: host.cloned().unwrap_or(HeaderValue::from_static("localhost")),
            question: framed(&question.encode_to_vec()),
            tls: tls.map(SecuredHttp2::new),
            timeout: check.timeout,
            rise: check.rise.get() as usize,
            fall: check.fall.get() as usize,
        }
    }

    async fn ask(&self, target: &Backend) -> pingora::Result<()> {
        let mut connection = connect(target).await?;
        if let Some(tls) = &self.tls {
            connection = tls.meet(connection).await?;
        }
        let beside = Beside::default();
        let _ended = Ends(&beside);
        let failed = |error: hyper::Error| Error::explain(ErrorType::H2Error, format!("HTTP/2 failed: {}", reason(&error)));
        let opened = http2::Builder::new(beside.clone()).handshake(TokioIo::new(connection));
        let (mut sender, driver) = opened.await.map_err(failed)?;
        beside.run(async {
            // Its error is that of the call, too.
            let _ = driver.await;
        });
        let answer = sender.send_request(self.request()?).await.map_err(failed)?;
        self.judge(answer).await
    }

    fn request(&self) -> pingora::Result<Request<Full<Bytes>>> {
        let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = Uri::builder().scheme(scheme).authority(self.host.as_bytes());
        let built = uri.path_and_query(PathAndQuery::from_static(CALL)).build().and_then(|uri| {
            Request::post(uri)
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(header::TE, "trailers")
                .header(header::USER_AGENT, "lb-health-check")
                // So that a server need not go on with what nobody waits for.
                .header("grpc-timeout", format!("{}m", self.timeout.as_millis().clamp(1, 99_999_999)))
                .body(Full::new(self.question.clone()))
        });
        built.map_err(|error| Error::explain(ErrorType::InternalError, format!("cannot ask this host: {error}")))
    }

    async fn judge(&self, answer: Response<Incoming>) -> pingora::Result<()> {
        let wrong = |why: String| Error::explain(ErrorType::InvalidHTTPHeader, why);
        if answer.status() != StatusCode::OK {
            return Err(wrong(format!("status {}, expected 200 and gRPC", answer.status().as_u16())));
        }
        let is_grpc = answer.headers().get(header::CONTENT_TYPE);
        if !is_grpc.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            return Err(wrong("the answer is not gRPC".into()));
        }
        let alone = answer.headers().get(GRPC_STATUS).is_some().then(|| answer.headers().clone());
        let (message, trailers) = read(answer.into_body()).await?;
        let ended = alone.or(trailers).unwrap_or_default();
        self.went_well(&ended).map_err(wrong)?;
        match serving(&message) {
            Some(Status::Serving) => Ok(()),
            Some(status) => Err(wrong(format!("status {}, expected SERVING", name(status)))),
            None => Err(wrong("the answer is no HealthCheckResponse".into())),
        }
    }

    /// What `grpc-status` says.
    fn went_well(&self, ended: &HeaderMap) -> Result<(), String> {
        let status = ended.get(GRPC_STATUS).ok_or("the call ended without a grpc-status")?;
        let status = status.to_str().unwrap_or_default();
        let detail = ended.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
        match status {
            "0" => Ok(()),
            "5" => Err(format!("SERVICE_UNKNOWN: the server has no service {:?}", self.service)),
            "12" => Err("the server does not implement grpc.health.v1.Health".into()),
            _ => Err(format!("grpc-status {status}: {detail}")),
        }
    }
}

#[async_trait]
impl HealthCheck for GrpcCheck {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        within(self.timeout, self.ask(target)).await
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { self.rise } else { self.fall }
    }
}

/// A message, uncompressed, with its length before it.
fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + message.len());
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}

/// The body and its trailers.
async fn read(mut body: Incoming) -> pingora::Result<(Vec<u8>, Option<HeaderMap>)> {
    let (mut message, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::explain(ErrorType::H2Error, format!("cannot read the answer: {}", reason(&error))))?;
        match frame.into_data() {
            Ok(data) if message.len() + data.len() > MAX_ANSWER => {
                return Error::e_explain(ErrorType::InvalidHTTPHeader, "the answer is longer than 4 KiB");
            }
            Ok(data) => message.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
        }
    }
    Ok((message, trailers))
}

/// What one framed message says; `None`: it is another.
fn serving(framed: &[u8]) -> Option<Status> {
    let (head, message) = framed.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let answer = Answer::decode(message).ok()?;
    // What a later version of the protocol may add is not SERVING.
    Some(Status::try_from(answer.status).unwrap_or(Status::Unknown))
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Unknown => "UNKNOWN",
        Status::Serving => "SERVING",
        Status::NotServing => "NOT_SERVING",
        Status::ServiceUnknown => "SERVICE_UNKNOWN",
    }
}

/// The innermost reason: hyper's own is "connection error".
fn reason(error: &hyper::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

/// What an HTTP/2 connection does beside the call. It ends with the check, whatever the server does.
#[derive(Clone, Default)]
struct Beside(Arc<Mutex<JoinSet<()>>>);

impl Beside {
    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Beside {
    fn execute(&self, task: F) {
        self.run(task);
    }
}

/// Ends it. The tasks hold what they run on, so nobody else would.
struct Ends<'a>(&'a Beside);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

#[cfg(test)]
mod tests;
