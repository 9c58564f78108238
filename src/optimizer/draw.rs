//! A variant and its placeholder from the bytes of a source.
//!
//! Invariant: one render, on the render threads, for all who wait for it, be it for another URL with the same bytes; and one
//! decode for all renders of the same bytes that are asked for at the same time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::error::is_anew;
use super::{Drawn, Error, Optimizer, RequestTimings, Terms};
use crate::cache::Entry;
use crate::format::ImageFormat;
use crate::imaging::schedule::{self, Done, Whose};
use crate::imaging::{self, Decoded, Rendered, Timings};
use crate::record::{PlaceholderSet, SourceRecord};
use crate::source::SourceUrl;
use crate::telemetry::{Label, RenderLabels};
use crate::variant::{Effort, Output, Transform, VariantKey};

/// What a render thread has made.
struct Made {
    entry: Arc<Entry>,
    /// Of what was decoded.
    placeholder: Option<Arc<PlaceholderSet>>,
    timings: Timings,
}

impl Made {
    /// Hashing for the entity tag is CPU work too, so the entry is made on the render thread.
    fn of(rendered: Rendered, effort: Option<Effort>) -> Self {
        let Rendered { bytes, format, width, height, placeholder, timings, original } = rendered;
        // The source's own bytes are what they are.
        let effort = effort.filter(|_| !original);
        let entry = Arc::new(Entry::new(Bytes::from(bytes), format, width, height, effort));
        Self { entry, placeholder: Some(placeholder), timings }
    }
}

impl Optimizer {
    /// Draws a variant, or joins whoever draws it already, be it for another URL with the same bytes.
    pub(super) async fn draw(
        self: &Arc<Self>,
        source: &SourceUrl,
        record: &Arc<SourceRecord>,
        key: VariantKey,
        transform: Transform,
        bytes: Bytes,
        whose: &Whose,
    ) -> Result<Drawn, Arc<Error>> {
        if let Some(error) = self.variant_failure(&key) {
            return Err(error);
        }
        let landed = loop {
            let (this, owned, bytes, for_whom) = (Arc::clone(self), Arc::clone(record), bytes.clone(), whose.clone());
            let work = |_| this.render(owned, key, transform, bytes, for_whom);
            let landed = self.draws.join(key, work).await.map_err(|lost| Arc::new(Error::from(lost)))?;
            if !is_anew(&landed.value, whose.is_deserted()) {
                break landed;
            }
        };
        let drawn = landed.value.inspect_err(|error| self.remember_draw(source.key(), key, record, error))?;
        Ok(Drawn { joined: landed.joined, ..drawn })
    }

    async fn render(
        self: Arc<Self>,
        record: Arc<SourceRecord>,
        key: VariantKey,
        transform: Transform,
        bytes: Bytes,
        whose: Whose,
    ) -> Result<Drawn, Arc<Error>> {
        let source_bytes = bytes.len() as u64;
        let deadline = self.scheduler.deadline();
        let peak = self.peak(&record, &transform, Effort::Fast);
        let drawn = if let Err(error) = imaging::judge_peak(peak, &self.imaging().limits) {
            Err(Arc::new(Error::from(error)))
        } else if record.is_passed_on() {
            self.from_source(&record, bytes, &whose, deadline).await
        } else if Decoded::serves(record.format, &transform) {
            self.from_decoded(&record, transform, bytes, &whose, deadline).await
        } else {
            self.from_bytes(&record, transform, bytes, &whose, deadline).await
        };
        self.count_render(&transform, record.format, drawn.as_ref().map_or_else(|error| error.kind(), |_| "ok"));
        let drawn = drawn?;
        if let (Output::Still(format), Some(took)) = (transform.output, drawn.timings.encode) {
            let (width, height) = transform.geometry.size();
            let pixels = u64::from(width) * u64::from(height);
            self.pace.note(format, pixels, transform.quality, took);
        }
        for (stage, time) in [("resize", drawn.timings.resize), ("encode", drawn.timings.encode)] {
            self.metrics.observe_stage(stage, time.unwrap_or_default());
        }
        self.metrics.bytes_saved.inc_by(source_bytes.saturating_sub(drawn.entry.bytes.len() as u64));
        if record.storable {
            self.tiers.memory.put_variant(key, Arc::clone(&drawn.entry));
        }
        Ok(drawn)
    }

    /// In two halves: the decode, which is shared by all that is asked of the source at this time, and the rest.
    async fn from_decoded(
        self: &Arc<Self>,
        record: &SourceRecord,
        transform: Transform,
        bytes: Bytes,
        whose: &Whose,
        deadline: Instant,
    ) -> Result<Drawn, Arc<Error>> {
        let asked = Instant::now();
        let finishing = self.finishing(record, &transform);
        let held = self.decoded(record, &bytes, finishing, whose, deadline).await?;
        let waited = asked.elapsed().saturating_sub(held.decoded.took);
        let (width, height) = transform.geometry.size();
        let (weight, cost) = (u64::from(width) * u64::from(height), held.unreserved(finishing));
        let (settings, effort) = (self.imaging(), self.effort(record, &transform));
        let job = move || {
            let mut rendered =
                held.decoded.finish(&bytes, &held.probe, &transform, &settings, Effort::Fast, deadline)?;
            rendered.timings.decode = held.decoded.took;
            if cost == 0 {
                held.take_back();
            }
            // The image's memory is given back before anybody is told.
            drop(held);
            Ok(Made::of(rendered, effort))
        };
        let done = self.scheduler.finish(weight, cost, deadline, job).await;
        self.drawn(done, waited)
    }

    /// The source as it is: its container was read whole when it came.
    async fn from_source(
        self: &Arc<Self>,
        record: &SourceRecord,
        bytes: Bytes,
        whose: &Whose,
        deadline: Instant,
    ) -> Result<Drawn, Arc<Error>> {
        let (format, width, height) = (record.format, record.width, record.height);
        let settings = self.imaging();
        let job = move || {
            // Records outlive a change of the configuration.
            let probe = imaging::probe(&bytes, &settings.limits)?;
            if probe.decoded_bytes > 0 {
                return Err(imaging::Error::NotDecoded { format });
            }
            // A copy: the source's bytes hold room for bodies for as long as they are there.
            let entry = Arc::new(Entry::new(Bytes::copy_from_slice(&bytes), format, width, height, None));
            Ok(Made { entry, placeholder: None, timings: Timings::default() })
        };
        self.drawn(self.scheduler.run(whose, record.bytes, deadline, job).await, Duration::ZERO)
    }

    /// In one: what is made of the source's bytes, or anew at each size.
    async fn from_bytes(
        self: &Arc<Self>,
        record: &SourceRecord,
        transform: Transform,
        bytes: Bytes,
        whose: &Whose,
        deadline: Instant,
    ) -> Result<Drawn, Arc<Error>> {
        let settings = self.imaging();
        let job = move || {
            let probe = imaging::probe(&bytes, &settings.limits)?;
            imaging::render(&bytes, &probe, &transform, &settings, deadline).map(|made| Made::of(made, None))
        };
        let done = self.scheduler.run(whose, self.peak(record, &transform, Effort::Fast), deadline, job).await;
        let drawn = self.drawn(done, Duration::ZERO)?;
        self.metrics.observe_stage("decode", drawn.timings.decode.unwrap_or_default());
        Ok(drawn)
    }

    /// Estimated memory of making an output at its peak, in bytes.
    pub(super) fn peak(&self, record: &SourceRecord, transform: &Transform, effort: Effort) -> u64 {
        let imaging = self.imaging();
        // A record may have the estimate of an older version; what is too large to decode is refused by its header.
        let decode = record.decode_cost.min(imaging.limits.max_memory);
        imaging::peak_bytes(&record.shape(), decode, transform, &imaging, effort)
    }

    fn finishing(&self, record: &SourceRecord, transform: &Transform) -> u64 {
        imaging::finishing_bytes(&record.shape(), transform, &self.imaging(), Effort::Fast)
    }

    fn drawn(
        &self,
        done: Result<Done<Result<Made, imaging::Error>>, schedule::Error>,
        waited: Duration,
    ) -> Result<Drawn, Arc<Error>> {
        let done = done.map_err(|error| Error::from_schedule(error, self.scheduler.retry_after()))?;
        let Made { entry, placeholder, timings } = done.value.map_err(Error::from)?;
        let timings = RequestTimings {
            fetch: None,
            queue: Some(waited + done.waited),
            decode: Some(timings.decode),
            resize: Some(timings.resize),
            encode: Some(timings.encode),
        };
        Ok(Drawn { entry, placeholder, timings, joined: false })
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
        placeholder: Option<&Arc<PlaceholderSet>>,
    ) -> Arc<SourceRecord> {
        let Some(placeholder) = placeholder.filter(|_| record.placeholder.is_none()) else {
            return record;
        };
        // A refresh may have put a newer record meanwhile; only one of the same bytes gets this placeholder.
        let latest = self.known(source, Terms::Origin, SystemTime::now()).map(|(latest, _)| latest);
        if latest.as_ref().is_some_and(|latest| latest.content != record.content) {
            return record;
        }
        let latest = latest.as_deref().unwrap_or(&record).clone();
        self.keep_record(source, SourceRecord { placeholder: Some(Arc::clone(placeholder)), ..latest })
    }
}
