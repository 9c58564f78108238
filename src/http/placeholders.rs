//! `POST /placeholders`: the placeholders of a page's pictures in one request, in order, each an object or an error.
//!
//! The law: a list costs no more at once than a few requests would; one bad picture is its own error and nobody else's.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;

use super::document::Document as Body;
use super::error::{Dialect, Problem};
use super::headers;
use super::reply::Reply;
use super::{PLACEHOLDERS, State};

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
        serve(body, &state).await
    };
    answer.await.unwrap_or_else(|problem| problem.respond(Dialect::Problem, PLACEHOLDERS))
}

async fn serve(body: Result<Bytes, Problem>, state: &State) -> Result<HttpResponse, Problem> {
    let body = body?;
    let invalid = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "urls_invalid", detail);
    let Document { urls } = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
    if urls.is_empty() || urls.len() > MAX_URLS {
        return Err(invalid(format!("urls must be a list of 1 to {MAX_URLS}, not of {}", urls.len())));
    }
    let answers: Vec<Value> =
        futures_util::stream::iter(&urls).map(|url| one(url, state)).buffered(AT_ONCE).collect().await;
    // Serialising fails for maps with odd keys and for writers; this has neither.
    let text = serde_json::to_string(&answers).unwrap_or_default();
    let mut response = HttpResponse::with_body(StatusCode::OK, BoxBody::new(text));
    let fields = response.headers_mut();
    headers::add_common(fields);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Reply::new(PLACEHOLDERS).on(response))
}

async fn one(url: &str, state: &State) -> Value {
    let made = async {
        let dialect = Dialect::Problem;
        let source = state.policy.admit(url).map_err(|refusal| Problem::refused(&refusal, url, dialect))?;
        let known = state.optimizer.placeholder(&source).await;
        let known = known.map_err(|error| Problem::failed(&error, &source, dialect))?;
        let src = if source.is_local() { url } else { source.expose() };
        let document = known.placeholder.document(src, &known.record.shape(), known.record.bytes);
        Ok::<_, Problem>(serde_json::to_value(document).unwrap_or_default())
    };
    made.await.unwrap_or_else(|problem| problem.of(url))
}
