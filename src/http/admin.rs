//! What operators and orchestrators ask: health, readiness, metrics, the pages, and the description of all operations.
//!
//! Invariant: on the admin listener everything but the probes and the pages themselves, which hold no data, needs the bearer
//! token where one is configured and a name of ours where not; tokens are compared in constant time.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, web};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::{Dialect, Problem};
use super::reply::Reply;
use super::{ADMIN, State};
use crate::format::ImageFormat;
use crate::telemetry::{Exposition, Secret};

static PLAYGROUND: LazyLock<String> = LazyLock::new(|| with_token(include_str!("playground.html")));
static DASHBOARD: LazyLock<String> = LazyLock::new(|| with_token(include_str!("dashboard.html")));
/// The operations of both listeners, with the paths and the version of a default build.
const OPENAPI: &str = include_str!("openapi.json");
/// The playground shows images of any origin and asks the public listener; its code and style are in the page itself.
const PLAYGROUND_CSP: &str = "default-src 'none'; img-src * data: blob:; connect-src *; style-src 'unsafe-inline'; \
                              script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn answer(
    route: &'static str,
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<String>,
) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Reply::new(route).on(response)
}

/// `GET /healthz`: the process lives.
pub(super) async fn health() -> HttpResponse {
    answer("/healthz", StatusCode::OK, "application/json", r#"{"status":"ok"}"#)
}

/// `GET /readyz`: it can serve, with or without what it can do without. 503 once it drains, so that no new work is sent
/// here.
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    let redis = state.optimizer.shared_is_up();
    // One that answers and takes nothing (a full disk) is not well either.
    let arrives = state.recorder.as_ref().is_none_or(|recorder| recorder.arrives());
    let metadata = state.store.as_ref().map(|store| store.is_up() && arrives);
    let (status, word) = if state.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if redis == Some(false) || metadata == Some(false) {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ready")
    };
    let mut dependencies = serde_json::json!({ "memory": "ok" });
    for (name, up) in [("redis", redis), ("metadata", metadata)] {
        if let Some(up) = up {
            dependencies[name] = if up { "ok" } else { "degraded" }.into();
        }
    }
    let body = serde_json::json!({ "status": word, "dependencies": dependencies });
    answer("/readyz", status, "application/json", body.to_string())
}

/// `GET /metrics`.
pub(super) async fn metrics(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.optimizer.report();
    let accept = request.headers().get(header::ACCEPT).and_then(|field| field.to_str().ok());
    let format = Exposition::negotiate(accept.unwrap_or_default());
    answer("/metrics", StatusCode::OK, format.media_type(), state.metrics.exposition(format))
}

/// `GET /`: the page to look at.
pub(super) async fn playground() -> HttpResponse {
    page("/", &PLAYGROUND)
}

/// `GET /dashboard`: what the metadata store can tell.
pub(super) async fn dashboard() -> HttpResponse {
    page("/dashboard", &DASHBOARD)
}

/// A page with what asks for the token: a browser brings none by itself.
fn with_token(page: &str) -> String {
    page.replace("<!-- token.html is put here -->", include_str!("token.html"))
}

/// `GET /openapi.json`: both listeners' operations (OpenAPI 3.1).
pub(super) async fn openapi(state: web::Data<State>) -> HttpResponse {
    // A configured path is of letters, digits and `-._~/`, so it stands in JSON as it is.
    let document = OPENAPI.replace(super::NEXT, &state.live().settings.next_path);
    let document = document.replace("{version}", env!("CARGO_PKG_VERSION"));
    answer("/openapi.json", StatusCode::OK, "application/json", document)
}

fn page(route: &'static str, html: &'static str) -> HttpResponse {
    let mut response = answer(route, StatusCode::OK, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PLAYGROUND_CSP));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `GET /playground.json`: what the page must know of this service.
pub(super) async fn playground_data(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let live = state.live_owned();
    let sizes = &live.settings.sizes;
    let mut widths: Vec<u32> = sizes.widths().collect();
    widths.sort_unstable();
    widths.dedup();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let samples: Vec<_> =
        state.samples.iter().map(|sample| serde_json::json!({ "name": sample.name, "url": sample.url })).collect();
    let body = serde_json::json!({
        "publicUrl": public_url(state.public_address, host),
        "widths": widths,
        "qualities": sizes.qualities,
        "formats": ImageFormat::OUTPUTS.map(ImageFormat::as_str),
        "samples": samples,
    });
    answer("/playground.json", StatusCode::OK, "application/json", body.to_string())
}

/// Where a browser that reached this listener as `host` reaches the public one: an address of all interfaces is no
/// place to go to, so the name that worked is kept and the port changed.
fn public_url(address: SocketAddr, host: Option<&str>) -> String {
    if !address.ip().is_unspecified() {
        return format!("http://{address}");
    }
    let authority = host.and_then(|host| url::Url::parse(&format!("http://{host}/")).ok());
    let name = authority.as_ref().and_then(url::Url::host_str).unwrap_or("127.0.0.1");
    format!("http://{name}:{}", address.port())
}

/// Middleware of the admin listener: lets a request pass that brings the token, or, where none is configured, calls this
/// listener by a name that is ours and not for a page of another site.
pub(super) async fn authorise(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let live = request.app_data::<web::Data<State>>().map(|state| state.live_owned());
    let token = live.as_ref().and_then(|live| live.settings.admin_token.as_ref());
    let field = |name| request.headers().get(name);
    let problem = match token {
        Some(token) if bears(field(header::AUTHORIZATION), token) => None,
        Some(_) => Some(Problem::unauthorised()),
        None => {
            let others = live.as_ref().map_or(&[][..], |live| live.settings.admin_hosts.as_slice());
            // A browser never leaves it out, and browsers are whom this is about.
            let ours = field(header::HOST).is_none_or(|host| host.to_str().is_ok_and(|host| is_ours(host, others)));
            // What a page of another site asks for, it asks for a stranger.
            let foreign =
                field(header::HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site == "cross-site");
            (!ours || foreign).then(Problem::host_not_allowed)
        }
    };
    match problem {
        None => next.call(request).await,
        Some(problem) => Ok(request.into_response(problem.respond(Dialect::Problem, ADMIN))),
    }
}

/// Whether a `Host` field names this machine without asking a name server, or by a configured name: pages of rebound
/// names, which read what this listener tells, cannot.
fn is_ours(host: &str, others: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let named = |other: &String| name.eq_ignore_ascii_case(other);
    let local = name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
    local || name.parse::<IpAddr>().is_ok() || others.iter().any(named)
}

/// Whether an `Authorization` field is `Bearer` with this token (RFC 6750 §2.1).
fn bears(field: Option<&HeaderValue>, token: &Secret) -> bool {
    let Some((scheme, given)) = field.and_then(|field| field.to_str().ok()).and_then(|text| text.split_once(' '))
    else {
        return false;
    };
    // Digests are of one length, so neither the length of the token nor a common prefix shows in the time.
    let (given, token) = (Sha256::digest(given.trim()), Sha256::digest(token.expose()));
    scheme.eq_ignore_ascii_case("bearer") && bool::from(given.as_slice().ct_eq(token.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn addresses_loopback_and_configured_names_are_ours() {
        let others = ["admin.example".to_owned()];
        for host in
            ["127.0.0.1:8081", "[::1]:8081", "localhost", "LOCALHOST:1", "10.0.0.7", "a.localhost", "Admin.example:1"]
        {
            assert!(is_ours(host, &others), "{host}");
        }
        for host in
            ["", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "[evil]:1", "x.admin.example"]
        {
            assert!(!is_ours(host, &others), "{host}");
        }
    }
}
