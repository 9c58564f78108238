//! From a source URL to its record, and to its bytes where they are needed: look-up, download, revalidation.
//!
//! Invariant: one download a source at a time, however many ask; what the origin says must not be stored is never put
//! into a tier; an origin that fails takes nothing away that it gave before, and one that refuses does.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::error::is_anew;
use super::origins::NoTurn;
use super::{Error, Optimizer, Terms};
use crate::cache::flight::Wanted;
use crate::cache::ledger::{Named, Verdict};
use crate::cache::memory::SourceBytes;
use crate::imaging;
use crate::record::{Freshness, SourceKey, SourceRecord};
use crate::source::{self, Download, Failed, Fetched, SourceUrl};
use crate::variant::ContentHash;

/// How long the next download should wait that finds no room.
const BUSY: Duration = Duration::from_secs(2);
/// What clients are told to wait at most.
const MOST: Duration = Duration::from_secs(30);

/// A source as far as it is needed.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) record: Arc<SourceRecord>,
    /// Present when they had to be downloaded, or still lie in memory.
    pub(super) bytes: Option<Bytes>,
    /// Time spent with the origin.
    pub(super) fetch: Option<Duration>,
    /// What the origin gave before: it failed, or is asked again behind.
    pub(super) stale: bool,
}

/// What a flight to the origin brings home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Need {
    /// That the record is right: a conditional request where there is something to ask with.
    Record,
    /// The bytes, whatever is known.
    Bytes,
}

/// A source as the ledger knows it.
pub(super) fn named(source: &SourceUrl) -> Named<'_> {
    Named { key: source.key_ref(), url: source.expose(), host: source.host() }
}

impl Optimizer {
    /// The record in memory and how usable it is, by its lifetime and by what was purged.
    pub(super) fn known(
        &self,
        source: &SourceUrl,
        terms: Terms,
        now: SystemTime,
    ) -> Option<(Arc<SourceRecord>, Freshness)> {
        let record = self.tiers.memory.record(&source.key())?;
        let freshness = self.usable(source, &record, terms, now)?;
        Some((record, freshness))
    }

    /// How usable a record is, wherever it comes from; `None` when it was purged.
    pub(super) fn usable(
        &self,
        source: &SourceUrl,
        record: &SourceRecord,
        terms: Terms,
        now: SystemTime,
    ) -> Option<Freshness> {
        // What is done with its format changed with the configuration since.
        if record.is_passed_on() != record.format.is_passed_on(self.imaging().limits.allow_heic) {
            return None;
        }
        let by_age = self.freshness(record, terms, now);
        match self.ledger.judge(named(source), record.epoch) {
            Verdict::Valid => Some(by_age),
            Verdict::Stale => Some(by_age.max(Freshness::Stale)),
            Verdict::Purged => None,
        }
    }

    /// Whether a soft purge has named the source since this record was made.
    pub(super) fn is_superseded(&self, source: &SourceUrl, record: &SourceRecord) -> bool {
        self.ledger.judge(named(source), record.epoch) == Verdict::Stale
    }

    /// The record of `source`, as fresh as its lifetime asks; downloads or revalidates when it must.
    pub(super) async fn load_record(
        self: &Arc<Self>,
        source: &SourceUrl,
        terms: Terms,
        wanted: &Wanted,
    ) -> Result<Loaded, Arc<Error>> {
        let known = self.known(source, terms, SystemTime::now());
        if let Some((record, freshness @ (Freshness::Fresh | Freshness::Stale))) = known {
            let stale = freshness == Freshness::Stale;
            if stale {
                self.refresh_behind(source);
            }
            let bytes = self.bytes_of(&source.key(), &record);
            return Ok(Loaded { record, bytes, fetch: None, stale });
        }
        match self.fly(source, Need::Record, wanted).await {
            Err(error) => self.without_origin(source, terms, error),
            loaded => loaded,
        }
    }

    /// The bytes of `source` with their record.
    pub(super) async fn load_bytes(
        self: &Arc<Self>,
        source: &SourceUrl,
        wanted: &Wanted,
    ) -> Result<Loaded, Arc<Error>> {
        self.fly(source, Need::Bytes, wanted).await
    }

    /// Revalidates behind the back of whoever is served a stale image; not while a failure is fresh.
    pub(super) fn refresh_behind(self: &Arc<Self>, source: &SourceUrl) {
        if self.failure(source).is_some() {
            return;
        }
        let (this, url) = (Arc::clone(self), source.clone());
        let key = (source.key(), Need::Record, self.ledger.newest(named(source)));
        self.loads.begin(key, |wanted| async move { this.load(url, Need::Record, wanted).await });
    }

    async fn fly(self: &Arc<Self>, source: &SourceUrl, need: Need, wanted: &Wanted) -> Result<Loaded, Arc<Error>> {
        if let Some(error) = self.failure(source) {
            return Err(error);
        }
        // A purge in between makes it other work: who asks after it may not join who asked before.
        let key = (source.key(), need, self.ledger.newest(named(source)));
        loop {
            let (this, url, for_whom) = (Arc::clone(self), source.clone(), wanted.clone());
            let landed = self.loads.join(key, |_| async move { this.load(url, need, for_whom).await }).await;
            let loaded = landed.map_err(|lost| Arc::new(Error::from(lost)))?.value;
            if !is_anew(&loaded, wanted.is_deserted()) {
                return loaded;
            }
        }
    }

    fn bytes_of(&self, key: &SourceKey, record: &SourceRecord) -> Option<Bytes> {
        self.tiers.memory.source(key).filter(|source| source.content == record.content).map(|source| source.bytes)
    }

    /// The flight itself.
    async fn load(self: Arc<Self>, source: SourceUrl, need: Need, wanted: Wanted) -> Result<Loaded, Arc<Error>> {
        let key = source.key();
        // Before anything is asked: what is purged from here on is newer than what comes back.
        let epoch = self.ledger.epoch();
        let tuned = self.tuning.load_full();
        // Whoever asks has found it wanting by its own terms; what is fresh by the stricter ones has come since.
        let prior = self.known(&source, Terms::Origin, SystemTime::now());
        // Another flight may have landed between the caller's look-up and this one's start.
        if let Some((record, freshness)) = &prior {
            let bytes = self.bytes_of(&key, record);
            let known = *freshness == Freshness::Fresh;
            if (known && need == Need::Record) || bytes.is_some() && need == Need::Bytes {
                return Ok(Loaded { record: Arc::clone(record), bytes, fetch: None, stale: false });
            }
        }
        let mut prior = prior.map(|(record, _)| record);
        if need == Need::Record {
            // Another replica may have asked the origin already, or know what to ask it with.
            let now = SystemTime::now();
            let usable = |record: &SourceRecord| self.usable(&source, record, Terms::Origin, now).is_some();
            if let Some(record) = self.tiers.record_shared(key, usable).await {
                if self.usable(&source, &record, Terms::Origin, now) == Some(Freshness::Fresh) {
                    let bytes = self.bytes_of(&key, &record);
                    return Ok(Loaded { record, bytes, fetch: None, stale: false });
                }
                let older = |known: &Arc<SourceRecord>| known.lifetime.checked_at < record.lifetime.checked_at;
                if prior.as_ref().is_none_or(older) {
                    prior = Some(record);
                }
            }
        }
        if prior.is_none()
            && need == Need::Record
            && let Some(record) = self.stored_record(&source, epoch).await
        {
            if record.lifetime.at(SystemTime::now()) == Freshness::Fresh {
                let bytes = self.bytes_of(&key, &record);
                return Ok(Loaded { record, bytes, fetch: None, stale: false });
            }
            prior = Some(record);
        }
        match self.ask_origin(&source, prior.as_ref(), need, epoch, &wanted).await {
            Ok(loaded) => {
                self.failures.forget(key);
                Ok(loaded)
            }
            // It says nothing of the origin.
            Err(error @ (Error::Abandoned | Error::Overloaded { .. })) => Err(Arc::new(error)),
            Err(error) => Err(self.failed(&source, prior.is_some(), error, epoch, &tuned)),
        }
    }

    async fn ask_origin(
        self: &Arc<Self>,
        source: &SourceUrl,
        prior: Option<&Arc<SourceRecord>>,
        need: Need,
        epoch: u64,
        wanted: &Wanted,
    ) -> Result<Loaded, Error> {
        let validators = prior.map(|record| &record.validators).filter(|v| need == Need::Record && !v.is_empty());
        let turn = tokio::select! {
            turn = self.origins.turn(source.host()) => turn.map_err(|no_turn| self.no_turn(no_turn))?,
            () = wanted.deserted() => {
                self.metrics.count_shed("abandoned");
                return Err(Error::Abandoned);
            }
        };
        let started = Instant::now();
        let fetched = self.tuning.load_full().fetcher.fetch(source, validators).await;
        turn.ended(fetched.as_ref().err().map(|failed| &failed.error));
        let fetched = match fetched {
            Err(Failed { error: source::Error::Busy, .. }) => return Err(self.no_turn(NoTurn::Busy(BUSY))),
            fetched => fetched?,
        };
        let fetch = Some(started.elapsed());
        match (fetched, prior) {
            (Fetched::Modified(download), _) => {
                let (record, bytes) = self.examine(source, download, prior, epoch).await?;
                Ok(Loaded { record, bytes: Some(bytes), fetch, stale: false })
            }
            (Fetched::NotModified(caching), Some(prior)) => {
                // Fields that the answer does not have stay as they were (RFC 9111 §4.3.4).
                let (lifetime, storable) = if caching.said {
                    (self.lifetime(&caching), caching.storable)
                } else {
                    (prior.lifetime.renewed(SystemTime::now()), prior.storable && caching.storable)
                };
                let record = SourceRecord { lifetime, storable, epoch, ..SourceRecord::clone(prior) };
                let record = self.keep_record(source, record);
                let bytes = self.bytes_of(&source.key(), &record);
                Ok(Loaded { record, bytes, fetch, stale: false })
            }
            (Fetched::NotModified(_), None) => Err(Error::Internal("304 without a condition".into())),
        }
    }

    fn no_turn(&self, no_turn: NoTurn) -> Error {
        match no_turn {
            NoTurn::Busy(wait) => {
                self.metrics.count_shed("downloads");
                Error::Overloaded { retry_after: wait.clamp(Duration::from_secs(1), MOST) }
            }
            NoTurn::LeftAlone(failed) => Error::Source(failed),
        }
    }

    /// Hashes and probes a download off the async threads: both are CPU work, and probing reads a stranger's bytes.
    async fn examine(
        &self,
        source: &SourceUrl,
        download: Download,
        prior: Option<&Arc<SourceRecord>>,
        epoch: u64,
    ) -> Result<(Arc<SourceRecord>, Bytes), Error> {
        let Download { bytes, validators, caching, charge } = download;
        let (body, limits) = (bytes.clone(), self.imaging().limits.clone());
        let examined = self
            .runtime
            .spawn_blocking(move || (ContentHash::of(&body), imaging::probe(&body, &limits)))
            .await
            .map_err(|panic| Error::Internal(format!("the probe panicked: {panic}")))?;
        let (content, probe) = (examined.0, examined.1?);
        let shape = probe.shape();
        let same = prior.filter(|prior| prior.content == content);
        let record = SourceRecord {
            content,
            validators,
            format: shape.format,
            width: shape.width,
            height: shape.height,
            has_alpha: shape.has_alpha,
            frames: probe.frames,
            bytes: bytes.len() as u64,
            decode_cost: probe.decoded_bytes,
            placeholder: same.and_then(|prior| prior.placeholder.clone()),
            fair_quality: same.and_then(|prior| prior.fair_quality),
            lifetime: self.lifetime(&caching),
            storable: caching.storable,
            epoch,
        };
        let storable = record.storable;
        let record = self.keep_record(source, record);
        if storable {
            // The tier has a budget of its own.
            self.tiers.memory.put_source(source.key(), SourceBytes { content, bytes: bytes.clone() });
        }
        Ok((record, charge.hold(bytes)))
    }

    /// Puts a record into the tier, or takes the old one out when the origin forbids to keep it.
    pub(super) fn keep_record(&self, source: &SourceUrl, record: SourceRecord) -> Arc<SourceRecord> {
        let record = Arc::new(record);
        if !record.storable {
            self.tiers.forget(source.key());
        } else if self.ledger.judge(named(source), record.epoch) == Verdict::Valid {
            self.tiers.put_record(source.key(), &record);
            self.note_source(source, &record);
        }
        record
    }

    /// What there is when the origin fails: what it gave before, within its bounds, or the error.
    fn without_origin(&self, source: &SourceUrl, terms: Terms, error: Arc<Error>) -> Result<Loaded, Arc<Error>> {
        match self.known(source, terms, SystemTime::now()) {
            Some((record, freshness)) if freshness != Freshness::Dead && error.is_outage() => {
                let bytes = self.bytes_of(&source.key(), &record);
                Ok(Loaded { record, bytes, fetch: None, stale: freshness != Freshness::Fresh })
            }
            _ => Err(error),
        }
    }
}
