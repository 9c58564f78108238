//! The store over an engine: whether it is up, how long anybody waits for it, and what is tried again.
//!
//! Invariant: a store that is down fails at once, so that nobody stands in a line for it; a task of its own asks whether it
//! is back. Whether it is down is for that task to say, not for an operation that found the pool empty.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::address::{Address, Place};
use super::answers::{SourcePage, SourceQuery, Stats, VariantSummary};
use super::engine::{Connections, Engine, Error, Limits, Question, Row, Statement};
use super::postgres::PostgresServer;
use super::rows::{Batch, Scope, Stamp};
use super::sqlite::SqliteFile;
use super::{Extent, MetadataStore, Settings, asking, purging, retention, writing};
use crate::record::{SourceKey, SourceRecord};
use crate::telemetry::{Label, Metrics, OpLabels};

/// A record that takes longer is fetched from its origin instead.
const LOOK_UP: Duration = Duration::from_millis(500);
/// How often a store that is up is asked whether it still is.
const PULSE: Duration = Duration::from_secs(2);
/// Until the answer to that.
const PULSE_LIMIT: Duration = Duration::from_secs(2);
/// Pauses between attempts to reach a store that is down; each is made longer by chance, up to half as much again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Attempts at a question.
const ATTEMPTS: u32 = 3;

/// See the module's text.
pub(super) struct Database {
    inner: Arc<Inner>,
    keeper: AbortHandle,
}

struct Inner {
    engine: Box<dyn Engine>,
    kind: &'static str,
    shown: String,
    limits: Limits,
    metrics: Arc<Metrics>,
    up: AtomicBool,
    migrated: AtomicBool,
    /// Operations that went well, so that a pulse that found no connection can tell a busy store from a dead one.
    answers: AtomicU64,
    doubted: Notify,
    trouble: Mutex<Option<String>>,
}

impl Drop for Database {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Longer by chance: replicas that lost the same server do not come back in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + fastrand::f64() / 2.0)
}

impl Database {
    pub(super) fn open(address: &Address, settings: &Settings, metrics: Arc<Metrics>, runtime: &Handle) -> Self {
        let (theirs, handle) = (Arc::clone(&metrics), runtime.clone());
        let engine: Box<dyn Engine> = match &address.place {
            Place::Sqlite(path) => Box::new(SqliteFile::new(path, settings, theirs, handle)),
            Place::Postgres(options) => {
                Box::new(PostgresServer::new(options, address.schema.clone(), settings, theirs, handle))
            }
        };
        if !address.ignored.is_empty() {
            tracing::debug!(parameters = ?address.ignored, "parameters of metadata.url that mean nothing here");
        }
        metrics.metadata_up.set(false);
        let inner = Arc::new(Inner {
            engine,
            kind: address.kind(),
            shown: address.to_string(),
            limits: Limits { acquire: settings.acquire_timeout, statement: settings.statement_timeout },
            metrics,
            up: AtomicBool::new(false),
            migrated: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            doubted: Notify::new(),
            trouble: Mutex::new(Some("it was not reached yet".into())),
        });
        let keeper = runtime.spawn(Arc::clone(&inner).keep()).abort_handle();
        Self { inner, keeper }
    }
}

impl Inner {
    /// Finds out whether the store is there, for ever.
    async fn keep(self: Arc<Self>) {
        let mut pause = PAUSES[0];
        let mut told = false;
        loop {
            match self.pulse().await {
                Ok(()) => {
                    if !self.up.swap(true, Ordering::AcqRel) {
                        tracing::info!(store = %self.shown, "the metadata store is there");
                    }
                    self.metrics.metadata_up.set(true);
                    self.note_trouble(None);
                    (pause, told) = (PAUSES[0], true);
                    let _woken_or_time = timeout(PULSE, self.doubted.notified()).await;
                }
                Err(error) => {
                    let was_up = self.up.swap(false, Ordering::AcqRel);
                    self.metrics.metadata_up.set(false);
                    self.note_trouble(Some(error.to_string()));
                    if was_up || !told {
                        tracing::warn!(store = %self.shown, %error, "the metadata store is not there; going on without it");
                        told = true;
                    }
                    sleep(jittered(pause)).await;
                    pause = (pause * 2).min(PAUSES[1]);
                }
            }
        }
    }

    fn note_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    async fn pulse(&self) -> Result<(), Error> {
        if !self.migrated.load(Ordering::Acquire) {
            self.engine.migrate().await?;
            self.migrated.store(true, Ordering::Release);
        }
        let before = self.answers.load(Ordering::Acquire);
        let limits = Limits { acquire: PULSE_LIMIT, ..self.limits };
        let asked =
            timeout(PULSE_LIMIT, self.engine.ask(vec![Question::new("SELECT 1", Vec::new(), "")], limits)).await;
        self.show_connections();
        match asked {
            Ok(Ok(_)) => Ok(()),
            // Others were answered meanwhile: it is busy.
            _ if self.answers.load(Ordering::Acquire) > before => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Timeout),
        }
    }

    fn show_connections(&self) {
        let Connections { idle, used } = self.engine.connections();
        self.metrics.set_metadata_connections("idle", idle);
        self.metrics.set_metadata_connections("used", used);
    }

    /// What every operation ends with.
    fn noted<T>(&self, op: &'static str, began: Instant, outcome: Result<T, Error>) -> Result<T, Error> {
        let times = self.metrics.metadata_seconds.get_or_create(&OpLabels { op: Label(op) });
        times.observe(began.elapsed().as_secs_f64());
        match &outcome {
            Ok(_) => {
                self.answers.fetch_add(1, Ordering::AcqRel);
            }
            Err(Error::Down) => {}
            Err(error) if error.is_transient() => self.doubted.notify_one(),
            Err(_) => {}
        }
        self.show_connections();
        outcome
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Asks, and again after what passes by itself; never again after a limit, which has cost enough.
    async fn ask(&self, op: &'static str, questions: Vec<Question>) -> Result<Vec<Vec<Row>>, Error> {
        for attempt in 1.. {
            if !self.is_up() {
                return Err(Error::Down);
            }
            let began = Instant::now();
            let outcome = self.noted(op, began, self.engine.ask(questions.clone(), self.limits).await);
            match outcome {
                Err(error) if attempt < ATTEMPTS && error.is_transient() && !matches!(error, Error::Timeout) => {
                    sleep(jittered(Duration::from_millis(20) * 4_u32.pow(attempt - 1))).await;
                }
                outcome => return outcome,
            }
        }
        Err(Error::Down)
    }

    async fn ask_one(&self, op: &'static str, question: Question) -> Result<Vec<Row>, Error> {
        self.ask(op, vec![question]).await?.pop().ok_or(Error::Damaged)
    }

    async fn write(&self, op: &'static str, statements: Vec<Statement>) -> Result<Option<u64>, Error> {
        if !self.is_up() {
            return Err(Error::Down);
        }
        let began = Instant::now();
        self.noted(op, began, self.engine.write(statements, self.limits).await)
    }
}

impl MetadataStore for Database {
    fn is_up(&self) -> bool {
        self.inner.is_up()
    }

    fn trouble(&self) -> Option<String> {
        self.inner.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, batch: Arc<Batch>, stamp: Stamp) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            // Nothing changed: it was applied before, and only its answer was lost.
            let _applied_now = self.inner.write("write", writing::statements(&batch, stamp)).await?;
            Ok(())
        }
        .boxed()
    }

    fn record(&self, key: SourceKey) -> BoxFuture<'_, Option<SourceRecord>> {
        async move {
            if !self.inner.is_up() {
                return None;
            }
            let limits = Limits { acquire: LOOK_UP, ..self.inner.limits };
            let began = Instant::now();
            let asked = timeout(LOOK_UP, self.inner.engine.ask(vec![asking::record(&key)], limits)).await;
            let row = self.inner.noted("record", began, asked.unwrap_or(Err(Error::Timeout))).ok()?.pop()?.pop()?;
            let read = asking::read_record(row);
            read.inspect_err(|error| tracing::debug!(?key, %error, "a record is refused")).ok()
        }
        .boxed()
    }

    fn variants(&self, key: SourceKey, limit: u32) -> BoxFuture<'_, Result<Vec<VariantSummary>, Error>> {
        async move {
            let rows = self.inner.ask_one("variants", asking::variants(&key, limit)).await?;
            rows.into_iter().map(asking::read_variant).collect()
        }
        .boxed()
    }

    fn sources(&self, query: SourceQuery) -> BoxFuture<'_, Result<SourcePage, Error>> {
        async move {
            let many = !query.prefix.is_empty()
                && asking::are_many(self.inner.ask_one("sources", asking::named(&query.prefix)).await?)?;
            asking::read_page(&query, self.inner.ask_one("sources", asking::sources(&query, many)).await?)
        }
        .boxed()
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, Error>> {
        async move { asking::read_stats(self.inner.ask("stats", asking::stats()).await?) }.boxed()
    }

    fn extent(&self) -> BoxFuture<'_, Result<Extent, Error>> {
        async move {
            let mut row = self.inner.ask_one("extent", self.inner.engine.size()).await?.pop().ok_or(Error::Damaged)?;
            Ok(Extent { bytes: row.count()?, sources: row.count()? })
        }
        .boxed()
    }

    fn expire(&self, before: Option<SystemTime>, limit: u32) -> BoxFuture<'_, Result<u64, Error>> {
        async move { self.inner.write("expire", retention::expiry(before, limit)).await.map(Option::unwrap_or_default) }
            .boxed()
    }

    fn part(&self, scope: Scope, after: Option<SourceKey>) -> BoxFuture<'_, Result<Option<SourceKey>, Error>> {
        async move {
            if let Some(question) = purging::count(&scope).filter(|_| after.is_none())
                && purging::is_part(self.inner.ask_one("part", question).await?)
            {
                return Ok(None);
            }
            let end = self.inner.ask_one("part", purging::end(after.as_ref())).await?.pop();
            end.map(|mut row| row.hash().map(SourceKey::from_bytes)).transpose()
        }
        .boxed()
    }

    fn connections(&self) -> Connections {
        self.inner.engine.connections()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.keeper.abort();
            self.inner.up.store(false, Ordering::Release);
            self.inner.engine.close().await;
            tracing::debug!(store = self.inner.kind, "the metadata store is closed");
        }
        .boxed()
    }
}
