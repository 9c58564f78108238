//! The tiers as one: memory first, then the shared one, whose finds are put into memory.
//!
//! Invariant: what comes from below is as old as it was there (records carry absolute times), and is put upward only if its
//! user says that it may be used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

use super::memory::Memory;
use super::{CacheTier as _, Entry, Found, Resolve, redis};
use crate::record::{SourceKey, SourceRecord, WishKey};
use crate::variant::VariantKey;

/// Every tier there is.
pub struct Tiered {
    /// The first tier; the hit path asks it directly.
    pub memory: Memory,
    shared: Option<Arc<redis::Tier>>,
    /// Whether purges of other replicas are heard. While they are not, what lies in the shared tier may be purged.
    hearing: Arc<AtomicBool>,
    runtime: Handle,
}

impl Tiered {
    /// Memory, and behind it the tier that replicas share, where there is one; `hearing` is set and cleared by whoever
    /// listens for purges.
    pub fn new(memory: Memory, shared: Option<Arc<redis::Tier>>, hearing: Arc<AtomicBool>, runtime: Handle) -> Self {
        Self { memory, shared, hearing, runtime }
    }

    /// The shared tier, while it is known to answer and what is purged in it is heard.
    pub fn shared(&self) -> Option<&Arc<redis::Tier>> {
        self.shared.as_ref().filter(|tier| self.hearing.load(Ordering::Acquire) && tier.is_up())
    }

    /// The shared tier, whether it can be used now or not.
    pub fn connected(&self) -> Option<&Arc<redis::Tier>> {
        self.shared.as_ref()
    }

    /// Whether the shared tier can be used; `None` where there is none.
    pub fn shared_is_up(&self) -> Option<bool> {
        self.shared.as_ref().map(|_| self.shared().is_some())
    }

    /// Record and variant from the shared tier; what `may_be_used` is put into memory, the rest is left out.
    pub async fn look_up_shared(
        &self,
        source: SourceKey,
        wish: WishKey,
        resolve: Resolve<'_>,
        may_be_used: impl Fn(&SourceRecord) -> bool,
    ) -> Found {
        let Some(tier) = self.shared() else { return Found::default() };
        let found = tier.look_up(source, wish, resolve).await;
        let Some(record) = found.record.filter(|record| may_be_used(record)) else { return Found::default() };
        self.adopt(source, &record);
        if let Some(entry) = &found.entry {
            self.memory.put_variant(resolve(&record), Arc::clone(entry));
        }
        Found { record: Some(record), entry: found.entry }
    }

    /// A record from the shared tier; put into memory if it `may_be_used`, else left out.
    pub async fn record_shared(
        &self,
        source: SourceKey,
        may_be_used: impl Fn(&SourceRecord) -> bool,
    ) -> Option<Arc<SourceRecord>> {
        let record = self.shared()?.record(source).await.filter(|record| may_be_used(record))?;
        self.adopt(source, &record);
        Some(record)
    }

    /// A variant from the shared tier, put into memory if it `is_wanted`, else left out.
    pub async fn variant_shared(&self, key: VariantKey, is_wanted: impl Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        let entry = self.shared()?.variant(key).await.filter(|entry| is_wanted(entry))?;
        self.memory.put_variant(key, Arc::clone(&entry));
        Some(entry)
    }

    /// Puts a record into memory unless a better one lies there: begun after a later purge, checked later, or with its
    /// placeholder.
    fn adopt(&self, key: SourceKey, record: &Arc<SourceRecord>) {
        let rank = |record: &SourceRecord| (record.epoch, record.lifetime.checked_at, record.placeholder.is_some());
        let better = |known: &Arc<SourceRecord>| rank(known) > rank(record);
        if !self.memory.record(&key).as_ref().is_some_and(better) {
            self.memory.put_record(key, Arc::clone(record));
        }
    }

    /// Keeps a record in every tier; the caller has checked that it is storable.
    pub fn put_record(&self, key: SourceKey, record: &Arc<SourceRecord>) {
        self.memory.put_record(key, Arc::clone(record));
        if let Some(tier) = &self.shared {
            tier.put_record(key, Arc::clone(record));
        }
    }

    /// Keeps a variant in the shared tier too.
    pub fn share_variant(&self, source: SourceKey, wish: WishKey, key: VariantKey, entry: &Arc<Entry>) {
        if let Some(tier) = &self.shared {
            tier.put_variant(source, wish, key, Arc::clone(entry));
        }
    }

    /// Takes the record and the bytes of a source out of every tier.
    pub fn forget(&self, key: SourceKey) {
        self.memory.forget(&key);
        if let Some(tier) = &self.shared {
            let tier = Arc::clone(tier);
            self.runtime.spawn(async move { tier.forget(key).await });
        }
    }
}
