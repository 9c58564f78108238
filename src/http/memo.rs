//! What a request for a picture came to, kept so that the same request is not read, judged and hashed again.
//!
//! The law: only requests that were answered from the cache are kept, and what is kept follows from the request and the
//! configuration alone, so it cannot go stale: the record and the picture are looked up each time.

use std::fmt::Write as _;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use moka::sync::Cache;

use super::error::Dialect;
use crate::optimizer::{Hint, Outcome};
use crate::source::SourceUrl;
use crate::variant::Wish;

/// Budget in bytes, by the length of what is kept. Tens of thousands of URLs.
const BUDGET: u64 = 16_000_000;
/// What an entry weighs besides its texts. Estimated, rounded up.
const OVERHEAD: usize = 640;
/// Longer requests are read each time.
const MAX_REQUEST: usize = 4_096;

/// A request that may be served.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) source: SourceUrl,
    pub(super) wish: Wish,
    pub(super) dialect: Dialect,
}

/// Response fields that follow from a request and the picture sent for it.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) etag: HeaderValue,
    pub(super) disposition: HeaderValue,
    /// Where purge tags are wanted.
    pub(super) tags: Vec<(HeaderName, HeaderValue)>,
}

/// An order that was served before.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) order: Order,
    pub(super) hint: Hint,
    pub(super) fields: Fields,
}

impl Prepared {
    /// The fields, if it is still the same picture.
    pub(super) fn fields_for(&self, outcome: &Outcome) -> Option<Fields> {
        (self.fields.etag.as_bytes() == outcome.entry.etag.as_bytes()).then(|| self.fields.clone())
    }
}

/// The requests served lately.
pub struct Memo(Cache<Arc<str>, Arc<Prepared>>);

impl Default for Memo {
    fn default() -> Self {
        let weigher = |request: &Arc<str>, prepared: &Arc<Prepared>| {
            let payload = request.len() + prepared.order.source.as_str().len() + prepared.fields.disposition.len();
            u32::try_from(payload + OVERHEAD).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(BUDGET).weigher(weigher).build())
    }
}

impl Memo {
    /// What is known of this request.
    pub(super) fn get(&self, request: &str) -> Option<Arc<Prepared>> {
        self.0.get(request)
    }

    /// Keeps what a request came to.
    pub(super) fn put(&self, request: &str, prepared: Prepared) {
        if !request.is_empty() {
            self.0.insert(request.into(), Arc::new(prepared));
        }
    }
}

/// Everything of a request that its order follows from: dialect, target and `Accept`. Empty when that is too long to
/// be kept.
pub(super) fn identity(request: &HttpRequest, dialect: Dialect) -> String {
    let uri = request.uri();
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let mut text = String::new();
    if path.len() + query.len() > MAX_REQUEST {
        return text;
    }
    text.reserve(path.len() + query.len() + 192);
    text.push(if dialect == Dialect::Next { 'n' } else { 'd' });
    text.push_str(path);
    text.push('?');
    text.push_str(query);
    for field in request.headers().get_all(header::ACCEPT) {
        // A line break cannot stand inside a target or a field, so that no two requests are written alike.
        let _ = write!(text, "\n{}", field.to_str().unwrap_or_default());
    }
    if text.len() > MAX_REQUEST {
        text.clear();
    }
    text
}
