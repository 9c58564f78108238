//! A variant and its placeholder from the bytes of a source.
//!
//! The law: one render, on the render threads, for all who wait for it, be it for another URL with the same bytes.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::{Drawn, Error, Optimizer, RequestTimings};
use crate::cache::Entry;
use crate::format::ImageFormat;
use crate::imaging::{self, Rendered};
use crate::record::{PlaceholderSet, SourceRecord};
use crate::source::SourceUrl;
use crate::telemetry::{Label, RenderLabels};
use crate::variant::{Output, Transform, VariantKey};

impl Optimizer {
    /// Draws a variant, or joins whoever draws it already, be it for another URL with the same bytes.
    pub(super) async fn draw(
        self: &Arc<Self>,
        source: &SourceUrl,
        record: &Arc<SourceRecord>,
        key: VariantKey,
        transform: Transform,
        bytes: Bytes,
    ) -> Result<Drawn, Arc<Error>> {
        let (this, owned) = (Arc::clone(self), Arc::clone(record));
        let work = || async move { this.render(owned, key, transform, bytes).await.map_err(Arc::new) };
        let landed = self.draws.join(key, work).await.map_err(|lost| Arc::new(Error::from(lost)))?;
        landed.value.inspect_err(|error| self.remember_failure(source.key(), record, error))
    }

    async fn render(
        self: Arc<Self>,
        record: Arc<SourceRecord>,
        key: VariantKey,
        transform: Transform,
        bytes: Bytes,
    ) -> Result<Drawn, Error> {
        let settings = Arc::clone(&self.imaging);
        let source_bytes = bytes.len() as u64;
        let job = move |deadline| {
            let probe = imaging::probe(&bytes, &settings.limits)?;
            let Rendered { bytes, format, width, height, placeholder, timings, .. } =
                imaging::render(&bytes, &probe, &transform, &settings, deadline)?;
            // Hashing for the entity tag is CPU work too, so the entry is made here.
            let entry = Entry::new(Bytes::from(bytes), format, width, height);
            Ok::<_, imaging::Error>((Arc::new(entry), Arc::new(placeholder), timings))
        };
        let done = self
            .scheduler
            .run(record.decode_cost, job)
            .await
            .map_err(|error| Error::from_schedule(error, self.scheduler.retry_after()))
            .and_then(|done| Ok((done.value?, done.waited)));
        self.count_render(&transform, record.format, done.as_ref().map_or_else(Error::kind, |_| "ok"));
        let ((entry, placeholder, timings), waited) = done?;
        for (stage, time) in [("decode", timings.decode), ("resize", timings.resize), ("encode", timings.encode)] {
            self.metrics.observe_stage(stage, time);
        }
        self.metrics.bytes_saved.inc_by(source_bytes.saturating_sub(entry.bytes.len() as u64));
        if record.storable {
            self.tiers.memory.put_variant(key, Arc::clone(&entry));
        }
        let timings = RequestTimings {
            fetch: None,
            queue: Some(waited),
            decode: Some(timings.decode),
            resize: Some(timings.resize),
            encode: Some(timings.encode),
        };
        Ok(Drawn { entry, placeholder, timings })
    }

    fn count_render(&self, transform: &Transform, source: ImageFormat, outcome: &'static str) {
        let format = match transform.output {
            Output::Still(format) => format,
            Output::AnimatedWebp => ImageFormat::Webp,
            Output::Original => source,
        };
        let labels = RenderLabels { format: Label(format.as_str()), outcome: Label(outcome) };
        self.metrics.renders.get_or_create(&labels).inc();
    }

    /// The record with the placeholder of the decode that was just made, if it had none.
    pub(super) fn with_placeholder(
        &self,
        source: &SourceUrl,
        record: Arc<SourceRecord>,
        placeholder: &Arc<PlaceholderSet>,
    ) -> Arc<SourceRecord> {
        if record.placeholder.is_some() {
            return record;
        }
        // A refresh may have put a newer record meanwhile; only one of the same bytes gets this placeholder.
        let latest = self.known(source, SystemTime::now()).map(|(latest, _)| latest);
        if latest.as_ref().is_some_and(|latest| latest.content != record.content) {
            return record;
        }
        let latest = latest.as_deref().unwrap_or(&record).clone();
        self.keep_record(source, SourceRecord { placeholder: Some(Arc::clone(placeholder)), ..latest })
    }
}
