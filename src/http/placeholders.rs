//! `POST /placeholders`: the placeholders of a page's images in one request, in order, each an object or an error,
//! sent as they are made.
//!
//! Invariant: a list costs no more at once than a few requests would; one bad image is its own error and nobody else's.

use std::convert::Infallible;
use std::time::SystemTime;

use actix_web::body::{BodyStream, BoxBody};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use serde_json::Value;

use super::client::{self, Client};
use super::document::Document as Body;
use super::error::{Dialect, Problem};
use super::headers;
use super::query::{self, Pairs};
use super::reply::Reply;
use super::{PLACEHOLDERS, Settings, State, placeholder};

/// Most URLs in one request.
const MAX_URLS: usize = 100;
/// Placeholders made at once for one request.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    urls: Vec<String>,
}

/// `POST /placeholders`.
pub(super) async fn placeholders(request: HttpRequest, Body(body): Body, state: web::Data<State>) -> HttpResponse {
    let answer = async {
        headers::refuse_loop(request.headers())?;
        serve(&request, body, &state).await
    };
    answer.await.unwrap_or_else(|problem| problem.respond(Dialect::Problem, PLACEHOLDERS))
}

async fn serve(
    request: &HttpRequest,
    body: Result<Bytes, Problem>,
    state: &web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let body = body?;
    let raw = request.uri().query().unwrap_or_default();
    let pairs = Pairs::parse(raw).map_err(Problem::invalid)?;
    let live = state.live_owned();
    let (path, signing) = (request.uri().path(), &live.settings.sizes.signing);
    query::admit_document(&pairs, (path, raw), &body, signing, SystemTime::now()).map_err(Problem::invalid)?;
    let invalid = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "urls_invalid", detail);
    let Document { urls } = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
    if urls.is_empty() || urls.len() > MAX_URLS {
        return Err(invalid(format!("urls must be a list of 1 to {MAX_URLS}, not of {}", urls.len())));
    }
    let Settings { trusted_proxies, per_client, .. } = &live.settings;
    let client = client::of(request.head(), trusted_proxies);
    let (limit, last) = (*per_client, urls.len() - 1);
    let at_once = if limit == 0 { AT_ONCE } else { AT_ONCE.min(limit as usize) };
    let state = web::Data::clone(state);
    let answers = stream::iter(urls).map(move |url| {
        let state = web::Data::clone(&state);
        async move { one(&url, &state, (client, limit)).await.to_string() }
    });
    // Each is sent when it and those before it are there: the first do not wait for the last.
    let pieces = answers.buffered(at_once).enumerate().map(move |(at, answer)| {
        let (before, after) = (if at == 0 { "[" } else { "," }, if at == last { "]" } else { "" });
        Ok::<_, Infallible>(Bytes::from(format!("{before}{answer}{after}")))
    });
    let body = if request.version() == Version::HTTP_10 {
        // Which has no way to send what has no length.
        let pieces: Vec<_> = pieces.filter_map(async |piece| piece.ok()).collect().await;
        BoxBody::new(Bytes::from(pieces.concat()))
    } else {
        BoxBody::new(BodyStream::new(pieces.boxed_local()))
    };
    let mut response = HttpResponse::with_body(StatusCode::OK, body);
    let fields = response.headers_mut();
    headers::add_common(fields);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Reply::new(PLACEHOLDERS).on(response))
}

async fn one(url: &str, state: &State, place: (Option<Client>, u32)) -> Value {
    let made = async {
        let dialect = Dialect::Problem;
        let source = state.policy.admit(url).map_err(|refusal| Problem::refused(&refusal, url, dialect))?;
        let known = placeholder::find(state, &source, place).await?;
        let src = if source.is_local() { url } else { source.expose() };
        let document = known.placeholder.document(src, &known.record.shape(), known.record.bytes);
        Ok::<_, Problem>(serde_json::to_value(document).unwrap_or_default())
    };
    made.await.unwrap_or_else(|problem| problem.of(url))
}
