//! Failures of sources, remembered: for how long, and what they take away.
//!
//! Invariant: an origin that fails is not asked again at once, however many ask us; one that asks to be left alone is left
//! alone, within bounds; one that refuses is heard, and what it gave before is not served any more.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use moka::Expiry;
use moka::sync::Cache;

use super::sources::named;
use super::tuning::Tuning;
use super::{Error, Optimizer};
use crate::cache::ledger::Verdict;
use crate::record::{SourceKey, SourceRecord};
use crate::source::SourceUrl;
use crate::variant::VariantKey;

/// Sources whose failure is remembered at once.
const MOST: u64 = 10_000;
/// How long one is remembered that may be over by then: an outage, an origin with too much to do.
const PASSING: Duration = Duration::from_secs(2);
/// Longest time that an origin is left alone because it asks for that.
const QUIET: Duration = Duration::from_secs(60);

/// A failure that is remembered.
#[derive(Clone)]
pub(super) struct Failure {
    error: Arc<Error>,
    epoch: u64,
    kept: Duration,
}

pub(super) struct Failures {
    sources: Cache<SourceKey, Failure>,
    /// Of outputs that cannot be made, while others of the same bytes can.
    variants: Cache<VariantKey, Failure>,
}

impl Failures {
    /// No failure yet.
    pub(super) fn none() -> Self {
        Self { sources: remembering(), variants: remembering() }
    }

    pub(super) fn forget(&self, key: SourceKey) {
        self.sources.invalidate(&key);
    }

    pub(super) fn forget_all(&self) {
        self.sources.invalidate_all();
        self.variants.invalidate_all();
    }
}

fn remembering<K: Hash + Eq + Send + Sync + 'static>() -> Cache<K, Failure> {
    Cache::builder().max_capacity(MOST).expire_after(AsLongAsItSays).build()
}

struct AsLongAsItSays;

impl<K> Expiry<K, Failure> for AsLongAsItSays {
    fn expire_after_create(&self, _: &K, failure: &Failure, _: Instant) -> Option<Duration> {
        Some(failure.kept)
    }

    fn expire_after_update(&self, _: &K, failure: &Failure, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(failure.kept)
    }
}

impl Optimizer {
    /// The failure that is remembered of a source, unless the source was purged since.
    pub(super) fn failure(&self, source: &SourceUrl) -> Option<Arc<Error>> {
        let Failure { error, epoch, .. } = self.failures.sources.get(&source.key())?;
        (self.ledger.judge(named(source), epoch) == Verdict::Valid).then_some(error)
    }

    /// Takes note that the origin failed. `had`: it gave something before. `tuned`: the settings it was requested by.
    pub(super) fn failed(
        &self,
        source: &SourceUrl,
        had: bool,
        error: Error,
        epoch: u64,
        tuned: &Arc<Tuning>,
    ) -> Arc<Error> {
        let error = Arc::new(error);
        self.remember(source.key(), &error, epoch);
        // Looked at afterwards: settings change before the failures that are remembered are dropped.
        if !Arc::ptr_eq(&self.tuning.load(), tuned) {
            self.failures.forget(source.key());
        }
        if error.is_refusal() {
            self.tiers.forget(source.key());
            if let Some(recorder) = self.recorder.as_ref().filter(|_| had) {
                // Nor does it come back after a restart.
                recorder.purged(source.key(), SystemTime::now());
                tracing::info!(source = %source, error = %error, "refused by its origin, which gave it before");
            }
        } else if had {
            tracing::warn!(source = %source, error = %error, "origin failed, serving what it gave before where it may");
        }
        error
    }

    /// The failure that is remembered of a variant.
    pub(super) fn variant_failure(&self, key: &VariantKey) -> Option<Arc<Error>> {
        self.failures.variants.get(key).map(|failure| failure.error)
    }

    /// Remembers that a variant cannot be made: of the variant alone, where others of its source can, so that nobody takes
    /// them away by asking for it.
    pub(super) fn remember_draw(&self, source: SourceKey, key: VariantKey, record: &SourceRecord, error: &Arc<Error>) {
        if !error.is_of_variant() {
            return self.remember_failure(source, record, error);
        }
        let kept = self.tuning.load().settings.negative_ttl;
        if !kept.is_zero() {
            self.failures.variants.insert(key, Failure { error: Arc::clone(error), epoch: record.epoch, kept });
        }
    }

    /// Remembers that these bytes cannot be drawn, so that the next width of the page does not try again at once.
    pub(super) fn remember_failure(&self, key: SourceKey, record: &SourceRecord, error: &Arc<Error>) {
        if error.is_lasting() {
            self.tiers.forget(key);
            self.remember(key, error, record.epoch);
        }
    }

    fn remember(&self, key: SourceKey, error: &Arc<Error>, epoch: u64) {
        let kept = kept(error, self.tuning.load().settings.negative_ttl, Instant::now());
        if !kept.is_zero() {
            self.failures.sources.insert(key, Failure { error: Arc::clone(error), epoch, kept });
        }
    }
}

/// How long an error is remembered; not at all where nothing is.
fn kept(error: &Error, negative_ttl: Duration, now: Instant) -> Duration {
    if error.is_lasting() || negative_ttl.is_zero() {
        return negative_ttl;
    }
    match error {
        Error::Source(failed) => {
            let asked = failed.retry_at.map(|at| at.saturating_duration_since(now).min(QUIET));
            asked.unwrap_or_default().max(PASSING.min(negative_ttl))
        }
        // These say how this machine fared, nothing about the source.
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, Failed};

    #[test]
    fn what_lasts_is_remembered_longer_than_what_passes_and_quiet_is_kept_within_bounds() {
        let (now, long) = (Instant::now(), Duration::from_secs(10));
        let status = |status, retry_after: Option<u64>| {
            let retry_at = retry_after.map(|seconds| now + Duration::from_secs(seconds));
            Error::Source(Failed { retry_at, ..source::Error::Status(status).into() })
        };
        for (error, expected) in [
            (status(404, None), 10),
            (status(403, Some(300)), 10),
            (status(503, None), 2),
            (status(429, Some(1)), 2),
            (status(429, Some(7)), 7),
            (status(503, Some(7_200)), 60),
            (Error::from(source::Error::Connect), 2),
            (Error::Deadline, 0),
        ] {
            assert_eq!(kept(&error, long, now), Duration::from_secs(expected), "{error}");
        }
        let half = Duration::from_millis(500);
        assert_eq!(kept(&status(503, None), half, now), half, "never longer than what lasts");
        assert_eq!(kept(&status(503, Some(9)), Duration::ZERO, now), Duration::ZERO, "off is off");
    }
}
