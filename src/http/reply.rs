//! What a handler tells about its answer, what follows from that, and the middleware that sees to it.
//!
//! The law: [`conclude`], which every response passes once, is the only writer of `Cache-Control` (no-store unless a
//! handler names a policy), of the request's id, of the request metrics and of the request's log lines: one of access, and
//! one at warn where we or an origin failed. What a stranger did wrong is no warning.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody as _};
use actix_web::dev::{RequestHead, ResponseHead, ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, header};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::error::{Asker, Dialect, Problem};
use super::headers::CachePolicy;
use super::restraint::RESTRAINT;
use super::{IMAGE, NEXT, State, access};
use crate::cache::CacheStatus;
use crate::source::SourceUrl;
use crate::telemetry::{Label, Metrics, RequestLabels, RouteLabels};

/// Left in a response's extensions by its handler.
#[derive(Debug)]
pub(super) struct Reply {
    /// The route's pattern: a metric label.
    route: &'static str,
    policy: CachePolicy,
    cache: Option<CacheStatus>,
    source: Option<SourceUrl>,
    failure: Option<(Dialect, Problem)>,
}

impl Reply {
    /// An answer that nobody keeps.
    pub(super) const fn new(route: &'static str) -> Self {
        Self { route, policy: CachePolicy::NoStore, cache: None, source: None, failure: None }
    }

    /// An answer that came through the cache.
    pub(super) const fn cached(route: &'static str, policy: CachePolicy, cache: CacheStatus) -> Self {
        Self { route, policy, cache: Some(cache), source: None, failure: None }
    }

    /// The same, made from `source`.
    pub(super) fn of(self, source: &SourceUrl) -> Self {
        Self { source: Some(source.clone()), ..self }
    }

    /// An error.
    pub(super) const fn failed(route: &'static str, dialect: Dialect, problem: Problem) -> Self {
        Self { route, policy: CachePolicy::NoStore, cache: None, source: None, failure: Some((dialect, problem)) }
    }

    /// Leaves this with `response`.
    pub(super) fn on(self, mut response: HttpResponse) -> HttpResponse {
        response.extensions_mut().insert(self);
        response
    }
}

/// The middleware; both listeners wrap it around everything: `App::new().wrap(from_fn(http::observe))`.
///
/// # Errors
/// Those of actix itself, which it renders; handlers answer every error of ours.
pub async fn observe(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let (request, mut response) = next.call(request).await?.into_parts();
    let reply = response.extensions_mut().remove::<Reply>().unwrap_or(Reply::new("other"));
    let state = request.app_data::<web::Data<State>>();
    if let Some(((dialect, problem), state)) = reply.failure.as_ref().zip(state) {
        response = problem.tell(Asker::of(&request, state), *dialect, response);
    }
    let size = response.body().size();
    conclude(&reply, (response.head_mut(), size), request.head(), state.map(|state| &***state), started);
    Ok(ServiceResponse::new(request, response))
}

/// What follows from a handler's words: the rest of the response's head, what is counted and what is logged. `started`
/// is when the request's head was there.
pub(super) fn conclude(
    reply: &Reply,
    (head, size): (&mut ResponseHead, BodySize),
    request: &RequestHead,
    state: Option<&State>,
    started: Instant,
) {
    let id = access::id_of(&request.headers);
    head.headers.insert(header::CACHE_CONTROL, reply.policy.header());
    let elapsed = started.elapsed();
    let (route, status) = (reply.route, head.status.as_u16());
    let cache = reply.cache.map(CacheStatus::as_str);
    if let Some(state) = state {
        if state.draining.load(Ordering::Relaxed) {
            // The next request of this connection would find it closed.
            head.set_connection_type(ConnectionType::Close);
        }
        match state.tallies.of(reply, status) {
            Some(tally) => tally.count(elapsed),
            None => Tally::new(&state.metrics, route, status, cache.unwrap_or("none")).count(elapsed),
        }
    }
    let shown = id.to_str().unwrap_or_default();
    let failure = reply.failure.as_ref().map(|(_, problem)| problem);
    let more = failure.map_or(Some(0), |problem| RESTRAINT.admit(problem.code, Instant::now()));
    let line = more.map(|more| access::Line {
        request,
        id: shown,
        route,
        status,
        size,
        elapsed,
        cache,
        host: reply.source.as_ref().map(SourceUrl::host),
        failure,
        more: (more > 0).then_some(more),
    });
    if let Some(line) = line {
        line.write(state.is_some_and(|state| state.live().settings.access_log));
    }
    head.headers.insert(access::REQUEST_ID, id);
}

/// The metrics of one kind of answer.
struct Tally {
    requests: Counter,
    seconds: Histogram,
}

impl Tally {
    /// Both families are looked up under a read lock; only the first answer of its kind takes the write lock.
    fn new(metrics: &Metrics, route: &'static str, status: u16, cache: &'static str) -> Self {
        let labels = RequestLabels { route: Label(route), status, cache: Label(cache) };
        let requests = metrics.requests.get_or_create(&labels).clone();
        let labels = RouteLabels { route: Label(route), cache: Label(cache) };
        Self { requests, seconds: metrics.request_seconds.get_or_create(&labels).clone() }
    }

    fn count(&self, elapsed: Duration) {
        self.requests.inc();
        self.seconds.observe(elapsed.as_secs_f64());
    }
}

/// The metrics of hits in memory, found once: looking them up costs more than counting.
pub struct Tallies([Tally; 4]);

impl Tallies {
    const ROUTES: [&str; 2] = [IMAGE, NEXT];
    const STATUSES: [u16; 2] = [200, 304];

    /// Finds them; they are shown from then on.
    pub fn new(metrics: &Metrics) -> Self {
        Self(std::array::from_fn(|at| {
            let (route, status) = (Self::ROUTES[at / 2], Self::STATUSES[at % 2]);
            Tally::new(metrics, route, status, CacheStatus::Memory.as_str())
        }))
    }

    fn of(&self, reply: &Reply, status: u16) -> Option<&Tally> {
        let route = Self::ROUTES.iter().position(|route| *route == reply.route)?;
        let status = Self::STATUSES.iter().position(|known| *known == status)?;
        (reply.cache == Some(CacheStatus::Memory)).then(|| &self.0[route * 2 + status])
    }
}
