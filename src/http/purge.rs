//! `POST /purge` of the admin listener: a JSON document names what is purged, another tells what came of it.
//!
//! Invariant: nothing is purged by a request that a foreign page in the operator's browser could have sent: the document
//! must be declared as JSON, and the name by which the listener is called has been judged before.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;

use super::State;
use super::admin::answer;
use super::document::Document as Body;
use super::error::{Dialect, Problem};
use crate::maintenance::Target;

const ROUTE: &str = "/purge";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    url: Option<String>,
    prefix: Option<String>,
    host: Option<String>,
    all: Option<bool>,
    #[serde(default)]
    soft: bool,
}

/// `POST /purge`.
pub(super) async fn purge(request: HttpRequest, Body(body): Body, state: web::Data<State>) -> HttpResponse {
    serve(&request, body, &state).await.unwrap_or_else(|problem| problem.respond(Dialect::Problem, ROUTE))
}

async fn serve(request: &HttpRequest, body: Result<Bytes, Problem>, state: &State) -> Result<HttpResponse, Problem> {
    let body = body?;
    let field = |name| request.headers().get(name).and_then(|field| field.to_str().ok()).unwrap_or_default();
    let media_type = field(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let detail = "the document must be sent as Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "json_expected", detail));
    }
    let invalid = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "purge_invalid", detail);
    let document: Document = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
    let target = match document {
        Document { url: Some(url), prefix: None, host: None, all: None, .. } => Target::Url(url),
        Document { url: None, prefix: Some(prefix), host: None, all: None, .. } => Target::Prefix(prefix),
        Document { url: None, prefix: None, host: Some(host), all: None, .. } => Target::Host(host),
        Document { url: None, prefix: None, host: None, all: Some(true), .. } => Target::All,
        _ => return Err(invalid("exactly one of url, prefix, host and \"all\": true must be given".into())),
    };
    let report = state.maintenance.purge(&target, document.soft).await;
    let report = report.map_err(|refusal| invalid(refusal.to_string()))?;
    // Serialising fails for maps with odd keys and for writers; this has neither.
    let text = serde_json::to_string(&report).unwrap_or_default();
    Ok(answer(ROUTE, StatusCode::OK, "application/json", text))
}
