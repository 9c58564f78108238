//! The quality of a source for requests that leave it to us.
//!
//! Invariant: it is learned once, from the same decode that the image is made of, and kept with the source's record, so
//! that every later request knows the name of its variant without looking at a pixel.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::decoded::Held;
use super::{Error, Optimizer, Terms};
use crate::format::ImageFormat;
use crate::imaging::schedule::Whose;
use crate::imaging::{self, FAIR_QUALITY_PIXELS, SCORE_BYTES};
use crate::record::SourceRecord;
use crate::source::SourceUrl;
use crate::variant::Quality;

impl Optimizer {
    /// The record with its fair quality, and the decoded image, where there is one.
    pub(super) async fn learn_quality(
        self: &Arc<Self>,
        source: &SourceUrl,
        record: Arc<SourceRecord>,
        bytes: Bytes,
        whose: &Whose,
    ) -> Result<(Arc<SourceRecord>, Option<Arc<Held>>), Arc<Error>> {
        // Moving images and drawings have no one decode to learn from.
        if record.frames > 1 || record.is_passed_on() || record.format == ImageFormat::Svg {
            return Ok((self.with_quality(source, &record, Quality::DEFAULT), None));
        }
        let deadline = self.scheduler.deadline();
        let held = self.decoded(&record, &bytes, SCORE_BYTES, whose, deadline).await;
        let held = held.inspect_err(|error| self.remember_failure(source.key(), &record, error))?;
        let picture = Arc::clone(&held);
        let cost = held.unreserved(SCORE_BYTES);
        let job = move || {
            let quality = picture.decoded.fair_quality(deadline);
            if cost == 0 {
                picture.take_back();
            }
            quality
        };
        let done = self.scheduler.finish(FAIR_QUALITY_PIXELS, cost, deadline, job).await;
        let done = done.map_err(|error| Error::from_schedule(error, self.scheduler.retry_after()))?;
        let quality = done.value.map_err(|error: imaging::Error| Arc::new(Error::from(error)))?;
        Ok((self.with_quality(source, &record, quality), Some(held)))
    }

    fn with_quality(&self, source: &SourceUrl, record: &Arc<SourceRecord>, quality: Quality) -> Arc<SourceRecord> {
        // A refresh may have put a newer record meanwhile; only one of the same bytes gets this quality.
        let latest = self.known(source, Terms::Origin, SystemTime::now()).map(|(latest, _)| latest);
        let latest = latest.filter(|latest| latest.content == record.content);
        let latest = latest.as_deref().unwrap_or(record).clone();
        self.keep_record(source, SourceRecord { fair_quality: Some(quality), ..latest })
    }
}
