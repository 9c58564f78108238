//! `/image` and `/_next/image`: one handler in four phases (parse and admit, find, compare, respond), two dialects.
//!
//! Invariant: a hit in memory is answered without waiting for anything, and the type sent is that of bytes we made or
//! checked; nothing of the origin's headers is passed on.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use super::client;
use super::error::{Dialect, Problem};
use super::headers::{self, CachePolicy};
use super::memo::{Fields, Identity, Order, Prepared};
use super::query::{self, Pairs};
use super::reply::Reply;
use super::{IMAGE, Live, NEXT, Settings, State, slices};
use crate::cache::{CacheStatus, Entry};
use crate::format::{Negotiated, negotiate};
use crate::imaging;
use crate::optimizer::{Outcome, Terms, Trail};
use crate::source::SourceUrl;
use crate::variant::FormatWish;

/// How long others may keep an image that is to be replaced by a better one when it is asked for again.
const INTERIM: Duration = Duration::from_secs(60);

/// `GET|HEAD /image`.
pub(super) async fn direct(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    answer(&request, &state, Dialect::Problem).await
}

/// `GET|HEAD /_next/image`.
pub(super) async fn next(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    answer(&request, &state, Dialect::Next).await
}

/// The answer to a request that was answered before, while its image is in memory.
pub(super) fn known(head: &RequestHead, state: &State) -> Option<(HttpResponse, Reply)> {
    let live = state.live();
    let dialect = match head.uri.path() {
        _ if head.method != Method::GET && head.method != Method::HEAD => return None,
        IMAGE => Dialect::Problem,
        path if path == live.settings.next_path => Dialect::Next,
        _ => return None,
    };
    let prepared = live.memo.get(&Identity::of(head, dialect)?)?;
    let Prepared { order, trail, fields } = &*prepared;
    let now = SystemTime::now();
    if order.passed.until.is_some_and(|until| until <= now) {
        return None;
    }
    let outcome = state.optimizer.look_up(&order.source, &order.wish, terms(dialect), Some(trail), now)?;
    if !may_have(order, &outcome) {
        return None;
    }
    Some(if trail.leads_to(&outcome) {
        respond(&head.headers, &live.settings, order, &outcome, fields)
    } else {
        keep(head, &live, order.clone(), &outcome)
    })
}

async fn answer(request: &HttpRequest, state: &State, dialect: Dialect) -> HttpResponse {
    let answer = async {
        headers::refuse_loop(request.headers())?;
        // Taken before the source is judged: what it is remembered with.
        let live = state.live_owned();
        let order = match dialect {
            Dialect::Problem => order_direct(request, state, &live.settings)?,
            Dialect::Next => order_next(request, state, &live.settings)?,
        };
        serve(request, state, &live, order).await
    };
    answer.await.unwrap_or_else(|problem: Problem| problem.respond(dialect, route(dialect)))
}

const fn route(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Problem => IMAGE,
        Dialect::Next => NEXT,
    }
}

/// Whose word counts for how long an image is used: on Next.js's path it is its configuration, as in Next.js.
const fn terms(dialect: Dialect) -> Terms {
    match dialect {
        Dialect::Problem => Terms::Origin,
        Dialect::Next => Terms::Operator,
    }
}

/// `/_next/image/`: Next.js redirects to the path without the slash, keeping the query.
pub(super) async fn slash(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let mut location = state.live().settings.next_path.clone();
    if let Some(query) = request.uri().query() {
        location.extend(["?", query]);
    }
    let mut response = HttpResponse::build(StatusCode::PERMANENT_REDIRECT).body(location.clone());
    response.headers_mut().insert(header::LOCATION, headers::value(location));
    Reply::new(NEXT).on(response)
}

fn order_direct(request: &HttpRequest, state: &State, settings: &Settings) -> Result<Order, Problem> {
    let raw = request.uri().query().unwrap_or_default();
    let pairs = Pairs::parse(raw).map_err(Problem::invalid)?;
    let path = request.uri().path();
    let accepted = accepted(request, settings);
    let asked = query::direct(&pairs, path, raw, &settings.sizes, accepted, SystemTime::now());
    let query::Asked { url, wish, passed } = asked.map_err(Problem::invalid)?;
    let dialect = Dialect::Problem;
    let source = state.policy.admit(url).map_err(|refusal| Problem::refused(&refusal, url, dialect))?;
    Ok(Order { source, wish, dialect, passed })
}

fn order_next(request: &HttpRequest, state: &State, settings: &Settings) -> Result<Order, Problem> {
    let raw = request.uri().query().unwrap_or_default();
    let pairs = Pairs::parse(raw).map_err(Problem::invalid)?;
    let (path, signing) = (request.uri().path(), &settings.sizes.signing);
    let passed = query::admit(&pairs, path, raw, signing, SystemTime::now()).map_err(Problem::invalid)?;
    let admit = |url: &str| state.policy.admit(url);
    let asked = query::next(&pairs, &settings.sizes, accepted(request, settings), admit);
    let query::NextAsked { source, wish } = asked.map_err(Problem::next)?;
    Ok(Order { source, wish, dialect: Dialect::Next, passed })
}

fn accepted(request: &HttpRequest, settings: &Settings) -> Negotiated {
    let mut fields = request.headers().get_all(header::ACCEPT).filter_map(|field| field.to_str().ok());
    let mut accept = fields.next().map(Cow::Borrowed);
    for more in fields {
        // Several lines are one list (RFC 9110 §5.3).
        accept = accept.map(|list| Cow::Owned(format!("{list},{more}")));
    }
    negotiate(accept.as_deref(), &settings.formats)
}

async fn serve(request: &HttpRequest, state: &State, live: &Live, order: Order) -> Result<HttpResponse, Problem> {
    let terms = terms(order.dialect);
    let refuse = |outcome: &Outcome| {
        let error = imaging::Error::NotDecoded { format: outcome.record.format };
        Problem::failed(&error.into(), &order.source, order.dialect)
    };
    if let Some(outcome) = state.optimizer.look_up(&order.source, &order.wish, terms, None, SystemTime::now()) {
        if !may_have(&order, &outcome) {
            return Err(refuse(&outcome));
        }
        let (response, reply) = keep(request.head(), live, order, &outcome);
        return Ok(reply.on(response));
    }
    let Settings { trusted_proxies, per_client, .. } = &live.settings;
    let client = client::of(request.head(), trusted_proxies);
    let _place = state.clients.take(client, *per_client).ok_or_else(Problem::too_many)?;
    let found = state.optimizer.image(&order.source, &order.wish, terms).await;
    let found = found.map_err(|error| Problem::failed(&error, &order.source, order.dialect))?;
    if !may_have(&order, &found) {
        return Err(refuse(&found));
    }
    let fields = fields(&live.settings, &order, &found.entry);
    let (response, reply) = respond(request.headers(), &live.settings, &order, &found, &fields);
    Ok(reply.on(response))
}

/// Whether whoever asks may have what was found: a source that is passed on as it is goes to clients of Next.js only,
/// whose optimizer does so too. `/image` promises pixels that were decoded here.
fn may_have(order: &Order, outcome: &Outcome) -> bool {
    order.dialect == Dialect::Next || !outcome.record.is_passed_on()
}

/// Answers with what was found, and keeps what the request came to.
fn keep(head: &RequestHead, live: &Live, order: Order, found: &Outcome) -> (HttpResponse, Reply) {
    let fields = fields(&live.settings, &order, &found.entry);
    let answer = respond(&head.headers, &live.settings, &order, found, &fields);
    // What stands in for another image is not what the request comes to.
    if found.instead.is_none()
        && let Some(identity) = Identity::of(head, order.dialect)
    {
        live.memo.put(&identity, Prepared { order, trail: Trail::to(found), fields });
    }
    answer
}

fn respond(
    request: &HeaderMap,
    settings: &Settings,
    order: &Order,
    outcome: &Outcome,
    prepared: &Fields,
) -> (HttpResponse, Reply) {
    let Outcome { entry, status, timings, .. } = outcome;
    let known = headers::is_known(request, &entry.etag);
    let mut response = if known {
        HttpResponse::new(StatusCode::NOT_MODIFIED)
    } else {
        HttpResponse::with_body(StatusCode::OK, slices::body(&entry.bytes))
    };
    let Fields { etag, disposition, tags } = prepared;
    let fields = response.headers_mut();
    fields.insert(header::ETAG, etag.clone());
    fields.insert(header::CACHE_STATUS, HeaderValue::from_static(status.header()));
    if matches!(order.wish.format, FormatWish::Negotiated(_)) {
        fields.insert(header::VARY, HeaderValue::from_static("Accept"));
    }
    if known {
        // A script that revalidates by CORS needs this one again.
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        headers::add_common(fields);
        tags.iter().for_each(|(name, tags)| drop(fields.insert(name.clone(), tags.clone())));
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(entry.format.mime()));
        fields.insert(header::CONTENT_DISPOSITION, disposition.clone());
        fields.insert(HeaderName::from_static("server-timing"), headers::server_timing(*status, timings));
        if order.dialect == Dialect::Next {
            fields.insert(HeaderName::from_static("x-nextjs-cache"), HeaderValue::from_static(next_cache(*status)));
        }
    }
    let reply = Reply::cached(route(order.dialect), policy(settings, order, outcome), *status);
    (response, reply.of(&order.source))
}

/// The fields that are the same each time an image is sent for a request.
fn fields(settings: &Settings, order: &Order, entry: &Entry) -> Fields {
    let attachment = settings.content_disposition_attachment;
    let disposition = match (order.dialect, order.source.file_name()) {
        (Dialect::Next, "") => headers::nameless_disposition(attachment),
        (_, segment) => headers::content_disposition(segment, entry.format.as_str(), attachment),
    };
    let tags = headers::tags(&settings.tag_fields, &order.source);
    Fields { etag: headers::value(entry.etag.clone()), disposition, tags }
}

const fn next_cache(status: CacheStatus) -> &'static str {
    match status {
        CacheStatus::Memory | CacheStatus::Redis => "HIT",
        CacheStatus::Stale => "STALE",
        CacheStatus::Miss | CacheStatus::Collapsed | CacheStatus::Bypass => "MISS",
    }
}

fn policy(settings: &Settings, order: &Order, outcome: &Outcome) -> CachePolicy {
    let policy = match order.dialect {
        _ if outcome.superseded => CachePolicy::MustRevalidate { max_age: Duration::ZERO },
        Dialect::Next if !outcome.record.storable => CachePolicy::PrivateNoStore,
        Dialect::Next if outcome.interim => CachePolicy::MustRevalidate { max_age: outcome.ttl.min(INTERIM) },
        Dialect::Next if is_build_media(&settings.next_path, &order.source) => CachePolicy::Immutable,
        Dialect::Next => CachePolicy::MustRevalidate { max_age: outcome.ttl },
        Dialect::Problem => {
            let limit = if outcome.interim { INTERIM } else { Duration::MAX };
            CachePolicy::of_source(&outcome.record, outcome.remaining.min(limit), !outcome.interim)
        }
    };
    // What is good until a time is kept by others until then.
    let policy = order.passed.remaining(SystemTime::now()).map_or(policy, |rest| policy.at_most(rest));
    policy.kept_by_nobody(settings.development)
}

/// Whether the source is a file that a Next.js build named after its content, under the app's base path.
fn is_build_media(next_path: &str, source: &SourceUrl) -> bool {
    let base_path = next_path.strip_suffix("/_next/image").unwrap_or_default();
    source.is_local()
        && source.path().strip_prefix(base_path).is_some_and(|path| {
            path.starts_with("/_next/static/media/") || path.starts_with("/_next/static/immutable/media/")
        })
}
