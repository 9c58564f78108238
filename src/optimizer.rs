//! The use case: a source and a wish in, a variant out, by the cheapest way there is.
//!
//! Look-up goes record → transform → variant. What must be fetched or drawn is done in detached flights, so that equal
//! requests share it and a client who leaves does not undo it. A failing tier is a counter, never a failed image.

mod error;
mod placeholders;
mod sources;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use self::error::Error;
pub use self::placeholders::Known;
use self::sources::{Failure, Loaded, Need};
use crate::cache::flight::Flights;
use crate::cache::ledger::Ledger;
use crate::cache::memory::Memory;
use crate::cache::{self, CacheStatus, Entry};
use crate::format::ImageFormat;
use crate::imaging::schedule::Scheduler;
use crate::imaging::{self, Rendered};
use crate::record::{Freshness, PlaceholderSet, SourceKey, SourceRecord};
use crate::source::{Fetcher, SourceUrl};
use crate::telemetry::{Label, LookupLabels, Metrics, RenderLabels, TierLabels};
use crate::variant::{ContentHash, Output, Transform, VariantKey, Wish};

/// Downloads at once. Their bodies are in memory, so this times `sources.max_bytes` bounds what strangers can fill.
const DOWNLOADS: usize = 32;
/// Requests for distinct missing pictures under way at once; the next one is refused.
const JOURNEYS: usize = 1024;
/// Sources whose failure is remembered at once.
const FAILURES: u64 = 10_000;

/// Where a request found its picture, so that the next one need not work it out: the key follows from the content and
/// the wish alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    content: ContentHash,
    key: VariantKey,
}

/// A picture and what a response says about it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The picture.
    pub entry: Arc<Entry>,
    /// Where it lies.
    pub hint: Hint,
    /// Its source.
    pub record: Arc<SourceRecord>,
    /// How the request was answered.
    pub status: CacheStatus,
    /// Full lifetime of the source, as Next.js reports it.
    pub ttl: Duration,
    /// What is left of that.
    pub remaining: Duration,
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

type Answer = Result<Outcome, Arc<Error>>;

/// One drawn variant with its record, which has the placeholder by now.
#[derive(Clone)]
struct Drawn {
    entry: Arc<Entry>,
    placeholder: Arc<PlaceholderSet>,
    timings: RequestTimings,
}

/// Everything the optimizer stands on.
pub struct Parts {
    /// Downloads sources.
    pub fetcher: Fetcher,
    /// Runs CPU work.
    pub scheduler: Scheduler,
    /// The memory tier.
    pub memory: Memory,
    /// What was purged.
    pub ledger: Arc<Ledger>,
    /// Lifetimes and budgets.
    pub settings: cache::Settings,
    /// Limits and engines of the pipeline.
    pub imaging: imaging::Settings,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// Where flights run.
    pub runtime: Handle,
}

/// See the module's text.
pub struct Optimizer {
    fetcher: Fetcher,
    scheduler: Scheduler,
    memory: Memory,
    settings: cache::Settings,
    imaging: Arc<imaging::Settings>,
    metrics: Arc<Metrics>,
    runtime: Handle,
    downloads: Semaphore,
    /// What was purged; the last part of the keys below is the newest purge that names the source.
    ledger: Arc<Ledger>,
    loads: Flights<(SourceKey, Need, u64), Result<Loaded, Arc<Error>>>,
    draws: Flights<VariantKey, Result<Drawn, Arc<Error>>>,
    journeys: Flights<(SourceKey, Wish, u64), Answer>,
    placeholders: Flights<(SourceKey, u64), Result<Known, Arc<Error>>>,
    failures: moka::sync::Cache<SourceKey, Failure>,
    /// Counters of the hit path, resolved once.
    memory_hit: Counter,
    memory_stale: Counter,
    memory_miss: Counter,
}

impl Optimizer {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { fetcher, scheduler, memory, ledger, settings, imaging, metrics, runtime } = parts;
        let lookup = |outcome| {
            let labels = LookupLabels { tier: Label("memory"), outcome: Label(outcome) };
            metrics.cache_lookups.get_or_create(&labels).clone()
        };
        Self {
            memory_hit: lookup("hit"),
            memory_stale: lookup("stale"),
            memory_miss: lookup("miss"),
            failures: moka::sync::Cache::builder().max_capacity(FAILURES).time_to_live(settings.negative_ttl).build(),
            downloads: Semaphore::new(DOWNLOADS),
            loads: Flights::new(runtime.clone()),
            draws: Flights::new(runtime.clone()),
            journeys: Flights::new(runtime.clone()),
            placeholders: Flights::new(runtime.clone()),
            imaging: Arc::new(imaging),
            fetcher,
            scheduler,
            memory,
            ledger,
            settings,
            metrics,
            runtime,
        }
    }

    /// A picture from memory, without waiting for anything. A stale one starts its own refresh. `hint` is what an
    /// earlier request for the same source and wish came to.
    pub fn look_up(
        self: &Arc<Self>,
        source: &SourceUrl,
        wish: &Wish,
        hint: Option<&Hint>,
        now: SystemTime,
    ) -> Option<Outcome> {
        let found = self.find(source, wish, hint, now);
        match &found {
            None => self.memory_miss.inc(),
            Some(outcome) if outcome.status == CacheStatus::Stale => self.memory_stale.inc(),
            Some(_) => self.memory_hit.inc(),
        };
        found
    }

    fn find(
        self: &Arc<Self>,
        source: &SourceUrl,
        wish: &Wish,
        hint: Option<&Hint>,
        now: SystemTime,
    ) -> Option<Outcome> {
        let (record, freshness) = self.known(source, now)?;
        let status = match freshness {
            Freshness::Fresh => CacheStatus::Memory,
            Freshness::Stale => CacheStatus::Stale,
            Freshness::Expired | Freshness::Dead => return None,
        };
        let key = match hint {
            Some(hint) if hint.content == record.content => hint.key,
            _ => VariantKey::new(&record.content, &wish.resolve(&record.shape())),
        };
        let entry = self.memory.variant(&key)?;
        if status == CacheStatus::Stale {
            self.refresh_behind(source);
        }
        Some(outcome(entry, key, record, status, RequestTimings::default(), now))
    }

    /// The picture, fetched and drawn if it must be.
    ///
    /// # Errors
    /// See [`Error`]; shared with everybody who waited for the same work.
    pub async fn image(self: &Arc<Self>, source: &SourceUrl, wish: &Wish) -> Answer {
        let key = (source.key(), *wish, self.ledger.newest(sources::named(source)));
        if self.journeys.len() >= JOURNEYS {
            self.metrics.count_shed("journeys");
            return Err(Arc::new(Error::Overloaded { retry_after: self.scheduler.retry_after() }));
        }
        let (this, url, wish) = (Arc::clone(self), source.clone(), *wish);
        let landed = self.journeys.join(key, || async move { this.journey(url, wish).await }).await;
        let landed = landed.map_err(|lost| Arc::new(Error::from(lost)))?;
        let mut outcome = landed.value?;
        if landed.joined && outcome.status == CacheStatus::Miss {
            outcome.status = CacheStatus::Collapsed;
        }
        Ok(outcome)
    }

    /// One request's way to the origin and the pipeline, in a task of its own.
    async fn journey(self: Arc<Self>, source: SourceUrl, wish: Wish) -> Answer {
        // Another journey may have landed between the caller's look-up and this one's start.
        if let Some(outcome) = self.find(&source, &wish, None, SystemTime::now()) {
            return Ok(outcome);
        }
        let mut loaded = self.load_record(&source).await?;
        let mut fetch = loaded.fetch;
        loop {
            let transform = wish.resolve(&loaded.record.shape());
            let key = VariantKey::new(&loaded.record.content, &transform);
            let status = match (&loaded, loaded.record.storable) {
                (Loaded { stale: true, .. }, _) => CacheStatus::Stale,
                (_, true) => CacheStatus::Miss,
                (_, false) => CacheStatus::Bypass,
            };
            if let Some(entry) = self.memory.variant(&key) {
                let timings = RequestTimings { fetch, ..RequestTimings::default() };
                return Ok(outcome(entry, key, loaded.record, status, timings, SystemTime::now()));
            }
            let Some(bytes) = loaded.bytes.clone() else {
                // The record was known and the variant was not: now the bytes are needed, and they may have changed.
                loaded = self.load_bytes(&source).await?;
                fetch = loaded.fetch.or(fetch);
                continue;
            };
            let drawn = self.draw(&source, &loaded.record, key, transform, bytes).await?;
            let record = self.with_placeholder(&source, loaded.record, &drawn.placeholder);
            let timings = RequestTimings { fetch, ..drawn.timings };
            return Ok(outcome(drawn.entry, key, record, status, timings, SystemTime::now()));
        }
    }

    /// Draws a variant, or joins whoever draws it already, be it for another URL with the same bytes.
    async fn draw(
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
            self.memory.put_variant(key, Arc::clone(&entry));
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
    fn with_placeholder(
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
        let latest = latest.filter(|latest| latest.content == record.content);
        let latest = latest.as_deref().unwrap_or(&record).clone();
        self.keep_record(source, SourceRecord { placeholder: Some(Arc::clone(placeholder)), ..latest })
    }

    /// Brings the gauges of the tiers up to date; called when metrics are read.
    pub fn report(&self) {
        let (records, variants, sources) = self.memory.held();
        for (tier, held) in [("record", records), ("memory", variants), ("source", sources)] {
            let gauge = self.metrics.cache_bytes.get_or_create(&TierLabels { tier: Label(tier) });
            gauge.set(i64::try_from(held).unwrap_or(i64::MAX));
        }
    }
}

fn outcome(
    entry: Arc<Entry>,
    key: VariantKey,
    record: Arc<SourceRecord>,
    status: CacheStatus,
    timings: RequestTimings,
    now: SystemTime,
) -> Outcome {
    let (ttl, remaining) = (record.lifetime.ttl, record.lifetime.remaining(now));
    let hint = Hint { content: record.content, key };
    Outcome { entry, hint, record, status, ttl, remaining, timings }
}
