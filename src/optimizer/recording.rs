//! What the metadata store is told: sources, variants, and how each request was answered.
//!
//! Invariant: telling costs the request nothing that can fail, a hit waits for nothing, and only what may be stored is
//! described.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::sources::named;
use super::{Optimizer, Outcome, Terms};
use crate::cache::CacheStatus;
use crate::record::SourceRecord;
use crate::source::SourceUrl;
use crate::store::{Answered, Known, VariantMeta};
use crate::variant::Wish;

impl Optimizer {
    /// Counts an answer; the first of a variant in this process describes it to the store. Of a source that may not be
    /// stored only the answer is counted.
    pub(super) fn note(&self, source: &SourceUrl, wish: &Wish, outcome: &Outcome, now: SystemTime) {
        let Some(recorder) = &self.recorder else { return };
        let answered = match outcome.status {
            CacheStatus::Memory => Answered::Memory,
            CacheStatus::Redis => Answered::Shared,
            CacheStatus::Stale => Answered::Stale,
            CacheStatus::Miss => Answered::Miss,
            CacheStatus::Collapsed => Answered::Collapsed,
            CacheStatus::Bypass => Answered::Bypass,
        };
        if !outcome.record.storable {
            recorder.answered(answered);
            return;
        }
        if let Some(width) = wish.width {
            recorder.asked_width(source.key_ref(), width, outcome.record.width);
        }
        if recorder.hit(source.key_ref(), &outcome.hint.key, answered, now) == Known::No {
            // Whoever rendered it has told how long that took.
            self.describe(source, outcome.instead.as_ref().unwrap_or(wish), outcome, None, now);
        }
    }

    /// Describes a variant with its source; `render` is the time of a render that was not told of yet.
    pub(super) fn describe(
        &self,
        source: &SourceUrl,
        wish: &Wish,
        outcome: &Outcome,
        render: Option<Duration>,
        now: SystemTime,
    ) {
        let Some(recorder) = &self.recorder else { return };
        let Outcome { entry, record, .. } = outcome;
        self.note_source(source, record);
        recorder.variant(
            source.key(),
            outcome.hint.key,
            VariantMeta {
                content: record.content,
                transform: wish.resolve(&record.shape()),
                format: entry.format,
                width: entry.width,
                height: entry.height,
                bytes: entry.bytes.len() as u64,
                render_us: render.map(|time| time.as_micros() as u64),
                effort: entry.effort,
                created_at: now,
            },
        );
    }

    /// Describes a source.
    pub(super) fn note_source(&self, source: &SourceUrl, record: &Arc<SourceRecord>) {
        if let Some(recorder) = &self.recorder {
            recorder.source(source.key(), source.expose(), Arc::clone(record), SystemTime::now());
        }
    }

    /// Waits until a source that became known by this request is in the store, for milliseconds at most: what was answered
    /// about it is then known after the end of the process too, however that comes.
    pub(super) async fn recorded(&self, record: &SourceRecord) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| record.storable) {
            recorder.kept().await;
        }
    }

    /// The record that the store has from before this process: what is not in memory after a restart. Only of a source
    /// that was not purged since, because the store hears of purges behind the caller's back.
    pub(super) async fn stored_record(&self, source: &SourceUrl, epoch: u64) -> Option<Arc<SourceRecord>> {
        let store = self.store.as_ref().filter(|_| self.ledger.newest(named(source)) == 0)?;
        let record = store.record(source.key()).await?;
        // Epochs of an earlier process mean nothing in this one; the store has taken out what was purged in that.
        let record = Arc::new(SourceRecord { epoch, ..record });
        self.usable(source, &record, Terms::Origin, SystemTime::now())?;
        self.tiers.memory.put_record(source.key(), Arc::clone(&record));
        Some(record)
    }
}
