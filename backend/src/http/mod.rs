//! HTTP: the routes, and what all of them have in common.
//!
//! Every answer, also one of the router itself, passes [`observe`], which writes the bodies of errors, the security headers, the
//! request's line in the log and its metrics.

mod auth;
mod body;
mod caching;
mod caller;
mod client;
mod conditions;
mod cors;
mod docs;
mod health;
mod metrics;
mod number;
mod observe;
mod openapi;
mod probe;
mod query;
mod security;
mod stored;
mod users;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use ipnet::IpNet;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Auth;
use crate::cache::Cache;
use crate::error::Problem;
use crate::log::Log;
use crate::settings::{HttpSettings, Who};
use crate::store::{Note, Store};
use crate::trace::Tracer;
use caching::Caching;
use health::Probes;
use metrics::Metrics;

/// What the handlers work with.
pub struct App {
    store: Arc<dyn Store>,
    probes: Probes,
    /// In Redis, where there is one.
    cache: Option<Arc<Cache>>,
    who: Who,
    /// Where nobody has to log in, it may be that nobody can.
    auth: Option<Auth>,
    caching: Caching,
    cors: Option<tower_http::cors::CorsLayer>,
    trusted_proxies: Vec<IpNet>,
    metrics: Metrics,
    /// Where spans are exported.
    tracer: Option<Tracer>,
    log: Log,
    draining: AtomicBool,
}

impl App {
    /// Puts it together; connects to nothing.
    pub fn new(store: Arc<dyn Store>, auth: Option<Auth>, cache: Option<Arc<Cache>>, settings: &HttpSettings, log: Log) -> Self {
        Self {
            store,
            probes: Probes::default(),
            cache,
            who: settings.who,
            auth,
            caching: Caching::new(settings.cache_ttl, settings.who),
            cors: cors::layer(&settings.cors),
            trusted_proxies: settings.trusted_proxies.clone(),
            metrics: Metrics::new(),
            tracer: None,
            log,
            draining: AtomicBool::new(false),
        }
    }

    /// The same, with a span for each request.
    #[must_use]
    pub fn traced(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// From now on `/ready` answers 503, every answer says that this server leaves, and connections are closed after theirs.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A write is done: nobody may be shown what was before, once it is answered.
    async fn written(&self, note: Note) -> Result<(), Problem> {
        match &self.cache {
            Some(cache) => Ok(cache.written(note).await?),
            None => Ok(()),
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The routes, each as its handler describes it.
fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::replace, users::change, users::remove))
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::me))
}

/// The routes, and what all of them pass.
fn router(app: &Arc<App>) -> Router {
    let (routes, document) = routes().split_for_parts();
    let routes = routes
        .merge(docs::routes(openapi::text(document, app.who, app.auth.is_some())))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(CatchPanicLayer::new())
        .layer(from_fn(body::refuse_announced));
    let routes = match &app.cors {
        Some(cors) => routes.layer(cors.clone()),
        None => routes,
    };
    routes
        .layer(from_fn_with_state(Arc::clone(app), observe::observe))
        .with_state(Arc::clone(app))
}

/// The application as hyper sees it. A clone serves one connection.
#[derive(Clone)]
pub struct Service {
    router: Router,
    peer: Peer,
}

/// The other end of the connection.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

impl Service {
    /// Builds the routes.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            router: router(&app),
            peer: Peer(IpAddr::from([0, 0, 0, 0])),
        }
    }

    /// The same application, for a connection with `peer`.
    #[must_use]
    pub fn for_peer(&self, peer: IpAddr) -> Self {
        Self {
            router: self.router.clone(),
            peer: Peer(peer.to_canonical()),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        // A router is always ready.
        tower::Service::call(&mut self.router.clone(), request)
    }
}
