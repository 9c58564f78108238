//! `/placeholder`: what stands in for an image until it is there, in the form the page needs.
//!
//! The JSON begins with the six keys of a Next.js static import, so that it can be handed to `<Image src={…}>` as it
//! is; it may be kept as long as the image itself.

use std::time::{Duration, SystemTime};

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::client::{self, Client};
use super::error::{Dialect, Problem};
use super::headers::{self, CachePolicy};
use super::query::{self, Pairs, Passed};
use super::reply::Reply;
use super::{PLACEHOLDER, Settings, State};
use crate::cache::CacheStatus;
use crate::optimizer::Known;
use crate::source::SourceUrl;
use crate::variant::ContentHash;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Blurhash,
    Thumbhash,
    Png,
    Svg,
    Css,
}

impl Form {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "blurhash" => Some(Self::Blurhash),
            "thumbhash" => Some(Self::Thumbhash),
            "png" => Some(Self::Png),
            "svg" => Some(Self::Svg),
            "css" => Some(Self::Css),
            _ => None,
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Blurhash | Self::Thumbhash => "text/plain; charset=utf-8",
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
            Self::Css => "text/css; charset=utf-8",
        }
    }
}

/// `GET|HEAD /placeholder`.
pub(super) async fn placeholder(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    serve(&request, &state).await.unwrap_or_else(|problem| problem.respond(Dialect::Problem, PLACEHOLDER))
}

async fn serve(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    headers::refuse_loop(request.headers())?;
    let raw = request.uri().query().unwrap_or_default();
    let pairs = Pairs::parse(raw).map_err(Problem::invalid)?;
    let live = state.live_owned();
    let (asked, signing) = ((request.uri().path(), raw), (&live.settings.sizes.signing, SystemTime::now()));
    let (url, form, passed) = query::placeholder(&pairs, asked, signing, Form::from_name).map_err(Problem::invalid)?;
    let dialect = Dialect::Problem;
    let source = state.policy.admit(url).map_err(|refusal| Problem::refused(&refusal, url, dialect))?;
    let Settings { trusted_proxies, per_client, .. } = &live.settings;
    let client = client::of(request.head(), trusted_proxies);
    let known = find(state, &source, (client, *per_client)).await?;
    // A path stays a path, so that the page's own loader can resolve it again.
    let src = if source.is_local() { url } else { source.expose() };
    let form = form.unwrap_or(Form::Json);
    let mut response = respond(request, &live.settings, &known, (form, src), passed);
    for (name, tags) in headers::tags(&live.settings.tag_fields, &source) {
        response.headers_mut().insert(name, tags);
    }
    Ok(response)
}

/// From memory, or in one of the places that the client has.
pub(super) async fn find(
    state: &State,
    source: &SourceUrl,
    (client, limit): (Option<Client>, u32),
) -> Result<Known, Problem> {
    if let Some(known) = state.optimizer.placeholder_at_hand(source) {
        return Ok(known);
    }
    let _place = state.clients.take(client, limit).ok_or_else(Problem::too_many)?;
    let known = state.optimizer.placeholder(source).await;
    known.map_err(|error| Problem::failed(&error, source, Dialect::Problem))
}

fn respond(
    request: &HttpRequest,
    settings: &Settings,
    known: &Known,
    (form, src): (Form, &str),
    passed: Passed,
) -> HttpResponse {
    let body = body(known, form, src);
    let etag = format!("\"{}\"", ContentHash::of(&body).to_base64url());
    let unchanged = headers::is_known(request.headers(), &etag);
    let mut response = if unchanged {
        HttpResponse::new(StatusCode::NOT_MODIFIED)
    } else {
        HttpResponse::with_body(StatusCode::OK, BoxBody::new(body))
    };
    let fields = response.headers_mut();
    headers::add_common(fields);
    fields.insert(header::ETAG, headers::value(etag));
    fields.insert(header::CACHE_STATUS, HeaderValue::from_static(known.status.header()));
    if !unchanged {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    }
    let remaining = match known.status {
        CacheStatus::Stale => Duration::ZERO,
        _ => known.record.lifetime.remaining(SystemTime::now()),
    };
    let policy = CachePolicy::of_source(&known.record, remaining, true);
    let policy = passed.remaining(SystemTime::now()).map_or(policy, |rest| policy.at_most(rest));
    Reply::cached(PLACEHOLDER, policy.kept_by_nobody(settings.development), known.status).on(response)
}

fn body(known: &Known, form: Form, src: &str) -> Bytes {
    let Known { record, placeholder, .. } = known;
    match form {
        Form::Json => {
            let document = placeholder.document(src, &record.shape(), record.bytes);
            // Serialising fails for maps with odd keys and for writers; this has neither.
            serde_json::to_vec(&document).unwrap_or_default().into()
        }
        Form::Blurhash => placeholder.blurhash.clone().into(),
        Form::Thumbhash => STANDARD.encode(&placeholder.thumbhash).into(),
        Form::Png => placeholder.png.clone().into(),
        Form::Svg => placeholder.svg(record.width, record.height).into(),
        Form::Css => placeholder.css().into(),
    }
}
