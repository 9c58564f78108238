//! What a handler tells the middleware about its answer, and the middleware, which every response passes.
//!
//! The law: the middleware is the only writer of `Cache-Control` (no-store unless a handler names a policy), of the
//! request metrics and of the request's log lines: one at debug, and one at warn where there is a reason to tell.

use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};

use super::State;
use super::headers::CachePolicy;
use crate::cache::CacheStatus;
use crate::telemetry::{Label, RequestLabels, RouteLabels};

/// Left in a response's extensions by its handler.
#[derive(Debug)]
pub(super) struct Reply {
    /// The route's pattern: a metric label.
    route: &'static str,
    policy: CachePolicy,
    cache: Option<CacheStatus>,
    failure: Option<Failure>,
}

/// What the log is told of a failed request.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    /// Absent where the answer says it all.
    pub(super) reason: Option<Box<str>>,
    /// Without what may be secret in it.
    pub(super) source: Option<Box<str>>,
}

impl Reply {
    /// An answer that nobody keeps.
    pub(super) const fn new(route: &'static str) -> Self {
        Self { route, policy: CachePolicy::NoStore, cache: None, failure: None }
    }

    /// An answer that came through the cache.
    pub(super) const fn cached(route: &'static str, policy: CachePolicy, cache: CacheStatus) -> Self {
        Self { route, policy, cache: Some(cache), failure: None }
    }

    /// An error.
    pub(super) const fn failed(route: &'static str, failure: Failure) -> Self {
        Self { route, policy: CachePolicy::NoStore, cache: None, failure: Some(failure) }
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
    let mut response = next.call(request).await?;
    let reply = response.response_mut().extensions_mut().remove::<Reply>().unwrap_or(Reply::new("other"));
    response.headers_mut().insert(header::CACHE_CONTROL, reply.policy.header());

    let elapsed = started.elapsed();
    let (route, status) = (reply.route, response.status().as_u16());
    let cache = reply.cache.map_or("none", CacheStatus::as_str);
    if let Some(state) = response.request().app_data::<web::Data<State>>() {
        // Both families are looked up under a read lock; only the first request of its kind takes the write lock.
        let labels = RequestLabels { route: Label(route), status, cache: Label(cache) };
        state.metrics.requests.get_or_create(&labels).inc();
        let labels = RouteLabels { route: Label(route), cache: Label(cache) };
        state.metrics.request_seconds.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }
    tracing::debug!(route, status, cache, ?elapsed, method = %response.request().method(), "request");
    if let Some(Failure { code, reason: Some(reason), source }) = &reply.failure {
        let source = source.as_deref().unwrap_or_default();
        tracing::warn!(route, status, code, reason = &**reason, source, "request failed");
    }
    Ok(response)
}
