//! Writes behind the response: a bounded queue and the one task that empties it.
//!
//! Invariant: who puts never waits. A queue that is full, a value that is too large, a Redis that is away each cost the
//! value and one count. What was put before its source was forgotten is not written after it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc, oneshot};

use super::Settings;
use super::integrity::Integrity;
use super::keys;
use super::link::{Failure, Link, Op};
use crate::cache::{Entry, codec};
use crate::record::{SourceKey, SourceRecord, WishKey};
use crate::variant::VariantKey;

/// Values that may wait.
const QUEUE: usize = 4_096;
/// Bytes that may wait.
const QUEUE_BYTES: usize = 64_000_000;
/// Values on their way at once; to forget waits for these at most.
const BATCH: usize = 16;
/// A value besides its image, estimated.
const OVERHEAD: usize = 1_000;

/// What is to be written.
enum Job {
    Record(SourceKey, Arc<SourceRecord>),
    Variant(Option<WishKey>, VariantKey, Arc<Entry>),
    /// What a wish came down to.
    Alias(WishKey, VariantKey),
    /// A value that cannot be read.
    Discard(String),
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Self::Variant(_, _, entry) => OVERHEAD + entry.bytes.len(),
            _ => OVERHEAD,
        }
    }
}

struct Forget {
    key: SourceKey,
    done: oneshot::Sender<bool>,
}

struct Shared {
    link: Arc<Link>,
    settings: Settings,
    integrity: Integrity,
    /// Numbers jobs in the order in which they were put.
    number: AtomicU64,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// Every job with a lower number is done: they are taken in order, a batch at a time.
    done: AtomicU64,
    progress: Notify,
    /// Sources that were forgotten, with the number of the last job that may not be done any more.
    forgotten: Mutex<HashMap<SourceKey, u64>>,
}

/// The near end of the queue.
pub(super) struct Writer {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<(u64, Job)>,
    forgets: mpsc::UnboundedSender<Forget>,
}

/// The far end: run as a task.
pub(super) struct Drain {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<(u64, Job)>,
    forgets: mpsc::UnboundedReceiver<Forget>,
}

impl Writer {
    pub(super) fn new(link: Arc<Link>, settings: Settings, integrity: Integrity) -> (Self, Drain) {
        let shared = Arc::new(Shared {
            link,
            settings,
            integrity,
            number: AtomicU64::new(1),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            progress: Notify::new(),
            forgotten: Mutex::default(),
        });
        let (jobs, jobs_out) = mpsc::channel(QUEUE);
        let (forgets, forgets_out) = mpsc::unbounded_channel();
        let drain = Drain { shared: Arc::clone(&shared), jobs: jobs_out, forgets: forgets_out };
        (Self { shared, jobs, forgets }, drain)
    }

    pub(super) fn put_record(&self, key: SourceKey, record: Arc<SourceRecord>) {
        self.put(Job::Record(key, record));
    }

    pub(super) fn put_variant(&self, wish: WishKey, key: VariantKey, entry: Arc<Entry>) {
        if entry.bytes.len() as u64 > self.shared.settings.max_value_bytes {
            self.shared.count("too_large");
            return;
        }
        // In a Cluster a script cannot follow the hint, so it is not kept.
        let wish = (!self.shared.link.address().is_cluster()).then_some(wish);
        self.put(Job::Variant(wish, key, entry));
    }

    pub(super) fn put_alias(&self, wish: WishKey, key: VariantKey) {
        self.put(Job::Alias(wish, key));
    }

    pub(super) fn discard(&self, name: String) {
        self.put(Job::Discard(name));
    }

    fn put(&self, job: Job) {
        let shared = &self.shared;
        let weight = job.weight();
        let room = shared.waiting_bytes.load(Ordering::Relaxed) + weight <= QUEUE_BYTES;
        if !room || !shared.link.is_up() {
            return shared.count("dropped");
        }
        shared.waiting.fetch_add(1, Ordering::AcqRel);
        shared.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        let number = shared.number.fetch_add(1, Ordering::Relaxed);
        if self.jobs.try_send((number, job)).is_err() {
            shared.count("dropped");
            shared.finish(weight);
        }
    }

    /// Takes a record out; when this returns, nothing that was put for it before will be written.
    pub(super) fn forget(&self, key: SourceKey) -> oneshot::Receiver<bool> {
        let last = self.shared.number.fetch_add(1, Ordering::Relaxed);
        self.shared.forgotten().insert(key, last);
        let (done, told) = oneshot::channel();
        // Without a task nothing is written either; the receiver then learns that nothing was confirmed.
        let _ends_with_the_runtime = self.forgets.send(Forget { key, done });
        told
    }

    /// Waits until what was put so far is written or dropped; what is put meanwhile is not waited for.
    pub(super) async fn settled(&self) {
        let last = self.shared.number.load(Ordering::Acquire);
        loop {
            let progress = self.shared.progress.notified();
            let done = self.shared.done.load(Ordering::Acquire) >= last;
            if done || self.shared.waiting.load(Ordering::Acquire) == 0 {
                return;
            }
            progress.await;
        }
    }
}

impl Drain {
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                // To forget is urgent: it waits for what is on its way, not for what waits.
                biased;
                Some(Forget { key, done }) = self.forgets.recv() => {
                    let gone = self.shared.delete(&[keys::source(&key)]).await.is_ok();
                    let _nobody_waits = done.send(gone);
                    // With nothing waiting there is nothing to overtake, also while Redis is away and takes no jobs.
                    let next = self.shared.number.load(Ordering::Acquire);
                    if self.shared.waiting.load(Ordering::Acquire) == 0 {
                        self.shared.forgotten().retain(|_, forgotten| *forgotten >= next);
                    }
                }
                count = self.jobs.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    let last = batch.last().map_or(0, |(number, _)| *number);
                    let shared = &self.shared;
                    let writes = futures_util::stream::iter(batch.drain(..));
                    writes.for_each_concurrent(BATCH, |(number, job)| shared.write(number, job)).await;
                    shared.done.fetch_max(last + 1, Ordering::AcqRel);
                    shared.progress.notify_waiters();
                    shared.forgotten().retain(|_, forgotten| *forgotten > last);
                }
            }
        }
    }
}

impl Shared {
    async fn write(&self, number: u64, job: Job) {
        let weight = job.weight();
        match job {
            Job::Record(key, record) => {
                let ttl = self.settings.ttl.min(record.lifetime.worth_keeping(SystemTime::now()));
                let overtaken = self.forgotten().get(&key).is_some_and(|last| number < *last);
                if !overtaken && !ttl.is_zero() {
                    let name = keys::source(&key);
                    let value = codec::encode_record(&record).map(|value| self.integrity.seal(&name, value));
                    self.set(name, value, ttl).await;
                }
            }
            Job::Variant(wish, key, entry) => {
                let name = keys::variant(&key);
                let value = codec::encode_entry(&entry).map(|value| self.integrity.seal(&name, value));
                let kept = self.set(name, value, self.settings.ttl).await;
                if let Some(wish) = wish.filter(|_| kept) {
                    self.set_alias(&wish, &key).await;
                }
            }
            Job::Alias(wish, key) => self.set_alias(&wish, &key).await,
            Job::Discard(name) => {
                // Counted as bad when it was read.
                let _gone_or_not = self.delete(&[name]).await;
            }
        }
        self.finish(weight);
    }

    async fn set_alias(&self, wish: &WishKey, key: &VariantKey) {
        let value = keys::hash(key.as_bytes()).into_bytes();
        self.set(keys::wish(wish), Some(value), self.settings.ttl).await;
    }

    /// True when it is kept.
    async fn set(&self, name: String, value: Option<Vec<u8>>, ttl: Duration) -> bool {
        let fits = |value: &Vec<u8>| value.len() as u64 <= self.settings.max_value_bytes;
        let Some(value) = value.filter(fits) else {
            self.count("too_large");
            return false;
        };
        // A tenth less at most, so that the entries of one deploy do not all end in one moment.
        let ttl_ms = ttl.mul_f64(1.0 - fastrand::f64() / 10.0).as_millis().max(1);
        let ttl_ms = u64::try_from(ttl_ms).unwrap_or(u64::MAX);
        let mut command = redis::cmd("SET");
        command.arg(name).arg(value).arg("PX").arg(ttl_ms);
        let set = |mut connection| async move { command.query_async::<()>(&mut connection).await };
        let outcome = match self.link.call(Op::Put, set).await {
            Ok(()) => "ok",
            Err(Failure::Away) => "dropped",
            Err(_) => "error",
        };
        self.count(outcome);
        outcome == "ok"
    }

    async fn delete(&self, names: &[String]) -> Result<(), Failure> {
        let mut command = redis::cmd("DEL");
        command.arg(names);
        self.link
            .call(Op::Forget, |mut connection| async move { command.query_async::<()>(&mut connection).await })
            .await
    }

    fn count(&self, outcome: &'static str) {
        self.link.metrics().count_write("redis", outcome);
    }

    fn finish(&self, weight: usize) {
        self.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.progress.notify_waiters();
        }
    }

    fn forgotten(&self) -> MutexGuard<'_, HashMap<SourceKey, u64>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
