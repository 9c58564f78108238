//! What a request comes to: an image, where it was found, and what a response says about it.
//!
//! Values only; what they mean for a client is decided where responses are made.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cache::{CacheStatus, Entry};
use crate::record::SourceRecord;
use crate::variant::{ContentHash, VariantKey, Wish};

/// Where a request found its image, so that the next one need not work it out: the key follows from the content and
/// the wish alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    pub(super) content: ContentHash,
    pub(super) key: VariantKey,
}

/// An image and what a response says about it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The image.
    pub entry: Arc<Entry>,
    /// Where it lies.
    pub hint: Hint,
    /// Its source.
    pub record: Arc<SourceRecord>,
    /// How the request was answered.
    pub status: CacheStatus,
    /// Full lifetime of the source, as Next.js reports it.
    pub ttl: Duration,
    /// What is left of that; nothing for a stale one.
    pub remaining: Duration,
    /// A soft purge has named its source since: nobody behind us is to keep this one.
    pub superseded: bool,
    /// What was made instead of what is preferred, which is being made behind.
    pub instead: Option<Wish>,
    /// A better answer is to be expected soon.
    pub interim: bool,
    /// Where the time went; empty for a hit.
    pub timings: RequestTimings,
}

/// Time spent in each phase of one request; absent when it was not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTimings {
    /// With the origin.
    pub fetch: Option<Duration>,
    /// Waiting for a render thread.
    pub queue: Option<Duration>,
    /// Decoding.
    pub decode: Option<Duration>,
    /// Scaling.
    pub resize: Option<Duration>,
    /// Encoding.
    pub encode: Option<Duration>,
}

impl RequestTimings {
    /// What the render took; nothing when none was needed.
    pub(super) fn render(&self) -> Option<Duration> {
        let stages = [self.decode, self.resize, self.encode];
        Some(stages.into_iter().flatten().sum()).filter(|time: &Duration| !time.is_zero())
    }
}

pub(super) fn outcome(
    entry: Arc<Entry>,
    key: VariantKey,
    record: Arc<SourceRecord>,
    status: CacheStatus,
    timings: RequestTimings,
    now: SystemTime,
) -> Outcome {
    let (ttl, mut remaining) = (record.lifetime.ttl, record.lifetime.remaining(now));
    if status == CacheStatus::Stale {
        remaining = Duration::ZERO;
    }
    let hint = Hint { content: record.content, key };
    Outcome { entry, hint, record, status, ttl, remaining, superseded: false, instead: None, interim: false, timings }
}
