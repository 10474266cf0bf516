//! The configuration as requests use it: every name resolved to a handle, every table built. Immutable; replaced whole by one atomic swap;
//! pinned by each request for as long as it lives.

use std::sync::Arc;
use std::time::Duration;

use lb_config::{Action, Config, HashOn, Template};

use crate::cache::Rules;
use crate::observe::metrics::NO_ROUTE;
use crate::observe::{AccessLog, Metrics, RouteMetrics, ServerMetrics, UpstreamMetrics};
use crate::route::{Router, Split};
use crate::tls::{Tls, UpstreamTls};
use crate::upstream::{Discovery, Registry, ResolveError, ResolvedUpstream, Server, Upstream, resolve};

/// See the [module](self).
pub struct Snapshot {
    /// What it was built from.
    pub config: Arc<Config>,
    /// Finds a request's route.
    pub router: Arc<Router>,
    /// In file order.
    pub routes: Arc<Vec<RouteState>>,
    /// In the order of their names.
    pub upstreams: Vec<UpstreamState>,
    /// Counts requests that no route took.
    pub unrouted: Arc<RouteMetrics>,
    /// Where requests are logged, if anywhere.
    pub access_log: AccessLog,
    /// Certificates, and whom to trust.
    pub tls: Arc<Tls>,
}

/// A route with its handles.
pub struct RouteState {
    /// As configured.
    pub config: lb_config::Route,
    /// Its counters.
    pub metrics: Arc<RouteMetrics>,
    /// Which of [`Snapshot::upstreams`] a request goes to; `None`: to none.
    pub split: Option<Split>,
    /// How its answers are cached; `None`: not at all.
    pub cache: Option<CacheState>,
}

/// How a route's answers are cached.
pub struct CacheState {
    /// What tells one object from another.
    pub key: Template,
    /// The URL as the client sees it, by which an operator purges; `None`: the key is just that.
    pub uri: Option<Template>,
    /// What is stored for how long.
    pub rules: Rules,
}

/// An upstream with its handles.
#[derive(Clone)]
pub struct UpstreamState {
    /// Its servers and their live state.
    pub upstream: Arc<Upstream>,
    /// Its counters.
    pub metrics: Arc<UpstreamMetrics>,
    /// Its servers' counters, in the order of the servers.
    pub servers: Vec<Arc<ServerMetrics>>,
    /// What is hashed for its balancing, if anything is.
    pub hash_on: Option<HashOn>,
    /// How its servers are met, where that is by TLS.
    pub tls: Option<Arc<UpstreamTls>>,
    /// Seconds after which a client that found no server may try again.
    pub retry_after: u32,
    /// Where its servers are, and how that is known.
    pub resolved: Arc<ResolvedUpstream>,
}

impl UpstreamState {
    fn new(
        config: &lb_config::Upstream,
        resolved: ResolvedUpstream,
        tls: Option<&Arc<UpstreamTls>>,
        registry: &Arc<Registry>,
        metrics: &Metrics,
    ) -> Self {
        let upstream = registry.build(config, &resolved, tls);
        Self {
            metrics: metrics.upstream(upstream.name()),
            servers: upstream
                .servers()
                .iter()
                .map(|server| metrics.server(upstream.name(), server.name()))
                .collect(),
            hash_on: config.balance.hash_on().cloned(),
            retry_after: retry_after(config),
            tls: tls.cloned(),
            upstream,
            resolved: Arc::new(resolved),
        }
    }

    /// The same upstream where its servers are by now; `None`: where they were.
    fn again(&self, registry: &Arc<Registry>, metrics: &Metrics) -> Option<Self> {
        let config = self.upstream.config();
        let resolved = self.resolved.again(config)?;
        let (added, removed) = resolved.differs(&self.resolved);
        let servers = resolved.len();
        tracing::info!(upstream = %config.name, ?added, ?removed, servers, "servers have changed");
        Some(Self::new(config, resolved, self.tls.as_ref(), registry, metrics))
    }

    /// The counters of one of its servers.
    pub fn of(&self, server: &Server) -> &ServerMetrics {
        &self.servers[self.upstream.position(server)]
    }
}

/// What of a snapshot had to be looked up before it could be built.
pub struct Resolved(Vec<ResolvedUpstream>);

/// Looks up the host names of all servers.
///
/// # Errors
/// Every name that could not be resolved, but for those that are looked up again while `lb` runs.
pub async fn resolve_all(config: &Config, discovery: &Arc<Discovery>) -> Result<Resolved, Vec<ResolveError>> {
    let results = futures::future::join_all(config.upstreams.iter().map(|upstream| resolve(upstream, discovery))).await;
    let (mut resolved, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(upstream) => resolved.push(upstream),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(Resolved(resolved)) } else { Err(errors) }
}

impl Snapshot {
    /// Builds a snapshot. Live state is found in `registry` and `metrics`, or made there; nothing is started or stopped.
    pub fn build(
        config: Config,
        tls: Arc<Tls>,
        Resolved(resolved): Resolved,
        registry: &Arc<Registry>,
        metrics: &Metrics,
        access_log: AccessLog,
    ) -> Snapshot {
        let upstreams: Vec<_> = config
            .upstreams
            .iter()
            .zip(resolved)
            .enumerate()
            .map(|(index, (config, resolved))| UpstreamState::new(config, resolved, tls.upstream(index), registry, metrics))
            .collect();
        let routes = config
            .routes
            .iter()
            .map(|route| RouteState {
                metrics: metrics.route(&route.name),
                split: match &route.action {
                    Action::Forward { split, .. } => Some(Split::new(split, |upstream| &*config.upstreams[upstream].name)),
                    _ => None,
                },
                cache: route.cache.as_ref().map(|cache| CacheState {
                    uri: (cache.key != Template::url()).then(Template::url),
                    key: cache.key.clone(),
                    rules: Rules::from(cache),
                }),
                config: route.clone(),
            })
            .collect();
        Snapshot {
            router: Arc::new(Router::new(&config.routes)),
            routes: Arc::new(routes),
            upstreams,
            unrouted: metrics.route(NO_ROUTE),
            access_log,
            tls,
            config: Arc::new(config),
        }
    }

    /// The same configuration where servers are by now; `None`: where they were. All that is as before is shared.
    pub fn again(&self, registry: &Arc<Registry>, metrics: &Metrics) -> Option<Snapshot> {
        let now: Vec<_> = self.upstreams.iter().map(|state| state.again(registry, metrics)).collect();
        if now.iter().all(Option::is_none) {
            return None;
        }
        let upstreams = now.into_iter().zip(&self.upstreams);
        Some(Snapshot {
            config: self.config.clone(),
            router: self.router.clone(),
            routes: self.routes.clone(),
            upstreams: upstreams.map(|(now, before)| now.unwrap_or_else(|| before.clone())).collect(),
            unrouted: self.unrouted.clone(),
            access_log: self.access_log.clone(),
            tls: self.tls.clone(),
        })
    }

    /// The upstreams' live parts.
    pub fn live(&self) -> Vec<Arc<Upstream>> {
        self.upstreams.iter().map(|state| state.upstream.clone()).collect()
    }
}

/// No server can come back sooner than a check, or the end of an ejection, brings it.
fn retry_after(upstream: &lb_config::Upstream) -> u32 {
    let next_look = match (&upstream.health_check, &upstream.passive_health) {
        (Some(check), _) => check.interval,
        (None, Some(passive)) => passive.eject,
        (None, None) => Duration::from_secs(1),
    };
    u32::try_from(next_look.as_secs()).unwrap_or(u32::MAX).clamp(1, 60)
}
