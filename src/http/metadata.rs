//! What the metadata store can tell, on the admin listener: `/variants`, `/sources` and `/stats`.
//!
//! Invariant: a store that does not answer is said to be away and nothing more; why is for the log and `/readyz`. What stands
//! in the query of a source is often a signature: its values are told only to whoever asks for them.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::State;
use super::admin::answer;
use super::error::{Dialect, Problem};
use crate::store::{Cursor, Error, MetadataStore, Sort, SourceQuery, Stats};
use crate::telemetry::without_values;

const VARIANTS: &str = "/variants";
const SOURCES: &str = "/sources";
const STATS: &str = "/stats";
/// Most rows in one answer.
const MAX_LIMIT: u32 = 1_000;
/// Rows when no limit is named.
const LIMIT: u32 = 100;

/// `GET /variants?url=…&limit=…`: the variants of a source, the most used first.
pub(super) async fn variants(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let found = async {
        let [url, limit] = parameters(&request, ["url", "limit"])?;
        let url = url.filter(|url| !url.is_empty()).ok_or_else(|| invalid("url is required"))?;
        let key = state.policy.key_of(&url).map_err(|refusal| invalid(refusal.to_string()))?;
        let limit = limited(limit)?;
        store(&state)?.variants(key, limit).await.map_err(|error| away(&error))
    };
    respond(VARIANTS, found.await)
}

/// `GET /sources?sort=hits|bytes|recent&prefix=…&limit=…&cursor=…&values=true`: a page of sources.
pub(super) async fn sources(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let found = async {
        let [sort, prefix, limit, cursor, values] =
            parameters(&request, ["sort", "prefix", "limit", "cursor", "values"])?;
        let values = wants_values(values)?;
        let named =
            sort.map(|name| Sort::from_name(&name).ok_or_else(|| invalid("sort must be hits, bytes or recent")));
        let sort = named.transpose()?.unwrap_or_default();
        let cursor = cursor.map(|text| Cursor::from_text(&text, sort)).transpose();
        let cursor = cursor.map_err(|error| invalid(error.to_string()))?;
        if prefix.as_ref().is_some_and(|prefix| prefix.contains('\0')) {
            // No URL holds one, nor does PostgreSQL's text.
            return Err(invalid("prefix must not hold a zero octet"));
        }
        let query = SourceQuery { sort, prefix: prefix.unwrap_or_default(), limit: limited(limit)?, cursor };
        let mut page = store(&state)?.sources(query).await.map_err(|error| away(&error))?;
        if !values {
            page.sources.iter_mut().for_each(|source| hide_values(&mut source.url));
        }
        Ok(page)
    };
    respond(SOURCES, found.await)
}

/// The statistics, with what follows from them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    requests: u64,
    hits: u64,
    hit_ratio: Option<f64>,
    bytes_saved: u64,
    #[serde(flatten)]
    stats: Stats,
}

/// `GET /stats?values=true`: answers to what is usually asked.
pub(super) async fn stats(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let found = async {
        let [values] = parameters(&request, ["values"])?;
        let values = wants_values(values)?;
        let mut stats = store(&state)?.stats().await.map_err(|error| away(&error))?;
        if !values {
            stats.top_sources.iter_mut().for_each(|source| hide_values(&mut source.url));
            stats.unused.iter_mut().for_each(|variant| hide_values(&mut variant.url));
            stats.exceeding.iter_mut().for_each(|source| hide_values(&mut source.url));
        }
        let (requests, hits, hit_ratio) = (stats.requests(), stats.hits(), stats.hit_ratio());
        Ok(Told { requests, hits, hit_ratio, bytes_saved: stats.bytes_saved(), stats })
    };
    respond(STATS, found.await)
}

fn respond(route: &'static str, found: Result<impl Serialize, Problem>) -> HttpResponse {
    match found {
        // Serialising fails for maps with odd keys and for writers; this has neither.
        Ok(found) => {
            answer(route, StatusCode::OK, "application/json", serde_json::to_string(&found).unwrap_or_default())
        }
        Err(problem) => problem.respond(Dialect::Problem, route),
    }
}

fn store(state: &State) -> Result<&Arc<dyn MetadataStore>, Problem> {
    let off = || Problem::new(StatusCode::NOT_FOUND, "metadata_off", "metadata.url is empty: nothing is kept");
    state.store.as_ref().ok_or_else(off)
}

fn away(error: &Error) -> Problem {
    if matches!(error, Error::Cursor) {
        return invalid(error.to_string());
    }
    tracing::warn!(%error, "the metadata store was asked in vain");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "metadata_unavailable", "the metadata store does not answer now")
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "parameter_invalid", detail.into())
}

fn wants_values(text: Option<String>) -> Result<bool, Problem> {
    match text.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid("values must be true or false")),
    }
}

fn hide_values(url: &mut String) {
    *url = without_values(url);
}

fn limited(text: Option<String>) -> Result<u32, Problem> {
    let limit = text.map_or(Some(LIMIT), |text| text.parse().ok()).filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| invalid(format!("limit must be an integer from 1 to {MAX_LIMIT}")))
}

/// The texts of these parameters, each at most once, and no others.
fn parameters<const N: usize>(request: &HttpRequest, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut texts = [const { None }; N];
    for (name, value) in url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        match names.iter().position(|known| *known == name) {
            Some(at) if texts[at].is_none() => texts[at] = Some(value.into_owned()),
            Some(at) => return Err(invalid(format!("{} may be given once", names[at]))),
            None if N == 1 => return Err(invalid(format!("there is {}", names[0]))),
            None => return Err(invalid(format!("there are {}", names.join(", ")))),
        }
    }
    Ok(texts)
}
