//! The one table: what went wrong → status, stable code, what each dialect tells its client, what the log is told.
//!
//! Invariant: client text is not log text. "Not allowed" has one public text whatever the reason, so that answers draw no
//! map of the network (threat-model.md); reasons go to the log. No error is stored by anybody: its cache policy is no-store.

mod asker;
mod table;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use serde::Serialize;

pub(super) use self::asker::Asker;
use self::asker::setting_of;
use self::table::{Next, row_of};
use super::query::{Fault, Invalid, Refused};
use super::reply::Reply;
use crate::optimizer;
use crate::source::{Refusal, SourceUrl};
use crate::telemetry::Loggable;

/// How an endpoint words its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Dialect {
    /// `application/problem+json` (RFC 9457).
    Problem,
    /// The plain texts of Next.js (nextjs-contract.md §1.2 and §1.3).
    Next,
}

/// One failed request, not yet rendered.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    pub(super) code: &'static str,
    detail: Cow<'static, str>,
    /// The key that would make it another answer.
    setting: Option<&'static str>,
    retry_after_seconds: Option<u32>,
    allow: Option<&'static str>,
    /// What the log is told; absent where the request alone is to blame and its answer says it all.
    pub(super) reason: Option<Box<str>>,
    /// The source, without what may be secret in it.
    pub(super) source: Option<Loggable>,
}

/// How much an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// What everybody may know.
    Public,
    /// Which key would make it another answer, too.
    Setting,
    /// What the log is told, too.
    Reason,
}

const NOT_ALLOWED: &str = "the source is not allowed";
const REDIRECT_NOT_ALLOWED: &str = "the source is not allowed: a redirect left the allow-list";
const NEXT_NOT_ALLOWED: &str = r#""url" parameter is not allowed"#;
const NEXT_NOT_AN_IMAGE: &str = "The requested resource isn't a valid image.";
const NEXT_TYPE: &str = r#""url" parameter is valid but image type is not allowed"#;
const NEXT_INTERNAL: &str = "Internal Server Error";

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Self { status, code, detail, setting: None, retry_after_seconds: None, allow: None, reason: None, source: None }
    }

    /// A request whose body could not be had.
    pub(super) fn of_body(error: &actix_web::Error) -> Self {
        match error.as_response_error().status_code() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", "the document is too large")
            }
            _ => Self::new(StatusCode::BAD_REQUEST, "document_unreadable", "the document could not be read"),
        }
    }

    /// A request whose body did not come in time.
    pub(super) fn document_late(patience: Duration) -> Self {
        let detail = format!("the document must be here within {} s", patience.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "document_late", detail)
    }

    /// No such route.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
    }

    /// The same on the public listener, for whoever looks what this is.
    pub(super) fn not_served(next_path: &str) -> Self {
        let detail = format!(
            "there is nothing here; this is Pixgate, which serves /image, {next_path}, /placeholder, /placeholders, \
             /healthz and /readyz"
        );
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// A route that does not take this method; `allow` is the list of those it takes.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let problem =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("allowed methods are {allow}"));
        Self { allow: Some(allow), ..problem }
    }

    /// The bearer token is missing or wrong.
    pub(super) fn unauthorised() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "a bearer token is required")
    }

    /// A request of our own, or of a replica's, that came back.
    pub(super) fn looped() -> Self {
        let detail = "this request came from Pixgate itself: a source must not lead back to it";
        Self::new(StatusCode::LOOP_DETECTED, "loop_detected", detail)
    }

    /// A client who has as much at work as he may have.
    pub(super) fn too_many() -> Self {
        let detail = "too many requests of this client are at work (limits.per_client); try again later";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
        Self { retry_after_seconds: Some(1), ..problem }
    }

    /// A name that is not known to be ours.
    pub(super) fn host_not_allowed() -> Self {
        let detail = "without server.admin_token this listener must be called by localhost, an IP address or one of \
                      server.admin_hosts, and not by a page of another site";
        Self::new(StatusCode::FORBIDDEN, "host_not_allowed", detail)
    }

    /// A request that says something wrong.
    pub(super) fn invalid(invalid: Invalid) -> Self {
        let status = match invalid.fault {
            Fault::Parameter => StatusCode::BAD_REQUEST,
            Fault::Signature => StatusCode::FORBIDDEN,
            Fault::TooLong => StatusCode::URI_TOO_LONG,
        };
        Self::new(status, invalid.code, invalid.detail)
    }

    /// A request that Next.js refuses in its own words.
    pub(super) fn next(refused: Refused) -> Self {
        match refused {
            Refused::Text(text) => Self::new(StatusCode::BAD_REQUEST, "invalid_request", text),
            Refused::Url(refusal, url) => Self::refused(&refusal, &url, Dialect::Next),
        }
    }

    /// A `url` that the policy refuses.
    pub(super) fn refused(refusal: &Refusal, url: &str, dialect: Dialect) -> Self {
        let (code, direct, next) = match refusal {
            Refusal::TooLong => ("url_invalid", "url is too long", r#""url" parameter is too long"#),
            Refusal::ProtocolRelative => (
                "url_invalid",
                "url must not be protocol-relative (//)",
                r#""url" parameter cannot be a protocol-relative URL (//)"#,
            ),
            Refusal::Recursive => {
                ("url_invalid", "url must not lead back to this service", r#""url" parameter cannot be recursive"#)
            }
            Refusal::Invalid(_) => (
                "url_invalid",
                "url must be an absolute http or https URL, or a path that begins with /",
                r#""url" parameter is invalid"#,
            ),
            Refusal::NotAllowed(_) => ("source_not_allowed", NOT_ALLOWED, NEXT_NOT_ALLOWED),
        };
        let (status, detail) = match dialect {
            Dialect::Next => (StatusCode::BAD_REQUEST, next),
            Dialect::Problem if code == "source_not_allowed" => (StatusCode::FORBIDDEN, direct),
            Dialect::Problem => (StatusCode::BAD_REQUEST, direct),
        };
        let detail = match (refusal, dialect) {
            // These say how the URL is written, and nothing about where it leads.
            (Refusal::Invalid(why), Dialect::Problem) => format!("{detail} ({why})").into(),
            _ => Cow::Borrowed(detail),
        };
        let setting = match refusal {
            Refusal::NotAllowed(why) => setting_of(why),
            _ => None,
        };
        Self {
            reason: Some(refusal.to_string().into()),
            source: Some(Loggable::text(url)),
            setting,
            ..Self::new(status, code, detail)
        }
    }

    /// An admitted source of which there is no image.
    pub(super) fn failed(error: &optimizer::Error, source: &SourceUrl, dialect: Dialect) -> Self {
        let row = row_of(error);
        let whose = if source.is_local() { "internal" } else { "upstream" };
        let (status, detail) = match dialect {
            Dialect::Problem => (row.status, row.detail),
            Dialect::Next => match row.next {
                Next::Text(status, text) => (status, Cow::Borrowed(text)),
                Next::Response(status) => {
                    (status, format!(r#""url" parameter is valid but {whose} response is invalid"#).into())
                }
                Next::TimedOut => {
                    (row.status, format!(r#""url" parameter is valid but {whose} response timed out"#).into())
                }
                Next::Same => (row.status, row.detail),
            },
        };
        let retry_after_seconds = error.retry_after(Instant::now()).map(whole_seconds);
        Self {
            reason: Some(error.to_string().into()),
            source: Some(source.loggable()),
            setting: row.setting,
            retry_after_seconds,
            ..Self::new(status, row.code, detail)
        }
    }

    /// The problem as one of several answers: with the source it is about, and told to the log here.
    pub(super) fn of(self, src: &str) -> serde_json::Value {
        if let Some(reason) = self.reason.as_deref() {
            let source = self.source.as_ref().map_or("", Loggable::as_str);
            if self.status.is_server_error() {
                tracing::warn!(code = self.code, reason, source, "one of several failed");
            } else {
                tracing::debug!(code = self.code, reason, source, "one of several failed");
            }
        }
        // Serialising texts and numbers does not fail.
        serde_json::to_value(self.document(Some(src))).unwrap_or_default()
    }

    fn document<'a>(&'a self, src: Option<&'a str>) -> Body<'a> {
        Body {
            src,
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            reason: None,
            setting: None,
        }
    }

    /// Content type and body; with what is `told` beside the public text.
    fn body(&self, dialect: Dialect, told: Told) -> (&'static str, String) {
        let reason = self.reason.as_deref().filter(|_| told == Told::Reason);
        let setting = self.setting.filter(|_| told != Told::Public);
        match dialect {
            Dialect::Next => {
                let mut text = self.detail.clone().into_owned();
                if let Some(reason) = reason {
                    text.extend(["\n", reason]);
                }
                if let Some(setting) = setting {
                    text.extend(["; see ", setting]);
                }
                ("text/plain; charset=utf-8", text)
            }
            Dialect::Problem => {
                let document = Body { reason, setting, ..self.document(None) };
                // Serialising texts and numbers into memory does not fail.
                ("application/problem+json", serde_json::to_string(&document).unwrap_or_default())
            }
        }
    }

    /// The response as a stranger gets it, with what the middleware is to do about it.
    pub(super) fn respond(self, dialect: Dialect, route: &'static str) -> HttpResponse {
        let response = self.plain(dialect);
        Reply::failed(route, dialect, self).on(response)
    }

    fn plain(&self, dialect: Dialect) -> HttpResponse {
        let (content_type, body) = self.body(dialect, Told::Public);
        let mut response = HttpResponse::with_body(self.status, BoxBody::new(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
        // A page of another origin may read why its image did not come.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED && self.code == "unauthorized" {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pixgate\""));
        }
        response
    }
}

/// The members of RFC 9457 §3.1 and, as an extension, the stable code.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<&'a str>,
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    /// In development, and for what is not allowed on the machine itself: what the log is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<&'static str>,
}

/// Rounded up, and one at least.
fn whole_seconds(wait: Duration) -> u32 {
    wait.as_secs_f64().ceil().max(1.0) as u32
}

#[cfg(test)]
mod tests;
