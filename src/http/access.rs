//! The line of each request in the log, and the id that a request has there and in its answer.
//!
//! Invariant: nothing of a query and nothing unbounded that a stranger wrote; a request is one line, whose level says whether
//! somebody asked for something (info) or looked whether we live (debug).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::body::BodySize;
use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::error::Problem;
use super::{IMAGE, NEXT, PLACEHOLDER, PLACEHOLDERS, client};
use crate::telemetry::Loggable;

/// Longer ids are replaced.
const MAX_ID: usize = 128;
/// More of a path says nothing new.
const MAX_PATH: usize = 128;

/// The field of the id, in requests and answers.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is told of one request.
pub(super) struct Line<'a> {
    pub(super) request: &'a RequestHead,
    /// Proxies that say who it comes from.
    pub(super) trusted: &'a [IpNet],
    pub(super) id: &'a str,
    pub(super) route: &'static str,
    pub(super) status: u16,
    pub(super) size: BodySize,
    pub(super) elapsed: Duration,
    pub(super) cache: Option<&'static str>,
    /// Host of the source.
    pub(super) host: Option<&'a str>,
    pub(super) failure: Option<&'a Problem>,
    /// Lines of the same code that were left out before this one.
    pub(super) more: Option<u64>,
}

impl Line<'_> {
    /// Writes it; at debug where access lines are not wanted. What we or an origin failed at is a warning besides.
    pub(super) fn write(self, wanted: bool) {
        let Self { request, trusted, id, route, status, size, elapsed, cache, host, failure, more } = self;
        let bytes = match size {
            BodySize::Sized(bytes) if request.method != Method::HEAD => bytes,
            _ => 0,
        };
        // In milliseconds, to the microsecond.
        let ms = elapsed.as_micros() as f64 / 1000.0;
        let (method, path) = (request.method.as_str(), shown(request.uri.path()));
        let wanted = wanted && matches!(route, IMAGE | NEXT | PLACEHOLDER | PLACEHOLDERS | "other");
        let shown_at_all = wanted || tracing::enabled!(tracing::Level::DEBUG);
        let client = Some(()).filter(|()| shown_at_all).and_then(|()| client::address(request, trusted));
        let client = client.map(tracing::field::display);
        let code = failure.map(|failure| failure.code);
        let reason = failure.and_then(|failure| failure.reason.as_deref());
        // The whole of what may be said where it failed, its host elsewhere.
        let source = failure.and_then(|failure| failure.source.as_ref()).map(|source| source.as_str()).or(host);
        if let (500.., Some(code), Some(reason)) = (status, code, reason) {
            let source = failure.and_then(|failure| failure.source.as_ref()).map(Loggable::as_str);
            tracing::warn!(route, status, code, reason, source, request_id = id, "request failed");
        }
        // Levels are fixed where an event is written, so that two of them have to be.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method,
                    path,
                    status,
                    bytes,
                    ms,
                    cache,
                    source,
                    code,
                    reason,
                    more,
                    request_id = id,
                    client,
                    "request"
                )
            };
        }
        if wanted {
            line!(info);
        } else {
            line!(debug);
        }
    }
}

/// A path without what may be a URL or a user in it; our own have neither.
fn shown(path: &str) -> &str {
    let end = path.find([':', '@', '%']).unwrap_or(path.len()).min(MAX_PATH);
    path.get(..end).unwrap_or("/")
}

/// The id of a request: its own where that is one line of visible ASCII, else a new one.
pub(super) fn id_of(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(REQUEST_ID);
    let sane = |id: &HeaderValue| (1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    match (given.next(), given.next()) {
        (Some(id), None) if sane(id) => id.clone(),
        _ => made(),
    }
}

/// Sixteen digits that no other process makes, as far as chance goes.
fn made() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static START: OnceLock<u64> = OnceLock::new();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // An odd factor permutes all numbers of 64 bits, so none comes twice.
    let id = START.get_or_init(|| fastrand::u64(..)).wrapping_add(count).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let digits: [u8; 16] = std::array::from_fn(|at| DIGITS[((id >> (60 - 4 * at)) & 15) as usize]);
    // Digits are always a value.
    HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let of = |ids: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for id in ids {
                headers.append(REQUEST_ID, HeaderValue::from_bytes(id).expect("a value"));
            }
            id_of(&headers).to_str().expect("visible").to_owned()
        };
        assert_eq!(of(&[b"0af7651916cd43dd8448eb211c80319c"]), "0af7651916cd43dd8448eb211c80319c");
        let wrong: [&[&[u8]]; 7] = [&[], &[b""], &[b"a b"], &[b"a\tb"], &[b"\xff"], &[&[b'x'; 129]], &[b"one", b"two"]];
        for ids in wrong {
            let made = of(ids);
            assert!(made.len() == 16 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
            assert_ne!(made, of(ids));
        }
    }

    #[test]
    fn a_path_is_shown_without_what_may_be_secret() {
        for (path, expected) in [
            ("/image", "/image"),
            ("/http://user:secret@a.example/a.png", "/http"),
            ("/user%3Asecret", "/user"),
            ("/users/@bob", "/users/"),
        ] {
            assert_eq!(shown(path), expected);
        }
        assert_eq!(shown(&"/".repeat(5000)).len(), MAX_PATH);
    }
}
