//! Variants made better behind: encoded anew with more effort, or in the format that was too slow for the first answer.
//!
//! Invariant: nobody waits for this and nothing fails by it; what is made has the key of what it takes the place of, so that
//! a purge in between is a purge of both.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Error, Optimizer, Outcome, RequestTimings, Terms, outcome};
use crate::cache::flight::Wanted;
use crate::cache::redis::Lease;
use crate::cache::{CacheStatus, Entry};
use crate::format::ImageFormat;
use crate::imaging::{self, Decoded, SCORE_BYTES};
use crate::record::{SourceRecord, WishKey};
use crate::source::SourceUrl;
use crate::variant::{Effort, Transform, VariantKey, Wish};

/// Candidates that wait at once; one more is noted again at its next request.
pub const WAITING: usize = 1_000;
/// How long another replica that refines a variant is taken at its word.
const LEASE: Duration = Duration::from_secs(20);

/// Variants at once of which is known that nothing better will come.
const HOPELESS: u64 = 10_000;
/// How long that is taken for granted.
const FOR_NOW: Duration = Duration::from_secs(60 * 60);

/// What can be hoped for: a variant is called interim only while it is going to be better.
pub(super) struct Prospects {
    /// Larger sources are left as they are; `None` where all are.
    max_bytes: Option<u64>,
    hopeless: moka::sync::Cache<VariantKey, ()>,
}

impl Prospects {
    pub(super) fn new(max_bytes: Option<u64>) -> Self {
        let hopeless = moka::sync::Cache::builder().max_capacity(HOPELESS).time_to_live(FOR_NOW).build();
        Self { max_bytes, hopeless }
    }

    /// Whether anything of a source is refined.
    pub(super) fn of_source(&self, record: &SourceRecord) -> bool {
        self.max_bytes.is_some_and(|most| record.bytes <= most) && record.storable
    }

    /// Nothing better than what there is will come of a variant.
    pub(super) fn give_up(&self, key: VariantKey) {
        self.hopeless.insert(key, ());
    }

    /// Whether a variant is going to be better.
    fn of_variant(&self, record: &SourceRecord, key: &VariantKey) -> bool {
        self.of_source(record) && !self.hopeless.contains_key(key)
    }
}

/// A variant that could be better.
#[derive(Debug)]
pub struct Candidate {
    source: SourceUrl,
    wish: Wish,
    effort: Effort,
    /// What was answered, which is noted once.
    answered: Weak<Entry>,
    /// When it was asked for.
    pub noted: Instant,
}

impl Candidate {
    /// Lets its next request note it again.
    fn release(&self) {
        if let Some(entry) = self.answered.upgrade() {
            entry.noted.clear();
        }
    }
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refined {
    /// A better one was made, in this time.
    Made(Duration),
    /// The one there is is as good, which took this time to find out.
    Kept(Duration),
    /// Another replica has made it.
    Found,
    /// It is not known any more, better already, too large, or somebody else's work just now.
    Passed,
    /// It could not be made.
    Failed,
}

impl Refined {
    /// Metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Made(_) => "made",
            Self::Kept(_) => "kept",
            Self::Found => "found",
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

impl Optimizer {
    /// What is said of an answer at its end: how long it lives by these terms, and whether a better one is to come.
    pub(super) fn settle(&self, wish: &Wish, terms: Terms, outcome: &mut Outcome) {
        outcome.ttl = self.ttl(&outcome.record, terms);
        outcome.interim = match outcome.instead {
            None => outcome.entry.is_interim() && self.prospects.of_variant(&outcome.record, &outcome.hint.key),
            Some(_) => {
                let preferred = VariantKey::new(&outcome.record.content, &wish.resolve(&outcome.record.shape()));
                self.prospects.of_variant(&outcome.record, &preferred)
            }
        };
    }

    /// Tells whoever refines that this answer was asked for again and could be better.
    pub(super) fn note_interim(&self, source: &SourceUrl, wish: &Wish, outcome: &Outcome) {
        let entry = &outcome.entry;
        if !outcome.interim || !entry.noted.set() {
            return;
        }
        // What it stands in for is made first as fast as can be; that one is refined when it is asked for again.
        let effort = if outcome.instead.is_some() { Effort::Fast } else { Effort::Dense };
        let (answered, noted) = (Arc::downgrade(entry), Instant::now());
        let candidate = Candidate { source: source.clone(), wish: *wish, effort, answered, noted };
        if matches!(self.candidates.try_send(candidate), Err(mpsc::error::TrySendError::Full(_))) {
            entry.noted.clear();
        }
    }

    /// Lets a candidate go that has waited too long; its next request notes it again.
    pub fn pass_over(&self, candidate: &Candidate) {
        candidate.release();
    }

    /// Makes a candidate, once nothing else is to be done. What nothing came of may be noted again: whether there is hope
    /// of more is another question (see `Prospects`).
    pub async fn refine(self: &Arc<Self>, candidate: &Candidate) -> Refined {
        let refined = self.try_to_refine(candidate).await;
        if matches!(refined, Refined::Passed | Refined::Failed) {
            candidate.release();
        }
        refined
    }

    async fn try_to_refine(self: &Arc<Self>, candidate: &Candidate) -> Refined {
        let Candidate { source, wish, effort, .. } = candidate;
        let Some((record, _)) = self.known(source, Terms::Origin, SystemTime::now()) else { return Refined::Passed };
        let transform = wish.resolve(&record.shape());
        let key = VariantKey::new(&record.content, &transform);
        let here = self.tiers.memory.variant(&key);
        let is_better = |entry: &Entry| match effort {
            Effort::Fast => true,
            Effort::Dense => !entry.is_interim(),
        };
        if here.as_deref().is_some_and(is_better) {
            return Refined::Passed;
        }
        let too_large = self.refining(&record, &transform, *effort) > self.scheduler.spare_memory();
        if too_large || !self.prospects.of_source(&record) || !Decoded::serves(record.format, &transform) {
            self.prospects.give_up(key);
            return Refined::Passed;
        }
        if let Some(tier) = self.tiers.shared().cloned() {
            if self.tiers.variant_shared(key, |entry| is_better(entry)).await.is_some() {
                return Refined::Found;
            }
            let work = WishKey::new(&source.key(), wish).refined();
            return match tier.lease(&work, LEASE).await {
                Lease::Held => Refined::Passed,
                Lease::Unavailable => self.make_better(candidate, record, key, transform, here).await,
                Lease::Acquired(lease) => {
                    let refined = self.make_better(candidate, record, key, transform, here).await;
                    self.release_behind(lease);
                    refined
                }
            };
        }
        self.make_better(candidate, record, key, transform, here).await
    }

    async fn make_better(
        self: &Arc<Self>,
        candidate: &Candidate,
        record: Arc<SourceRecord>,
        key: VariantKey,
        transform: Transform,
        here: Option<Arc<Entry>>,
    ) -> Refined {
        let Candidate { source, wish, effort, .. } = candidate;
        let loaded = match self.load_bytes(source, &Wanted::always()).await {
            Ok(loaded) if loaded.record.content == record.content && loaded.record.storable => loaded,
            Ok(_) => return Refined::Passed,
            Err(error) => {
                // An origin that is back by then is asked at the next request.
                if error.is_lasting() {
                    self.prospects.give_up(key);
                }
                return Refined::Failed;
            }
        };
        let bytes = loaded.bytes.unwrap_or_default();
        let first = here.as_ref().filter(|_| *effort == Effort::Dense).map(|here| here.bytes.clone());
        let made = match self.encoded_behind(&record, transform, bytes, *effort, first).await {
            Ok(made) => made,
            Err(error) => {
                tracing::debug!(source = %source, %error, "a variant could not be refined");
                self.prospects.give_up(key);
                return Refined::Failed;
            }
        };
        let (entry, took) = made;
        // The same quality for more bytes is no better one: it keeps its bytes, and its name.
        let kept = here.filter(|here| here.bytes.len() <= entry.bytes.len());
        let refined = if kept.is_some() { Refined::Kept(took) } else { Refined::Made(took) };
        let entry = match kept {
            Some(here) => Arc::new(Entry { effort: entry.effort, ..Entry::clone(&here) }),
            None => Arc::new(entry),
        };
        self.tiers.memory.put_variant(key, Arc::clone(&entry));
        self.tiers.share_variant(source.key(), WishKey::new(&source.key(), wish), key, &entry);
        let timings = RequestTimings { encode: Some(took), ..RequestTimings::default() };
        let now = SystemTime::now();
        let better = outcome(entry, key, loaded.record, CacheStatus::Miss, timings, now);
        self.describe(source, wish, &better, Some(took), now);
        refined
    }

    async fn encoded_behind(
        &self,
        record: &SourceRecord,
        transform: Transform,
        bytes: Bytes,
        effort: Effort,
        first: Option<Bytes>,
    ) -> Result<(Entry, Duration), Error> {
        let settings = self.imaging();
        let job = move |deadline| {
            let began = Instant::now();
            let probe = imaging::probe(&bytes, &settings.limits)?;
            let decoded = Decoded::of(&bytes, &probe, &settings, deadline)?;
            let made = match first {
                Some(first) => decoded.refine(&bytes, &probe, &transform, &settings, &first, deadline),
                None => decoded.finish(&bytes, &probe, &transform, &settings, effort, deadline),
            }?;
            let effort = interim(probe.format, &transform, &settings).map(|_| effort);
            let entry = Entry::new(Bytes::from(made.bytes), made.format, made.width, made.height, effort);
            Ok::<_, imaging::Error>((entry, began.elapsed()))
        };
        let done = self.scheduler.run_behind(self.refining(record, &transform, effort), job).await;
        Ok(done.map_err(|error| Error::from_schedule(error, self.scheduler.retry_after()))??)
    }

    /// Estimated memory of refining, in bytes: of making it, and of comparing it with what there is.
    fn refining(&self, record: &SourceRecord, transform: &Transform, effort: Effort) -> u64 {
        self.peak(record, transform, effort).saturating_add(SCORE_BYTES)
    }

    /// What a variant that was encoded fast is marked with, if it may be refined.
    pub(super) fn effort(&self, record: &SourceRecord, transform: &Transform) -> Option<Effort> {
        interim(record.format, transform, &self.imaging())
    }

    /// What a request for `wish` is answered with, while what it prefers is made behind.
    pub(super) fn find_instead(
        &self,
        wish: &Wish,
        record: &SourceRecord,
    ) -> Option<(Arc<Entry>, VariantKey, Option<Wish>)> {
        let other = self.instead(wish, record)?;
        let key = VariantKey::new(&record.content, &other.resolve(&record.shape()));
        Some((self.tiers.memory.variant(&key)?, key, Some(other)))
    }
}

/// What an output is marked with that was encoded fast, if it may be refined.
fn interim(format: ImageFormat, transform: &Transform, settings: &imaging::Settings) -> Option<Effort> {
    let may = settings.progressive && Decoded::has_denser(format, transform, settings.avif_engine);
    may.then_some(Effort::Fast)
}
