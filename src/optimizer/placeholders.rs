//! The placeholder of a source: from its record, or from the one decode that is needed to make it.
//!
//! It is a by-product of every render, so it is computed on its own only for a source that was never drawn.

use std::sync::Arc;
use std::time::SystemTime;

use super::sources::named;
use super::{Error, Optimizer};
use crate::cache::CacheStatus;
use crate::imaging;
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
        if let Some((record, freshness)) = self.known(source, SystemTime::now())
            && let Some(placeholder) = record.placeholder.clone()
        {
            let status = match freshness {
                Freshness::Fresh => Some(CacheStatus::Memory),
                Freshness::Stale => Some(CacheStatus::Stale),
                Freshness::Expired | Freshness::Dead => None,
            };
            if let Some(status) = status {
                if status == CacheStatus::Stale {
                    self.refresh_behind(source);
                }
                return Ok(Known { record, placeholder, status });
            }
        }
        let (this, url) = (Arc::clone(self), source.clone());
        let key = (source.key(), self.ledger.newest(named(source)));
        let landed = self.placeholders.join(key, || async move { this.compute_placeholder(url).await }).await;
        let landed = landed.map_err(|lost| Arc::new(Error::from(lost)))?;
        let mut known = landed.value?;
        if landed.joined && known.status == CacheStatus::Miss {
            known.status = CacheStatus::Collapsed;
        }
        Ok(known)
    }

    async fn compute_placeholder(self: Arc<Self>, source: SourceUrl) -> Result<Known, Arc<Error>> {
        let mut loaded = self.load_record(&source).await?;
        let status = if loaded.record.storable { CacheStatus::Miss } else { CacheStatus::Bypass };
        if let Some(placeholder) = loaded.record.placeholder.clone() {
            self.recorded(&loaded.record).await;
            return Ok(Known { record: loaded.record, placeholder, status });
        }
        if loaded.bytes.is_none() {
            loaded = self.load_bytes(&source).await?;
        }
        let (settings, bytes) = (Arc::clone(&self.imaging), loaded.bytes.clone().unwrap_or_default());
        let job = move |deadline| {
            let probe = imaging::probe(&bytes, &settings.limits)?;
            imaging::placeholder(&bytes, &probe, &settings, deadline)
        };
        let done = self.scheduler.run(loaded.record.decode_cost, job).await;
        let placeholder = done
            .map_err(|error| Error::from_schedule(error, self.scheduler.retry_after()))
            .and_then(|done| Ok(done.value?))
            .map_err(Arc::new)
            .inspect_err(|error| self.remember_failure(source.key(), &loaded.record, error))?;
        let placeholder = Arc::new(placeholder);
        let record = self.with_placeholder(&source, loaded.record, &placeholder);
        self.recorded(&record).await;
        Ok(Known { record, placeholder, status })
    }
}
