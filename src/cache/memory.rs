//! The first tier: moka caches in this process for records, variants and, briefly, source bytes.
//!
//! Each is weighed in bytes against its own budget and eviction is moka's TinyLFU, so a scan of rare images does not
//! push out the popular ones. A look-up of records and variants takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use moka::sync::Cache;

use super::{Entry, Settings};
use crate::record::{SourceKey, SourceRecord};
use crate::variant::{ContentHash, VariantKey};

/// What a record or an entry weighs besides its payload: keys, structs, moka's own nodes. Estimated, rounded up.
const OVERHEAD: usize = 512;
/// Budget for records: some tens of thousands of sources with their placeholders.
const RECORD_BYTES: u64 = 32_000_000;
/// How long source bytes wait for the next width of the same page.
const SOURCE_BYTES_IDLE: Duration = Duration::from_secs(15);

/// Downloaded bytes of a source with their hash.
#[derive(Clone, Debug)]
pub struct SourceBytes {
    /// Hash of `bytes`.
    pub content: ContentHash,
    /// The download.
    pub bytes: Bytes,
}

/// A download until it expires. What moka has let go of it frees some hundred operations later, and never while nothing
/// is asked; megabytes are not left to that, so they are taken out of their place at once.
#[derive(Clone)]
struct Place(Arc<Mutex<Option<SourceBytes>>>);

impl Place {
    fn open(&self) -> MutexGuard<'_, Option<SourceBytes>> {
        // What it guards is whole at every moment, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory tier.
pub struct Memory {
    records: Cache<SourceKey, Arc<SourceRecord>, RandomState>,
    variants: Cache<VariantKey, Arc<Entry>, RandomState>,
    sources: Cache<SourceKey, Place, RandomState>,
    changes: AtomicU64,
}

fn weight(payload: usize) -> u32 {
    u32::try_from(payload + OVERHEAD).unwrap_or(u32::MAX)
}

impl Memory {
    /// An empty tier within the budgets of `settings`.
    pub fn new(settings: &Settings) -> Self {
        let record_weight = |_: &SourceKey, record: &Arc<SourceRecord>| {
            weight(record.placeholder.as_ref().map_or(0, |p| p.png.len() + p.blurhash.len() + p.thumbhash.len()))
        };
        Self {
            records: Cache::builder()
                .max_capacity(RECORD_BYTES)
                .weigher(record_weight)
                .build_with_hasher(RandomState::default()),
            variants: Cache::builder()
                .max_capacity(settings.memory_bytes)
                .weigher(|_, entry: &Arc<Entry>| weight(entry.bytes.len()))
                .build_with_hasher(RandomState::default()),
            sources: Cache::builder()
                .max_capacity(settings.source_bytes)
                .weigher(|_, place: &Place| weight(place.open().as_ref().map_or(0, |source| source.bytes.len())))
                .eviction_listener(|_, place, _| drop(place.open().take()))
                .time_to_idle(SOURCE_BYTES_IDLE)
                .build_with_hasher(RandomState::default()),
            changes: AtomicU64::new(0),
        }
    }

    /// How often a record or a variant was put or taken out. What was looked up after it was read is still what would be
    /// found while it is the same, but for what was evicted since.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// After the change: who reads the new number finds what is new.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// The record of a source.
    pub fn record(&self, key: &SourceKey) -> Option<Arc<SourceRecord>> {
        self.records.get(key)
    }

    /// Takes the record and the bytes of a source out; its variants are not reachable any more.
    pub fn forget(&self, key: &SourceKey) {
        self.records.invalidate(key);
        self.sources.invalidate(key);
        self.changed();
    }

    /// Keeps a record; the caller has checked that it is storable.
    pub fn put_record(&self, key: SourceKey, record: Arc<SourceRecord>) {
        self.records.insert(key, record);
        self.changed();
    }

    /// A rendered variant.
    pub fn variant(&self, key: &VariantKey) -> Option<Arc<Entry>> {
        self.variants.get(key)
    }

    /// Keeps a rendered variant.
    pub fn put_variant(&self, key: VariantKey, entry: Arc<Entry>) {
        self.variants.insert(key, entry);
        self.changed();
    }

    /// Bytes of a source that were downloaded a moment ago.
    pub fn source(&self, key: &SourceKey) -> Option<SourceBytes> {
        self.sources.get(key)?.open().clone()
    }

    /// Keeps downloaded bytes for a short while.
    pub fn put_source(&self, key: SourceKey, source: SourceBytes) {
        self.sources.insert(key, Place(Arc::new(Mutex::new(Some(source)))));
    }

    /// Bytes held now, by weight: (records, variants, sources). Also lets moka do its pending evictions.
    pub fn held(&self) -> (u64, u64, u64) {
        self.records.run_pending_tasks();
        self.variants.run_pending_tasks();
        self.sources.run_pending_tasks();
        (self.records.weighted_size(), self.variants.weighted_size(), self.sources.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImageFormat;
    use crate::variant::{Geometry, Output, Transform};

    fn key(width: u32) -> VariantKey {
        let transform = Transform {
            output: Output::Still(ImageFormat::Png),
            geometry: Geometry::Scale { width, height: 1 },
            quality: None,
            background: None,
        };
        VariantKey::new(&ContentHash::of(b"source"), &transform)
    }

    #[test]
    fn variants_stay_within_their_budget() {
        let memory = Memory::new(&Settings { memory_bytes: 100_000, ..Settings::default() });
        for at in 0..50 {
            let bytes = Bytes::from(vec![0; 9_000]);
            memory.put_variant(key(at), Arc::new(Entry::new(bytes, ImageFormat::Png, at, 1, None)));
        }
        let (_, held, _) = memory.held();
        assert!(held <= 100_000 && held > 50_000, "{held}");
        assert!((0..50).filter(|at| memory.variant(&key(*at)).is_some()).count() <= 10);
    }

    #[test]
    fn an_entry_larger_than_the_budget_is_not_kept() {
        let memory = Memory::new(&Settings { memory_bytes: 1_000, ..Settings::default() });
        let entry = Arc::new(Entry::new(Bytes::from(vec![0; 9_000]), ImageFormat::Png, 1, 1, None));
        memory.put_variant(key(1), entry);
        assert_eq!(memory.held().1, 0);
        assert!(memory.variant(&key(1)).is_none());
    }

    #[test]
    fn what_is_put_and_what_is_taken_out_is_a_change() {
        let memory = Memory::new(&Settings::default());
        let entry = Arc::new(Entry::new(Bytes::from_static(b"x"), ImageFormat::Png, 1, 1, None));
        let before = memory.changes();
        memory.put_variant(key(1), entry);
        assert_eq!(memory.changes(), before + 1);
        memory.variant(&key(1)).expect("there");
        assert_eq!(memory.changes(), before + 1, "looking is none");
        memory.forget(&SourceKey::of_normalised("https://a.example/"));
        assert_eq!(memory.changes(), before + 2);
    }
}
