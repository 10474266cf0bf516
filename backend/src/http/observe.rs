//! Around every request: its ID, where it came from, its line in the log, its metrics, its span, and what all answers have in common.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{CONNECTION, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::{App, Peer, client, security};
use crate::error::Problem;
use crate::log::RequestLine;
use crate::trace::{self, FutureExt, RequestSpan, TraceId};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a request whose client went away before the answer has in the log, as in nginx.
const CLIENT_GONE: u16 = 499;

/// Says to `lb` that this server is about to leave.
const X_LB_DRAIN: HeaderName = HeaderName::from_static("x-lb-drain");

/// The outermost layer.
pub(super) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let mut entry = Entry::open(&app, &request);
    request.extensions_mut().insert(Client(entry.client));
    let version = request.version();
    let mut response = match &entry.span {
        Some(span) => next.run(request).with_context(span.context()).await,
        None => next.run(request).await,
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        entry.error = Problem::complete(&mut response, &entry.request_id);
    }
    security::add(response.headers_mut());
    if app.is_draining() {
        // So that a load balancer need not wait for its next check.
        response.headers_mut().insert(X_LB_DRAIN, HeaderValue::from_static("1"));
        if version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    entry.close(response.status());
    response
}

/// Who asked, as far as trusted proxies tell.
#[derive(Clone, Copy)]
pub(super) struct Client(pub(super) IpAddr);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = parts.extensions.get().copied();
        // Every request has passed `observe`.
        client.ok_or_else(|| Problem::internal("a request without a client".into()))
    }
}

/// A request under way. Its line is written and it is counted when this is dropped, whatever became of it.
struct Entry<'a> {
    app: &'a App,
    started: Instant,
    request_id: Cow<'static, str>,
    trace_id: Option<TraceId>,
    span: Option<RequestSpan>,
    client: IpAddr,
    method: Method,
    uri: Uri,
    route: Option<MatchedPath>,
    status: u16,
    error: Option<String>,
}

impl<'a> Entry<'a> {
    fn open(app: &'a App, request: &Request) -> Self {
        // Only requests that did not come through `Service` have no peer; there are none.
        let peer = request.extensions().get().map_or(IpAddr::from([0, 0, 0, 0]), |Peer(ip)| *ip);
        let headers = request.headers();
        let trusted = client::is_trusted(peer, &app.trusted_proxies);
        let given = headers
            .get(&X_REQUEST_ID)
            .filter(|_| trusted)
            .and_then(|id| id.to_str().ok())
            .filter(|id| is_sane(id));
        let client = if trusted {
            client::behind(peer, &app.trusted_proxies, headers)
        } else {
            peer
        };
        let route = request.extensions().get::<MatchedPath>().cloned();
        let parent = trace::parent(headers);
        let template = route.as_ref().map(MatchedPath::as_str);
        let span = app
            .tracer
            .as_ref()
            .map(|tracer| RequestSpan::begin(tracer, parent, request, template, client));
        Self {
            app,
            started: Instant::now(),
            request_id: given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned).into(),
            trace_id: span.as_ref().map(RequestSpan::trace_id).or(parent.map(|parent| parent.trace)),
            span,
            client,
            method: request.method().clone(),
            uri: request.uri().clone(),
            route,
            status: CLIENT_GONE,
            error: None,
        }
    }

    fn close(mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let route = self.route.as_ref().map(MatchedPath::as_str);
        self.app.metrics.request(&self.method, route, self.status, duration);
        if let Some(span) = &self.span {
            span.end(self.status, self.error.as_deref());
        }
        self.app.log.request(&RequestLine {
            request_id: &self.request_id,
            trace_id: self.trace_id,
            client: self.client,
            method: self.method.as_str(),
            path: self.uri.path(),
            status: self.status,
            duration,
            error: self.error.as_deref(),
        });
    }
}

/// Whether an ID of somebody else's may stand in the log and in an answer.
fn is_sane(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
