//! SQLite in a file beside the service: write-ahead log, one writer, a pool of readers.
//!
//! Invariant: one connection writes, so a write never fails because of another of this process; other processes are waited
//! for. What was committed survives the end of this process; only the end of the machine may cost the last commits.
#![expect(clippy::disallowed_types, reason = "the room that knows SQL")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Settings;
use super::engine::{Cell, Connections, Engine, Error, Limits, Question, Row, Statement, Value, over};
use super::schema;
use crate::telemetry::Metrics;

/// How long another process's write is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// Distinct statements kept prepared on a connection.
const PREPARED: usize = 200;
/// Of the file that is looked at through memory rather than read, in bytes.
const MAPPED: &str = "268435456";

over!(Sqlite, SqliteArguments, "BEGIN IMMEDIATE");

/// See the module's text.
pub(super) struct SqliteFile {
    writer: SqlitePool,
    readers: SqlitePool,
    metrics: Arc<Metrics>,
    runtime: Handle,
}

impl SqliteFile {
    /// Opens nothing yet.
    pub(super) fn new(path: &Path, settings: &Settings, metrics: Arc<Metrics>, runtime: Handle) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY)
            .statement_cache_capacity(PREPARED)
            .pragma("mmap_size", MAPPED);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(settings.acquire_timeout)
                .idle_timeout(settings.idle_timeout)
                .test_before_acquire(true)
        };
        // Connecting needs a runtime, being lazy does not; but the pools start tasks of their own.
        let _entered = runtime.enter();
        let writer = pool().max_connections(1).connect_lazy_with(options.clone());
        // Not `read_only`: a reader that finds a log left by a killed process has to be allowed to recover it.
        let readers = pool()
            .max_connections(settings.max_connections.saturating_sub(1).max(1))
            .connect_lazy_with(options.create_if_missing(false).pragma("query_only", "1"));
        Self { writer, readers, metrics, runtime }
    }
}

impl Engine for SqliteFile {
    fn migrate(&self) -> BoxFuture<'static, Result<(), Error>> {
        let (pool, metrics) = (self.writer.clone(), Arc::clone(&self.metrics));
        let work = async move {
            use sqlx::Connection as _;
            let mut connection = acquire(&pool, BUSY * 2, &metrics).await?;
            // Exclusive from the first look on: two processes that start at once follow each other.
            let outcome = async {
                let mut transaction = connection.begin_with("BEGIN EXCLUSIVE").await?;
                schema::SQLITE.run_direct(None, &mut *transaction, false).await.map_err(schema::refused)?;
                Ok(transaction.commit().await?)
            };
            let outcome: Result<(), Error> = outcome.await;
            give_back(connection, Ok(outcome))
        };
        detached(&self.runtime, work)
    }

    fn ask(&self, questions: Vec<Question>, limits: Limits) -> BoxFuture<'static, Result<Vec<Vec<Row>>, Error>> {
        let (pool, metrics) = (self.readers.clone(), Arc::clone(&self.metrics));
        let work = async move {
            let mut connection = acquire(&pool, limits.acquire, &metrics).await?;
            let outcome = timeout(limits.statement, ask_all(&mut connection, &questions)).await;
            give_back(connection, outcome)
        };
        detached(&self.runtime, work)
    }

    fn write(&self, statements: Vec<Statement>, limits: Limits) -> BoxFuture<'static, Result<Option<u64>, Error>> {
        let (pool, metrics) = (self.writer.clone(), Arc::clone(&self.metrics));
        let work = async move {
            let mut connection = acquire(&pool, limits.acquire, &metrics).await?;
            let outcome = timeout(limits.statement, write_all(&mut connection, &statements)).await;
            give_back(connection, outcome)
        };
        detached(&self.runtime, work)
    }

    fn size(&self) -> Question {
        // What was freed is used again before the file grows.
        let sql = "SELECT (page_count - freelist_count) * page_size, \
                   (SELECT CAST(coalesce(sum(value), 0) AS BIGINT) FROM totals WHERE name = 'sources') \
                   FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        Question::new(sql, Vec::new(), "ii")
    }

    fn connections(&self) -> Connections {
        let [writer, readers] = [&self.writer, &self.readers].map(|pool| Connections::of(pool.size(), pool.num_idle()));
        Connections { idle: writer.idle + readers.idle, used: writer.used + readers.used }
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let (writer, readers) = (self.writer.clone(), self.readers.clone());
        async move {
            readers.close().await;
            writer.close().await;
        }
        .boxed()
    }
}
