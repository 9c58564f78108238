//! The two listeners: routes, and the state that handlers share. The only room besides `app` that knows actix.
//!
//! Invariant: a handler names a policy and an outcome; `reply` writes what follows from them. Statuses and texts of
//! errors are in one table (`error`), and nothing below this room knows a status code.
#![expect(clippy::disallowed_types, reason = "this is the room that knows actix")]

mod access;
mod admin;
mod client;
mod connections;
mod document;
mod error;
mod front;
mod headers;
mod image;
mod live;
mod memo;
mod metadata;
mod placeholder;
mod placeholders;
mod purge;
pub mod query;
mod reply;
mod restraint;
mod slices;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::Handler;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{FromRequest, HttpResponse, Resource, Responder, guard, web};
use ipnet::IpNet;

pub use self::client::Clients;
pub use self::connections::Connections;
use self::error::{Dialect, Problem};
pub use self::front::front;
pub use self::live::{Live, LiveCell};
use self::reply::Reply;
pub use self::reply::{Tallies, observe};
use crate::format::ImageFormat;
use crate::maintenance::Maintenance;
use crate::optimizer::Optimizer;
use crate::source::LivePolicy;
use crate::store::{MetadataStore, Recorder};
use crate::telemetry::{Metrics, Secret};

/// Labels of routes. The Next.js path has one label wherever it is configured to be.
const IMAGE: &str = "/image";
const NEXT: &str = "/_next/image";
const PLACEHOLDER: &str = "/placeholder";
const PLACEHOLDERS: &str = "/placeholders";
/// What the admin listener refuses before its routes.
const ADMIN: &str = "admin";

/// A hundred URLs of the greatest length.
const MAX_DOCUMENT_BYTES: usize = 1_000_000;
const READS: &str = "GET, HEAD";
const POSTS: &str = "POST";
const POSTS_AND_PREFLIGHT: &str = "POST, OPTIONS";
const READS_AND_PREFLIGHT: &str = "GET, HEAD, OPTIONS";

/// The `[server]` section, with what of `[images]` is about requests and headers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the public listener is asked to be; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the admin listener is asked to be.
    pub admin_listen: SocketAddr,
    /// What admin requests must bear; configuration requires it where that listener is not on loopback.
    pub admin_token: Option<Secret>,
    /// Further names by which the admin listener may be called where there is no token.
    pub admin_hosts: Vec<String>,
    /// Networks of proxies whose word counts for who a client is.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests of one client at once that are not answered from the cache; zero: no bound.
    pub per_client: u32,
    /// Connections of one client at once; zero: half of all.
    pub connections_per_client: u32,
    /// Whether each request of the public listener is a line of the log.
    pub access_log: bool,
    /// Path of the Next.js endpoint, without a slash at its end.
    pub next_path: String,
    /// How long requests in flight may take once the process is asked to stop.
    pub shutdown_grace: Duration,
    /// How long `/readyz` answers 503 after SIGTERM while both listeners still serve.
    pub drain_delay: Duration,
    /// Whether developers ask, and not the public: reasons may be told to clients.
    pub development: bool,
    /// Which variants may be asked for.
    pub sizes: query::Sizes,
    /// Formats offered in negotiation, in order of preference.
    pub formats: Vec<ImageFormat>,
    /// Fields in which every image names the tags it can be purged by: `Cache-Tag`, `Surrogate-Key`.
    pub tag_fields: Vec<TagField>,
    /// Whether images are sent as downloads (`attachment`) instead of `inline`.
    pub content_disposition_attachment: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            admin_token: None,
            admin_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            per_client: 0,
            connections_per_client: 0,
            access_log: true,
            next_path: NEXT.into(),
            shutdown_grace: Duration::from_secs(30),
            drain_delay: Duration::from_secs(5),
            development: false,
            sizes: query::Sizes::default(),
            formats: vec![ImageFormat::Avif, ImageFormat::Webp],
            tag_fields: Vec::new(),
            content_disposition_attachment: false,
        }
    }
}

/// A field that names purge tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagField {
    /// Cloudflare, Akamai, Bunny: tags with commas between.
    CacheTag,
    /// Fastly, Varnish: tags with spaces between.
    SurrogateKey,
}

impl TagField {
    /// Both, with the names that they are configured by.
    pub const ALL: [(&str, Self); 2] = [("Cache-Tag", Self::CacheTag), ("Surrogate-Key", Self::SurrogateKey)];

    /// The field's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CacheTag => "Cache-Tag",
            Self::SurrogateKey => "Surrogate-Key",
        }
    }
}

/// An image that the playground offers.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is called.
    pub name: String,
    /// Its URL, allowed by the policy.
    pub url: String,
}

/// What handlers share.
pub struct State {
    /// The use case.
    pub optimizer: Arc<Optimizer>,
    /// Purges.
    pub maintenance: Arc<Maintenance>,
    /// The metadata store, where there is one.
    pub store: Option<Arc<dyn MetadataStore>>,
    /// What writes to it; told to end by whoever ends the service.
    pub recorder: Option<Arc<Recorder>>,
    /// Which sources are allowed.
    pub policy: Arc<LivePolicy>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// Settings of this room.
    pub live: LiveCell,
    /// Who is at work.
    pub clients: Clients,
    /// Images that the playground offers.
    pub samples: Vec<Sample>,
    /// Where the public listener really is.
    pub public_address: SocketAddr,
    /// Metrics of the answers that are given most.
    pub tallies: Tallies,
    /// Set once the process is asked to stop; readiness says so from then on.
    pub draining: AtomicBool,
}

impl State {
    /// From now on `/readyz` answers 503, so that no new work is sent here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// The routes of the public listener, for `App::configure`; wrap [`observe`] around that app.
pub fn public(state: &web::Data<State>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let state = state.clone();
    move |config| {
        // The path is a setting, which may change: a request is judged when it comes.
        let (with, without) = (state.clone(), state.clone());
        let slash = guard::fn_guard(move |at| path_of(at).strip_suffix('/') == Some(&with.live().settings.next_path));
        let next = guard::fn_guard(move |at| path_of(at) == without.live().settings.next_path);
        config
            .app_data(state)
            .service(cross_origin(IMAGE, image::direct))
            .service(cross_origin(PLACEHOLDER, placeholder::placeholder))
            .service(
                posts(PLACEHOLDERS, POSTS_AND_PREFLIGHT, Dialect::Problem, placeholders::placeholders)
                    .app_data(web::PayloadConfig::new(MAX_DOCUMENT_BYTES))
                    .route(web::method(Method::OPTIONS).to(|| async { preflight(PLACEHOLDERS, POSTS) })),
            )
            .service(reads("/healthz", "/healthz", Dialect::Problem, admin::health))
            .service(reads("/readyz", "/readyz", Dialect::Problem, admin::ready))
            .service(
                resource("/{path:.*}", NEXT, Dialect::Next, READS_AND_PREFLIGHT, image::next)
                    .route(web::method(Method::OPTIONS).to(|| async { preflight(NEXT, READS) }))
                    .guard(next),
            )
            .service(reads("/{path:.*}", NEXT, Dialect::Next, image::slash).guard(slash))
            .default_service(web::to(not_served));
    }
}

fn path_of<'a>(at: &'a guard::GuardContext<'_>) -> &'a str {
    at.head().uri.path()
}

/// The routes of the admin listener, for `App::configure`; wrap [`observe`] around that app.
pub fn admin(state: &web::Data<State>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let state = state.clone();
    move |config| {
        let problem = Dialect::Problem;
        let guarded = web::scope("")
            .wrap(from_fn(admin::authorise))
            .service(reads("/openapi.json", "/openapi.json", problem, admin::openapi))
            .service(reads("/playground.json", "/playground.json", problem, admin::playground_data))
            .service(reads("/metrics", "/metrics", problem, admin::metrics))
            .service(reads("/variants", "/variants", problem, metadata::variants))
            .service(reads("/sources", "/sources", problem, metadata::sources))
            .service(reads("/stats", "/stats", problem, metadata::stats))
            .service(posts("/purge", POSTS, problem, purge::purge))
            .default_service(web::to(not_found));
        config
            .app_data(state)
            .service(reads("/healthz", "/healthz", problem, admin::health))
            .service(reads("/readyz", "/readyz", problem, admin::ready))
            .service(reads("/", "/", problem, admin::playground))
            .service(reads("/dashboard", "/dashboard", problem, admin::dashboard))
            .service(guarded)
            .default_service(web::to(not_found));
    }
}

/// A resource that answers GET and HEAD, and 405 to everything else. HEAD is GET to its handler: actix sends the
/// length of the body and keeps the body back.
fn reads<F, Args>(path: &str, route: &'static str, dialect: Dialect, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    resource(path, route, dialect, READS, handler)
}

/// The same, and it answers the preflight request of a script on another origin (Fetch, CORS protocol).
fn cross_origin<F, Args>(route: &'static str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let preflight = web::method(Method::OPTIONS).to(move || async move { preflight(route, READS) });
    resource(route, route, Dialect::Problem, READS_AND_PREFLIGHT, handler).route(preflight)
}

/// A resource that takes POST, and answers 405 to everything else.
fn posts<F, Args>(route: &'static str, allow: &'static str, dialect: Dialect, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let refuse = move || async move { Problem::method_not_allowed(allow).respond(dialect, route) };
    web::resource(route).route(web::post().to(handler)).default_service(web::to(refuse))
}

fn resource<F, Args>(path: &str, route: &'static str, dialect: Dialect, allow: &'static str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let refuse = move || async move { Problem::method_not_allowed(allow).respond(dialect, route) };
    web::resource(path)
        .route(web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler))
        .default_service(web::to(refuse))
}

fn preflight(route: &'static str, methods: &'static str) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    Reply::new(route).on(response)
}

async fn not_served(state: web::Data<State>) -> HttpResponse {
    Problem::not_served(&state.live().settings.next_path).respond(Dialect::Problem, "other")
}

async fn not_found() -> HttpResponse {
    Problem::not_found().respond(Dialect::Problem, ADMIN)
}

#[cfg(test)]
mod tests;
