//! What a request for an image came to, kept so that the same request is not read, judged and hashed again.
//!
//! Invariant: only requests that were answered from the cache are kept, and what is kept follows from the request, the
//! configuration and the image it names, so it cannot go stale: that it is still this image is asked each time.

use std::sync::Arc;

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use equivalent::Equivalent;
use foldhash::fast::RandomState;
use moka::sync::Cache;

use super::error::Dialect;
use super::query::Passed;
use crate::optimizer::Trail;
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
    /// How long it may be served.
    pub(super) passed: Passed,
}

/// Response fields that follow from a request and the image sent for it.
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
    pub(super) trail: Trail,
    pub(super) fields: Fields,
}

/// The requests served lately.
pub(super) struct Memo(Cache<Kept, Arc<Prepared>, RandomState>);

impl Default for Memo {
    fn default() -> Self {
        let weigher = |request: &Kept, prepared: &Arc<Prepared>| {
            let asked = request.target.len() + request.accept.as_ref().map_or(0, |accept| accept.len());
            let payload = asked + prepared.order.source.expose().len() + prepared.fields.disposition.len();
            u32::try_from(payload + OVERHEAD).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(BUDGET).weigher(weigher).build_with_hasher(RandomState::default()))
    }
}

impl Memo {
    /// What is known of this request.
    pub(super) fn get(&self, request: &Identity<'_>) -> Option<Arc<Prepared>> {
        self.0.get(request)
    }

    /// Keeps what a request came to.
    pub(super) fn put(&self, request: &Identity<'_>, prepared: Prepared) {
        let Identity { dialect, target, accept } = *request;
        self.0.insert(Kept { dialect, target: target.into(), accept: accept.map(Into::into) }, Arc::new(prepared));
    }
}

/// Everything of a request that its order follows from.
#[derive(Clone, Copy, Hash)]
pub(super) struct Identity<'a> {
    dialect: Dialect,
    target: &'a str,
    accept: Option<&'a [u8]>,
}

impl<'a> Identity<'a> {
    /// Nothing for a request that is not kept: a long one, or one whose `Accept` stands on several lines.
    pub(super) fn of(head: &'a RequestHead, dialect: Dialect) -> Option<Self> {
        let target = head.uri.path_and_query()?.as_str();
        let mut lines = head.headers.get_all(header::ACCEPT).map(HeaderValue::as_bytes);
        let (accept, more) = (lines.next(), lines.next());
        let length = target.len() + accept.map_or(0, <[u8]>::len);
        (length <= MAX_REQUEST && more.is_none()).then_some(Self { dialect, target, accept })
    }
}

impl Equivalent<Kept> for Identity<'_> {
    fn equivalent(&self, kept: &Kept) -> bool {
        let Kept { dialect, target, accept } = kept;
        self.dialect == *dialect && self.target == &**target && self.accept == accept.as_deref()
    }
}

/// The same, kept. It has to be hashed like that.
#[derive(PartialEq, Eq, Hash)]
struct Kept {
    dialect: Dialect,
    target: Box<str>,
    accept: Option<Box<[u8]>>,
}
