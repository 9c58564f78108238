//! The placeholder of a source: from its record, or from the one decode that is needed to make it.
//!
//! It is a by-product of every render, so it is computed on its own only for a source that was never drawn.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::sources::named;
use super::{Error, JOURNEYS, Optimizer, Terms, whose};
use crate::cache::CacheStatus;
use crate::cache::flight::Wanted;
use crate::format::ImageFormat;
use crate::imaging;
use crate::imaging::schedule::Whose;
use crate::record::{Freshness, PlaceholderSet, SourceRecord};
use crate::source::SourceUrl;

/// A source whose placeholder is known.
#[derive(Clone, Debug)]
pub struct Known {
    /// The source.
    pub record: Arc<SourceRecord>,
    /// Its placeholder.
    pub placeholder: Arc<PlaceholderSet>,
    /// How the request was answered.
    pub status: CacheStatus,
}

impl Optimizer {
    /// The placeholder of a source, computed from its decode if it is not known yet.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn placeholder(self: &Arc<Self>, source: &SourceUrl) -> Result<Known, Arc<Error>> {
        let now = SystemTime::now();
        let known = match self.find_placeholder(source, now) {
            Some(known) => known,
            None => self.make_placeholder(source).await?,
        };
        self.note_seen(source, &known, now);
        Ok(known)
    }

    /// The same, where it is in memory.
    pub fn placeholder_at_hand(self: &Arc<Self>, source: &SourceUrl) -> Option<Known> {
        let now = SystemTime::now();
        let known = self.find_placeholder(source, now)?;
        self.note_seen(source, &known, now);
        Some(known)
    }

    fn note_seen(&self, source: &SourceUrl, known: &Known, now: SystemTime) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| known.record.storable) {
            // Retention goes by it: a page may ask for nothing else.
            recorder.seen(source.key_ref(), now);
        }
    }

    fn find_placeholder(self: &Arc<Self>, source: &SourceUrl, now: SystemTime) -> Option<Known> {
        let (record, freshness) = self.known(source, Terms::Origin, now)?;
        let placeholder = record.placeholder.clone()?;
        let status = match freshness {
            Freshness::Fresh => CacheStatus::Memory,
            Freshness::Stale => CacheStatus::Stale,
            Freshness::Expired | Freshness::Dead => return None,
        };
        if status == CacheStatus::Stale {
            self.refresh_behind(source);
        }
        Some(Known { record, placeholder, status })
    }

    async fn make_placeholder(self: &Arc<Self>, source: &SourceUrl) -> Result<Known, Arc<Error>> {
        if self.placeholders.len() >= JOURNEYS {
            self.metrics.count_shed("journeys");
            return Err(Arc::new(Error::Overloaded { retry_after: self.scheduler.retry_after() }));
        }
        let (this, url) = (Arc::clone(self), source.clone());
        let key = (source.key(), self.ledger.newest(named(source)));
        let landed = self.placeholders.join(key, |_| async move { this.compute_placeholder(url).await }).await;
        let landed = landed.map_err(|lost| Arc::new(Error::from(lost)))?;
        let mut known = landed.value?;
        if landed.joined && known.status == CacheStatus::Miss {
            known.status = CacheStatus::Collapsed;
        }
        Ok(known)
    }

    async fn compute_placeholder(self: Arc<Self>, source: SourceUrl) -> Result<Known, Arc<Error>> {
        let wanted = Wanted::always();
        let mut loaded = self.load_record(&source, Terms::Origin, &wanted).await?;
        let status = if loaded.record.storable { CacheStatus::Miss } else { CacheStatus::Bypass };
        if let Some(placeholder) = loaded.record.placeholder.clone() {
            self.recorded(&loaded.record).await;
            return Ok(Known { record: loaded.record, placeholder, status });
        }
        if loaded.record.is_passed_on() {
            let format = loaded.record.format;
            return Err(Arc::new(imaging::Error::NotDecoded { format }.into()));
        }
        if loaded.bytes.is_none() {
            loaded = self.load_bytes(&source, &wanted).await?;
        }
        let bytes = loaded.bytes.clone().unwrap_or_default();
        let placeholder = self.placeholder_of(&loaded.record, bytes, &whose(&source, &wanted)).await;
        let placeholder =
            placeholder.inspect_err(|error| self.remember_failure(source.key(), &loaded.record, error))?;
        let record = self.with_placeholder(&source, loaded.record, Some(&placeholder));
        self.recorded(&record).await;
        Ok(Known { record, placeholder, status })
    }

    /// From the pixels, where somebody uses them or has to decode them anyway.
    async fn placeholder_of(
        self: &Arc<Self>,
        record: &SourceRecord,
        bytes: Bytes,
        whose: &Whose,
    ) -> Result<Arc<PlaceholderSet>, Arc<Error>> {
        let deadline = self.scheduler.deadline();
        if record.format != ImageFormat::Svg {
            let held = self.decoded(record, &bytes, 0, whose, deadline).await?;
            let placeholder = Arc::clone(&held.decoded.placeholder);
            self.keep_for_a_moment(held);
            return Ok(placeholder);
        }
        let settings = self.imaging();
        let job = move || {
            let probe = imaging::probe(&bytes, &settings.limits)?;
            imaging::placeholder(&bytes, &probe, &settings, deadline)
        };
        let done = self.scheduler.run(whose, imaging::SKETCH_BYTES, deadline, job).await;
        let done = done.map_err(|error| Error::from_schedule(error, self.scheduler.retry_after()))?;
        Ok(Arc::new(done.value.map_err(Error::from)?))
    }
}
