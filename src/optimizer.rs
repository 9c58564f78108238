//! The use case: a source and a wish in, a variant out, by the cheapest way there is.
//!
//! Look-up goes record → transform → variant. What must be fetched or drawn is done in detached flights, so that equal
//! requests share it and a client who leaves does not undo it. A failing tier is a counter, never a failed image.

mod decoded;
mod draw;
mod error;
mod failures;
mod fair;
mod origins;
mod outcome;
mod pace;
mod placeholders;
mod recording;
mod refine;
mod shared;
mod sources;
mod terms;
mod trail;
mod tuning;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::decoded::{Held, Keep, Pictures};
pub use self::error::Error;
use self::failures::Failures;
use self::origins::Origins;
use self::outcome::outcome;
pub use self::outcome::{Outcome, RequestTimings};
use self::pace::Pace;
pub use self::placeholders::Known;
use self::refine::Prospects;
pub use self::refine::{Candidate, Refined, WAITING};
use self::shared::Turn;
use self::sources::{Loaded, Need};
pub use self::terms::Terms;
pub use self::trail::Trail;
pub use self::tuning::Tuning;
use crate::cache::flight::{Flights, Wanted};
use crate::cache::ledger::Ledger;
use crate::cache::tiered::Tiered;
use crate::cache::{self, CacheStatus, Entry};
use crate::imaging;
use crate::imaging::schedule::{Scheduler, Whose};
use crate::record::{PlaceholderSet, SourceKey, WishKey};
use crate::source::{Fetcher, SourceUrl, Turns};
use crate::store::{MetadataStore, Recorder};
use crate::telemetry::{Label, LookupLabels, Metrics, TierLabels};
use crate::variant::{ContentHash, VariantKey, Wish};

/// Requests for distinct missing images under way at once, and as many for placeholders; the next one is refused.
const JOURNEYS: usize = 1024;

type Answer = Result<Outcome, Arc<Error>>;

/// One drawn variant with its record, which has the placeholder by now.
#[derive(Clone)]
struct Drawn {
    entry: Arc<Entry>,
    placeholder: Option<Arc<PlaceholderSet>>,
    timings: RequestTimings,
    /// Drawn by other work, which tells of it.
    joined: bool,
}

/// Everything the optimizer stands on.
pub struct Parts {
    /// Downloads sources.
    pub fetcher: Fetcher,
    /// Runs CPU work.
    pub scheduler: Scheduler,
    /// The cache.
    pub tiers: Tiered,
    /// What was purged.
    pub ledger: Arc<Ledger>,
    /// Lifetimes and budgets.
    pub settings: cache::Settings,
    /// Limits and engines of the pipeline.
    pub imaging: imaging::Settings,
    /// What is known from before this process.
    pub store: Option<Arc<dyn MetadataStore>>,
    /// Writes behind what is to be known after it.
    pub recorder: Option<Arc<Recorder>>,
    /// Where variants go that could be better.
    pub candidates: mpsc::Sender<Candidate>,
    /// The largest sources of which variants are made better, in bytes; `None` where none are.
    pub refine_max_bytes: Option<u64>,
    /// How downloads take turns.
    pub turns: Turns,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// Where flights run.
    pub runtime: Handle,
}

/// See the module's text.
pub struct Optimizer {
    tuning: ArcSwap<Tuning>,
    scheduler: Scheduler,
    tiers: Tiered,
    store: Option<Arc<dyn MetadataStore>>,
    recorder: Option<Arc<Recorder>>,
    candidates: mpsc::Sender<Candidate>,
    pace: Pace,
    prospects: Prospects,
    metrics: Arc<Metrics>,
    runtime: Handle,
    origins: Origins,
    /// What was purged; the last part of the keys below is the newest purge that names the source.
    ledger: Arc<Ledger>,
    loads: Flights<(SourceKey, Need, u64), Result<Loaded, Arc<Error>>>,
    draws: Flights<VariantKey, Result<Drawn, Arc<Error>>>,
    decodes: Flights<ContentHash, Result<Arc<Held>, Arc<Error>>>,
    pictures: Pictures,
    keep: Keep,
    journeys: Flights<(SourceKey, Wish, Terms, u64), Answer>,
    placeholders: Flights<(SourceKey, u64), Result<Known, Arc<Error>>>,
    failures: Failures,
    /// Counters of the hit path, resolved once.
    memory_hit: Counter,
    memory_stale: Counter,
    memory_miss: Counter,
}

impl Optimizer {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            fetcher,
            scheduler,
            tiers,
            ledger,
            settings,
            imaging,
            store,
            recorder,
            candidates,
            refine_max_bytes,
            turns,
            metrics,
            runtime,
        } = parts;
        let lookup = |outcome| {
            let labels = LookupLabels { tier: Label("memory"), outcome: Label(outcome) };
            metrics.cache_lookups.get_or_create(&labels).clone()
        };
        Self {
            memory_hit: lookup("hit"),
            memory_stale: lookup("stale"),
            memory_miss: lookup("miss"),
            failures: Failures::none(),
            origins: Origins::new(turns),
            loads: Flights::new(runtime.clone()),
            draws: Flights::new(runtime.clone()),
            decodes: Flights::new(runtime.clone()),
            pictures: Pictures::default(),
            keep: Keep::of(scheduler.kept_memory()),
            journeys: Flights::new(runtime.clone()),
            placeholders: Flights::new(runtime.clone()),
            pace: Pace::new(imaging.avif_engine),
            prospects: Prospects::new(refine_max_bytes),
            tuning: ArcSwap::from_pointee(Tuning { fetcher, settings, imaging: Arc::new(imaging) }),
            scheduler,
            tiers,
            ledger,
            store,
            recorder,
            candidates,
            metrics,
            runtime,
        }
    }

    /// The image, fetched and drawn if it must be.
    ///
    /// # Errors
    /// See [`Error`]; shared with everybody who waited for the same work.
    pub async fn image(self: &Arc<Self>, source: &SourceUrl, wish: &Wish, terms: Terms) -> Answer {
        let key = (source.key(), *wish, terms, self.ledger.newest(sources::named(source)));
        if self.journeys.len() >= JOURNEYS {
            self.metrics.count_shed("journeys");
            return Err(Arc::new(Error::Overloaded { retry_after: self.scheduler.retry_after() }));
        }
        let landed = loop {
            let (this, url, asked) = (Arc::clone(self), source.clone(), *wish);
            let work = |wanted| async move { this.journey(url, asked, terms, wanted).await };
            let landed = self.journeys.join(key, work).await.map_err(|lost| Arc::new(Error::from(lost)))?;
            // Who came as the last of the others left begins anew.
            if !error::is_anew(&landed.value, false) {
                break landed;
            }
        };
        let mut outcome = landed.value?;
        if landed.joined && outcome.status == CacheStatus::Miss {
            outcome.status = CacheStatus::Collapsed;
        }
        self.settle(wish, terms, &mut outcome);
        self.note(source, wish, &outcome, SystemTime::now());
        if outcome.instead.is_some() || outcome.status != CacheStatus::Miss {
            self.note_interim(source, wish, &outcome);
        }
        Ok(outcome)
    }

    /// One request's way to the origin and the pipeline, in a task of its own.
    async fn journey(self: Arc<Self>, source: SourceUrl, wish: Wish, terms: Terms, wanted: Wanted) -> Answer {
        // Another journey may have landed between the caller's look-up and this one's start.
        if let Some(outcome) = self.find(&source, &wish, terms, None, SystemTime::now()) {
            return Ok(outcome);
        }
        let key = WishKey::new(&source.key(), &wish);
        let lease = match self.turn(&source, &wish, terms, key).await {
            Turn::Found(outcome) => return Ok(outcome),
            Turn::Lead(lease) => lease,
        };
        let mut answer = self.make(&source, &wish, terms, key, &wanted).await;
        if let Ok(made @ Outcome { status: CacheStatus::Stale, .. }) = &mut answer {
            made.superseded = self.is_superseded(&source, &made.record);
        }
        if let Some(lease) = lease {
            self.release_behind(lease);
        }
        if let Ok(Outcome { status: CacheStatus::Miss, record, .. }) = &answer {
            self.recorded(record).await;
        }
        answer
    }

    /// Fetches and draws what must be.
    async fn make(
        self: &Arc<Self>,
        source: &SourceUrl,
        wish: &Wish,
        terms: Terms,
        wish_key: WishKey,
        wanted: &Wanted,
    ) -> Answer {
        let whose = whose(source, wanted);
        let mut loaded = self.load_record(source, terms, wanted).await?;
        let mut fetch = loaded.fetch;
        // What was decoded to learn of it is drawn from too.
        let mut _held = None;
        loop {
            if wish.is_undecided(&loaded.record.shape())
                && let Some(bytes) = loaded.bytes.clone()
            {
                (loaded.record, _held) = self.learn_quality(source, loaded.record, bytes, &whose).await?;
            }
            let instead = self.instead(wish, &loaded.record);
            let transform = instead.unwrap_or(*wish).resolve(&loaded.record.shape());
            let key = VariantKey::new(&loaded.record.content, &transform);
            let status = match (&loaded, loaded.record.storable) {
                (Loaded { stale: true, .. }, _) => CacheStatus::Stale,
                (_, true) => CacheStatus::Miss,
                (_, false) => CacheStatus::Bypass,
            };
            let known = match self.tiers.memory.variant(&key) {
                // The source was asked for anew, and may be what it was when its variants were made elsewhere.
                None if fetch.is_some() && loaded.record.storable => self.tiers.variant_shared(key, |_| true).await,
                known => known,
            };
            if let Some(entry) = known.filter(|_| !wish.is_undecided(&loaded.record.shape())) {
                let timings = RequestTimings { fetch, ..RequestTimings::default() };
                let found = outcome(entry, key, loaded.record, status, timings, SystemTime::now());
                return Ok(Outcome { instead, ..found });
            }
            let Some(bytes) = loaded.bytes.clone() else {
                // The record was known and the variant (or its quality) was not: now the bytes are needed, and they may have changed.
                loaded = self.load_bytes(source, wanted).await?;
                fetch = loaded.fetch.or(fetch);
                continue;
            };
            let drawn = self.draw(source, &loaded.record, key, transform, bytes, &whose).await?;
            if loaded.record.storable {
                let wish_key = instead.map_or(wish_key, |instead| WishKey::new(&source.key(), &instead));
                self.tiers.share_variant(source.key(), wish_key, key, &drawn.entry);
            }
            let record = self.with_placeholder(source, loaded.record, drawn.placeholder.as_ref());
            let timings = RequestTimings { fetch, ..drawn.timings };
            let now = SystemTime::now();
            let made = Outcome { instead, ..outcome(drawn.entry, key, record, status, timings, now) };
            if made.record.storable {
                let render = (!drawn.joined).then(|| made.timings.render()).flatten();
                self.describe(source, instead.as_ref().unwrap_or(wish), &made, render, now);
            }
            return Ok(made);
        }
    }

    /// Whether the shared tier answers; `None` where there is none.
    pub fn shared_is_up(&self) -> Option<bool> {
        self.tiers.shared_is_up()
    }

    /// Has the memory tier let go of what has expired; bytes of downloads that it still holds.
    pub fn tidy(&self) -> u64 {
        self.tiers.memory.held().2
    }

    /// Brings the gauges of the tiers up to date; called when metrics are read.
    pub fn report(&self) {
        let (records, variants, sources) = self.tiers.memory.held();
        for (tier, held) in [("record", records), ("memory", variants), ("source", sources)] {
            let gauge = self.metrics.cache_bytes.get_or_create(&TierLabels { tier: Label(tier) });
            gauge.set(i64::try_from(held).unwrap_or(i64::MAX));
        }
    }
}

/// Work for a source that is done for `wanted`.
fn whose(source: &SourceUrl, wanted: &Wanted) -> Whose {
    let wanted = wanted.clone();
    Whose::of(source.host(), Some(Arc::new(move || wanted.is_deserted())))
}

/// The tags by which a CDN can drop what was made of `source`; a purge names one of them.
pub fn tags_of(source: &SourceUrl) -> [String; 3] {
    sources::named(source).tags()
}
