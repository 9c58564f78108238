//! What every tier can do, memory and Redis alike: one record, one variant, both at once, and to forget.
//!
//! Invariant: a tier never fails. What it cannot give is absent, what it cannot keep is dropped; the tier counts it, and
//! its callers go on without it.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, ready};

use super::Entry;
use super::memory::Memory;
use crate::record::{SourceKey, SourceRecord, WishKey};
use crate::variant::VariantKey;

/// Which variant of a source is wanted, told as soon as its record is known.
pub type Resolve<'a> = &'a (dyn Fn(&SourceRecord) -> VariantKey + Sync);

/// What a look-up found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The record of the source, whatever its age.
    pub record: Option<Arc<SourceRecord>>,
    /// The variant that was resolved for that record; never there without it.
    pub entry: Option<Arc<Entry>>,
}

/// One place where copies of records and variants are kept.
pub trait CacheTier: Send + Sync {
    /// `memory` or `redis`: metric label and log field.
    fn name(&self) -> &'static str;

    /// The record of `source` and the variant that `resolve` names for it, in as few round trips as the tier can.
    fn look_up<'a>(&'a self, source: SourceKey, wish: WishKey, resolve: Resolve<'a>) -> BoxFuture<'a, Found>;

    /// The record of a source.
    fn record(&self, key: SourceKey) -> BoxFuture<'_, Option<Arc<SourceRecord>>>;

    /// A rendered variant.
    fn variant(&self, key: VariantKey) -> BoxFuture<'_, Option<Arc<Entry>>>;

    /// Keeps a record, behind the caller's back; the caller has checked that it is storable.
    fn put_record(&self, key: SourceKey, record: Arc<SourceRecord>);

    /// Keeps a variant, behind the caller's back, and that `wish` for `source` came down to it.
    fn put_variant(&self, source: SourceKey, wish: WishKey, key: VariantKey, entry: Arc<Entry>);

    /// Takes the record of a source out, and whatever was put for it before but is not written yet. True when it is known
    /// to be gone; the future must be driven to its end, but nothing put before is written even if it is dropped.
    fn forget(&self, key: SourceKey) -> BoxFuture<'_, bool>;

    /// Waits until all that was put so far is kept or dropped.
    fn settled(&self) -> BoxFuture<'_, ()>;
}

impl CacheTier for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn look_up<'a>(&'a self, source: SourceKey, _: WishKey, resolve: Resolve<'a>) -> BoxFuture<'a, Found> {
        let record = Self::record(self, &source);
        let entry = record.as_ref().and_then(|record| Self::variant(self, &resolve(record)));
        ready(Found { record, entry }).boxed()
    }

    fn record(&self, key: SourceKey) -> BoxFuture<'_, Option<Arc<SourceRecord>>> {
        ready(Self::record(self, &key)).boxed()
    }

    fn variant(&self, key: VariantKey) -> BoxFuture<'_, Option<Arc<Entry>>> {
        ready(Self::variant(self, &key)).boxed()
    }

    fn put_record(&self, key: SourceKey, record: Arc<SourceRecord>) {
        Self::put_record(self, key, record);
    }

    fn put_variant(&self, _: SourceKey, _: WishKey, key: VariantKey, entry: Arc<Entry>) {
        Self::put_variant(self, key, entry);
    }

    fn forget(&self, key: SourceKey) -> BoxFuture<'_, bool> {
        Self::forget(self, &key);
        ready(true).boxed()
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}
