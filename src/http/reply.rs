//! What a handler tells about its answer, what follows from that, and the middleware that sees to it.
//!
//! Invariant: [`conclude`], which every response passes once, is the only writer of `Cache-Control` (no-store unless a
//! handler names a policy), of the request's id, of the request metrics and of the request's log lines: one of access, and
//! one at warn where we or an origin failed. What a stranger did wrong is no warning.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{RequestHead, ResponseHead, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::connections::{Busy, Connection};
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
    if let Some(connection) = request.conn_data::<Connection>() {
        response = response.map_body(|_, body| connection.follow(body));
    }
    let size = response.body().size();
    conclude(&reply, (response.head_mut(), size), request.head(), state.map(|state| &***state), started);
    if size == BodySize::Stream {
        response = told_at_its_end(response, reply, &request, started);
    }
    Ok(ServiceResponse::new(request, response))
}

fn told_at_its_end(response: HttpResponse, reply: Reply, request: &HttpRequest, started: Instant) -> HttpResponse {
    // From here on its body says whether it is at work.
    request.extensions_mut().remove::<Busy>();
    let (request, status) = (request.clone(), response.status().as_u16());
    let id = response.headers().get(access::REQUEST_ID).cloned();
    let end = move |bytes| {
        let state = request.app_data::<web::Data<State>>().map(|state| &***state);
        let id = id.unwrap_or_else(|| HeaderValue::from_static(""));
        report(&reply, (status, BodySize::Sized(bytes)), request.head(), state, (started, &id));
    };
    response.map_body(|_, body| BoxBody::new(Told { body, bytes: 0, end: Some(Box::new(end)) }))
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
    if state.is_some_and(|state| state.draining.load(Ordering::Relaxed)) {
        // The next request of this connection would find it closed.
        head.set_connection_type(ConnectionType::Close);
    }
    if size != BodySize::Stream {
        report(reply, (head.status.as_u16(), size), request, state, (started, &id));
    }
    head.headers.insert(access::REQUEST_ID, id);
}

/// Counts and logs a request that is answered, or whose answer has ended.
fn report(
    reply: &Reply,
    (status, size): (u16, BodySize),
    request: &RequestHead,
    state: Option<&State>,
    (started, id): (Instant, &HeaderValue),
) {
    let elapsed = started.elapsed();
    let (route, cache) = (reply.route, reply.cache.map(CacheStatus::as_str));
    if let Some(state) = state {
        match state.tallies.of(reply, status) {
            Some(tally) => tally.count(elapsed),
            None => Tally::new(&state.metrics, route, status, cache.unwrap_or("none")).count(elapsed),
        }
    }
    let failure = reply.failure.as_ref().map(|(_, problem)| problem);
    let more = failure.map_or(Some(0), |problem| RESTRAINT.admit(problem.code, Instant::now()));
    let Some(more) = more else { return };
    let live = state.map(State::live);
    let line = access::Line {
        request,
        trusted: live.as_ref().map_or(&[], |live| &live.settings.trusted_proxies),
        id: id.to_str().unwrap_or_default(),
        route,
        status,
        size,
        elapsed,
        cache,
        host: reply.source.as_ref().map(SourceUrl::host),
        failure,
        more: (more > 0).then_some(more),
    };
    line.write(live.as_ref().is_some_and(|live| live.settings.access_log));
}

/// A body that is made while it is sent; what became of it is told when it ends.
struct Told<F: FnOnce(u64)> {
    body: BoxBody,
    bytes: u64,
    end: Option<F>,
}

impl<F: FnOnce(u64) + Unpin> MessageBody for Told<F> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(context);
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            self.bytes += piece.len() as u64;
        }
        polled
    }
}

impl<F: FnOnce(u64)> Drop for Told<F> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end(self.bytes);
        }
    }
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
