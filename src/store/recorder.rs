//! Writing behind: records go to the store at once, counts every few seconds, and nobody who serves an image waits.
//!
//! What the end of the process by force may cost: the counts since the last flush, `metadata.flush_interval` at most, and
//! what was put while nobody waited for it. Who answers a request by which a source becomes known waits for
//! [`Recorder::kept`], which a store that is late cannot prolong. Invariant: everything is bounded, and what does not fit is
//! counted.

mod counts;
mod queue;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::counts::Counts;
use self::queue::Queue;
use self::writer::Writer;
use super::rows::{Answered, Batch, NewSource, NewVariant, Purge, Scope, VariantMeta};
use super::{MetadataStore, Settings};
use crate::record::{SourceKey, SourceRecord};
use crate::telemetry::Metrics;
use crate::variant::VariantKey;

/// How long an answer waits for its record to be written; a store that takes longer is late.
const LATE: Duration = Duration::from_millis(50);

/// Whether a variant was described to the store by this process of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing is to be done.
    Yes,
    /// The caller, who knows what they are, should put [`Recorder::source`] and [`Recorder::variant`]; it is said once.
    No,
}

struct Shared {
    store: Arc<dyn MetadataStore>,
    metrics: Arc<Metrics>,
    counts: Counts,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Set when no more is to come.
    stopping: AtomicBool,
    /// Rows that were taken out of the two and whose fate is not known.
    taken: AtomicU64,
    /// Nothing was written for seconds, though the store is there.
    stuck: AtomicBool,
    /// The newest put whose fate is known.
    settled: watch::Sender<u64>,
    /// Somebody waited for the store in vain, and it has written nothing in time since.
    late: AtomicBool,
    flush_interval: Duration,
    retention: Duration,
    max_bytes: u64,
}

/// See the module's text.
pub struct Recorder {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Recorder {
    /// Begins to write behind into `store`, by a task on `runtime`.
    pub fn start(store: Arc<dyn MetadataStore>, settings: &Settings, metrics: Arc<Metrics>, runtime: &Handle) -> Self {
        let shared = Arc::new(Shared {
            store,
            metrics,
            counts: Counts::default(),
            queue: Mutex::default(),
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            settled: watch::Sender::new(0),
            late: AtomicBool::new(false),
            flush_interval: settings.flush_interval,
            retention: settings.retention,
            max_bytes: settings.max_bytes,
        });
        let task = Writer::new(Arc::clone(&shared)).run();
        Self { shared, task: Mutex::new(Some(runtime.spawn(task))) }
    }

    /// Counts a request for a variant. A few dozen nanoseconds when the variant is known here.
    pub fn hit(&self, source: &SourceKey, variant: &VariantKey, answered: Answered, now: SystemTime) -> Known {
        self.shared.counts.hit(source, variant, answered, now).unwrap_or_else(|| self.dropped(1, Known::Yes))
    }

    /// Counts a request for what may not be kept: only that there was one.
    pub fn answered(&self, answered: Answered) {
        self.shared.counts.answered(answered);
    }

    /// Counts a request for a width of a source that is `has` pixels wide.
    pub fn asked_width(&self, source: &SourceKey, width: u32, has: u32) {
        self.shared.counts.asked(source, width, width > has).unwrap_or_else(|| self.dropped(1, ()));
    }

    /// Notes that a source was asked about otherwise than by an image.
    pub fn seen(&self, source: &SourceKey, now: SystemTime) {
        self.shared.counts.seen(source, now).unwrap_or_else(|| self.dropped(1, ()));
    }

    /// Puts a record.
    pub fn source(&self, key: SourceKey, url: &str, record: Arc<SourceRecord>, now: SystemTime) {
        let new = NewSource { key, url: url.into(), record, seen_at: now };
        self.put(|queue| queue.source(new));
    }

    /// Puts a variant.
    pub fn variant(&self, source: SourceKey, key: VariantKey, meta: VariantMeta) {
        // First: what is put may be given up at once, and that has the last word.
        self.shared.counts.described(&source, &key, true);
        if !self.put(|queue| queue.variant(NewVariant { source, key, meta })) {
            self.shared.counts.described(&source, &key, false);
        }
    }

    /// Puts that a source was purged.
    pub fn purged(&self, source: SourceKey, now: SystemTime) {
        self.purge(Purge { scope: Scope::Source(source), soft: false, at: now });
    }

    /// Puts a purge of any kind. Records that were put before it are not written any more.
    pub fn purge(&self, purge: Purge) {
        self.put(|queue| queue.purge(purge));
    }

    /// False when there was no room.
    fn put(&self, put: impl FnOnce(&mut Queue) -> bool) -> bool {
        let kept = put(&mut self.shared.queue());
        if !kept {
            self.dropped(1, ());
        }
        self.shared.wake.notify_one();
        kept
    }

    /// Whether what is written arrives, as far as is known: false when a store that is there took nothing for seconds.
    pub fn arrives(&self) -> bool {
        !self.shared.stuck.load(Ordering::Relaxed)
    }

    fn dropped<T>(&self, rows: u64, answer: T) -> T {
        self.shared.metrics.count_metadata_rows("dropped", rows);
        answer
    }

    /// Waits until all records and purges put so far are in the store, or given up.
    pub async fn written(&self) {
        let ticket = self.shared.queue().ticket();
        let mut settled = self.shared.settled.subscribe();
        // Fails when the task is gone, and with it all hope.
        let _reached = settled.wait_for(|newest| *newest >= ticket).await;
    }

    /// Waits until all records put so far are in the store: a transaction's time as a rule, 50 ms at most, and not at all
    /// while the store is down or known to be late.
    pub async fn kept(&self) {
        if self.shared.late.load(Ordering::Relaxed) || !self.shared.store.is_up() {
            return;
        }
        if timeout(LATE, self.written()).await.is_err() {
            self.shared.late.store(true, Ordering::Relaxed);
        }
    }

    /// Writes what is left, until `deadline`; true when all of it is in the store. What is put later is lost.
    pub async fn shutdown(&self, deadline: Instant) -> bool {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return true };
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if timeout_at(deadline, &mut task).await.is_ok() {
            return true;
        }
        task.abort();
        let (records, counts) = (self.shared.queue().take().0, self.shared.counts.take());
        let waiting: usize = records.iter().chain(&counts).map(Batch::rows).sum();
        let left = waiting as u64 + self.shared.taken.load(Ordering::Acquire);
        tracing::warn!(rows = left, "the metadata store did not take everything before the end");
        self.dropped(left, false)
    }
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
