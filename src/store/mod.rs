//! What is known about sources and variants, kept beyond the end of the process: SQLite in a file, or PostgreSQL.
//!
//! Invariant: it is never in the way. Nothing that serves an image waits for a write; a store that is down, slow or absent
//! costs the statistics of that time and nothing else, and one log line when it goes and one when it comes back.

mod address;
mod answers;
mod asking;
mod database;
mod engine;
mod error;
mod placeholder;
mod postgres;
mod purging;
mod recorder;
mod retention;
mod rows;
mod schema;
mod sqlite;
mod writing;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

pub use self::address::Address;
pub use self::answers::{
    AvifAgainstWebp, Cursor, Exceeding, FormatStats, Sort, SourcePage, SourceQuery, SourceSummary, Stats, Unused,
    VariantSummary, WidthStats,
};
use self::database::Database;
pub use self::engine::Connections;
pub use self::error::Error;
pub use self::recorder::{Known, Recorder};
pub use self::rows::{
    Answered, Asked, Batch, Hits, Keys, NewSource, NewVariant, Purge, Scope, Seen, Stamp, VariantMeta,
};
pub use self::schema::VERSION as SCHEMA_VERSION;
use crate::record::{SourceKey, SourceRecord};
use crate::telemetry::Metrics;

/// The `[metadata]` section.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is; without one nothing is kept.
    pub address: Option<Address>,
    /// Connections at most, of this process; SQLite has two at least, one of which writes.
    pub max_connections: u32,
    /// Until there is a connection; beyond it the operation fails.
    pub acquire_timeout: Duration,
    /// A connection that was not used for so long is closed.
    pub idle_timeout: Duration,
    /// Until a statement has its answer; beyond it the server ends it.
    pub statement_timeout: Duration,
    /// How often counts go from memory to the store: what the end of the process by force may cost.
    pub flush_interval: Duration,
    /// Sources that were not seen for so long are forgotten; zero: never.
    pub retention: Duration,
    /// Beyond this the sources that were not seen for longest are forgotten; zero: without a bound.
    pub max_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: Some(Address::default()),
            max_connections: 20,
            acquire_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(10),
            flush_interval: Duration::from_secs(5),
            retention: Duration::from_secs(90 * 24 * 60 * 60),
            max_bytes: 2_000_000_000,
        }
    }
}

/// The SQL of every kind of question that may be asked of a store with very many rows, with its values in it, and the
/// index that it must walk along, if it is one: for tests that look at plans. Octets open with `bytes`, `X'` or `'\x`.
#[doc(hidden)]
pub fn questions(bytes: &str) -> Vec<(String, Option<&'static str>)> {
    asking::kinds().into_iter().map(|(question, index)| (question.plain(bytes), index)).collect()
}

/// How much a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// What its rows take; with PostgreSQL estimated by their number and the length of URLs.
    pub bytes: u64,
    /// Sources that are known.
    pub sources: u64,
}

/// A place where metadata are kept. Object-safe; made by [`open`].
pub trait MetadataStore: Send + Sync {
    /// Whether it answers and its schema is up to date, as far as is known.
    fn is_up(&self) -> bool;

    /// Why it is not up, in words for an operator.
    fn trouble(&self) -> Option<String>;

    /// Applies a batch, all of it and once, however often it is sent.
    ///
    /// # Errors
    /// Transient ones may be tried again with the same stamp.
    fn write(&self, batch: Arc<Batch>, stamp: Stamp) -> BoxFuture<'_, Result<(), Error>>;

    /// The record of a source, if there is one that was not purged. Within half a second, and at once when the store is
    /// known to be down: absent is the answer to everything that goes wrong.
    fn record(&self, key: SourceKey) -> BoxFuture<'_, Option<SourceRecord>>;

    /// Variants of a source, the most used first, `limit` at most.
    ///
    /// # Errors
    /// When the store does not answer in time.
    fn variants(&self, key: SourceKey, limit: u32) -> BoxFuture<'_, Result<Vec<VariantSummary>, Error>>;

    /// A page of sources.
    ///
    /// # Errors
    /// When the store does not answer in time.
    fn sources(&self, query: SourceQuery) -> BoxFuture<'_, Result<SourcePage, Error>>;

    /// Answers to what is usually asked.
    ///
    /// # Errors
    /// When the store does not answer in time.
    fn stats(&self) -> BoxFuture<'_, Result<Stats, Error>>;

    /// How much it has.
    ///
    /// # Errors
    /// When the store does not answer in time.
    fn extent(&self) -> BoxFuture<'_, Result<Extent, Error>>;

    /// Removes the sources that were not seen for longest, `limit` at most, with all their rows; how many that were.
    /// With `before`, only those last seen before it.
    ///
    /// # Errors
    /// When the store does not answer in time.
    fn expire(&self, before: Option<SystemTime>, limit: u32) -> BoxFuture<'_, Result<u64, Error>>;

    /// Where the part of all sources ends that begins after `after` and can be purged together; nothing when it is the last
    /// one, or when `scope` names so few that they are one part.
    ///
    /// # Errors
    /// When the store does not answer in time.
    fn part(&self, scope: Scope, after: Option<SourceKey>) -> BoxFuture<'_, Result<Option<SourceKey>, Error>>;

    /// Connections that are open now.
    fn connections(&self) -> Connections;

    /// Closes all connections, once they have done what they do.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The store of `settings`, if they name one. Does not connect: a task on `runtime` does, again and again until it can,
/// and brings the schema up to date.
pub fn open(settings: &Settings, metrics: Arc<Metrics>, runtime: &Handle) -> Option<Arc<dyn MetadataStore>> {
    let address = settings.address.clone()?;
    Some(Arc::new(Database::open(&address, settings, metrics, runtime)))
}
