//! The task that writes: records as they are put, counts when they are due, and what retention takes away.
//!
//! Invariant: a store that is away is waited for. One that is there and does not take a batch gets it in halves, until what
//! it does not take is alone; that is dropped and counted, so that it holds nothing else up. Only a purge is never given up
//! for being late: what it would leave behind is an old image.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use super::super::answers::before;
use super::super::engine::Error;
use super::super::rows::{Batch, Keys, Purge, Scope, Stamp};
use super::{LATE, Shared};
use crate::record::SourceKey;
use crate::store::Extent;

/// Pauses between attempts to write the same batch.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// How often a batch may take longer than the limit while the store is there.
const LIMITS: u32 = 3;
/// How long a store that is there may take nothing until that is said.
const STUCK: Duration = Duration::from_secs(5);
/// How often retention is seen to.
const RETENTION: Duration = Duration::from_secs(3_600);
/// How often the size is seen to.
const SIZE: Duration = Duration::from_secs(30);
/// What is left of the size where there was too much, in hundredths: room for a while.
const KEPT: u64 = 90;
/// Until a store has counted what it has after a removal.
const COUNTED: Duration = Duration::from_secs(2);
/// Sources removed in one transaction, and the pause after it.
const REMOVED: (u32, Duration) = (200, Duration::from_millis(50));

pub(super) struct Writer {
    shared: Arc<Shared>,
    writer: u64,
    batch: u64,
    /// Said that something was refused, and nothing was written since.
    complained: bool,
    /// Since when nothing is taken.
    failing: Option<Instant>,
    /// Sources that retention took away so far.
    removed: u64,
    /// Sources that are to be left, while there is too little room.
    enough: Option<u64>,
    /// Those that were.
    crowded_out: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            writer: fastrand::u64(..),
            batch: 0,
            complained: false,
            failing: None,
            removed: 0,
            enough: None,
            crowded_out: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut next_flush = Instant::now() + self.shared.flush_interval;
        let mut next_retention = (!self.shared.retention.is_zero()).then_some(next_flush);
        let mut next_size = (self.shared.max_bytes > 0).then_some(next_flush);
        loop {
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = sleep_until(next_retention.into_iter().chain(next_size).fold(next_flush, Instant::min)) => {}
            }
            // Read first: what was put before it was set is then taken.
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            self.write_records().await;
            if stopping || Instant::now() >= next_flush {
                self.flush().await;
                next_flush = Instant::now() + self.shared.flush_interval;
            }
            if stopping {
                return;
            }
            if next_retention.is_some_and(|next| Instant::now() >= next) {
                next_retention = Some(Instant::now() + self.retain().await);
            }
            if next_size.is_some_and(|next| Instant::now() >= next) {
                next_size = Some(Instant::now() + self.make_room().await);
            }
        }
    }

    async fn write_records(&mut self) {
        let (batches, ticket) = self.shared.queue().take();
        self.taken(&batches);
        let (began, any) = (Instant::now(), !batches.is_empty());
        for batch in batches {
            match batch.purges.as_slice() {
                [purge] if !matches!(purge.scope, Scope::Source(_)) => self.purge(purge).await,
                _ => self.send(batch).await,
            }
        }
        self.shared.settled.send_replace(ticket);
        if any && began.elapsed() < LATE {
            self.shared.late.store(false, Ordering::Relaxed);
        }
    }

    async fn flush(&mut self) {
        let batches = self.shared.counts.take();
        self.taken(&batches);
        for batch in batches {
            self.send(batch).await;
            // A long row of counts does not hold records up.
            self.write_records().await;
        }
    }

    fn taken(&self, batches: &[Batch]) {
        let rows: usize = batches.iter().map(Batch::rows).sum();
        self.shared.taken.fetch_add(rows as u64, Ordering::AcqRel);
    }

    /// Ends the way of a batch.
    fn settle(&self, outcome: &'static str, rows: u64) {
        self.shared.taken.fetch_sub(rows, Ordering::AcqRel);
        self.shared.metrics.count_metadata_rows(outcome, rows);
    }

    /// A purge of many sources, one part of them after the other.
    async fn purge(&mut self, purge: &Purge) {
        let mut after = None;
        loop {
            let until = self.part(&purge.scope, after).await;
            if until.is_some() {
                // There will be one more than was taken.
                self.shared.taken.fetch_add(1, Ordering::AcqRel);
            }
            self.send(Batch { purges: vec![purge.clone()], keys: Keys { after, until }, ..Batch::default() }).await;
            if until.is_none() {
                return;
            }
            after = until;
        }
    }

    async fn part(&mut self, scope: &Scope, after: Option<SourceKey>) -> Option<SourceKey> {
        let mut pause = PAUSES[0];
        loop {
            match self.shared.store.part(scope.clone(), after).await {
                Ok(until) => return until,
                Err(error) if error.is_transient() => pause = self.fails(&error, pause).await,
                // All the rest at once, or its refusal.
                Err(_) => return None,
            }
        }
    }

    /// Writes a batch, as often as it takes; while the store is away, what comes meanwhile gathers behind it.
    async fn send(&mut self, batch: Batch) {
        let mut waiting = vec![Arc::new(batch)];
        while let Some(batch) = waiting.pop() {
            let rows = batch.rows() as u64;
            let Err(error) = self.attempt(&batch).await else {
                self.settle("ok", rows);
                continue;
            };
            match Arc::unwrap_or_clone(Arc::clone(&batch)).halves() {
                Some([first, second]) => waiting.extend([Arc::new(second), Arc::new(first)]),
                None => {
                    self.settle("dropped", rows);
                    self.shared.counts.given_up(&batch);
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(%error, rows, "the metadata store does not take what is written");
                    }
                }
            }
        }
    }

    /// An error is one for good.
    async fn attempt(&mut self, batch: &Arc<Batch>) -> Result<(), Error> {
        self.batch += 1;
        let stamp = Stamp { writer: self.writer, batch: self.batch, at: SystemTime::now() };
        let (mut pause, mut limits) = (PAUSES[0], 0);
        loop {
            let error = match self.shared.store.write(Arc::clone(batch), stamp).await {
                Ok(()) => {
                    (self.complained, self.failing) = (false, None);
                    if self.shared.stuck.swap(false, Ordering::Relaxed) {
                        tracing::info!("the metadata store takes what is written again");
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            // One that went down meanwhile is not to be blamed on the batch.
            limits += u32::from(error.is_limit() && self.shared.store.is_up());
            if !error.is_transient() || (limits >= LIMITS && batch.purges.is_empty()) {
                return Err(error);
            }
            self.shared.metrics.count_metadata_rows("retried", batch.rows() as u64);
            pause = self.fails(&error, pause).await;
        }
    }

    /// Waits until it is to be tried again; gives the next pause.
    async fn fails(&mut self, error: &Error, pause: Duration) -> Duration {
        if self.shared.store.is_up() {
            let since = *self.failing.get_or_insert_with(Instant::now);
            if since.elapsed() >= STUCK && !self.shared.stuck.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "the metadata store is there and takes nothing that is written; it is tried on");
            }
        } else {
            // It says so itself.
            self.failing = None;
        }
        sleep(pause.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
        (pause * 2).min(PAUSES[1])
    }

    /// Forgets some of what was not seen for long; the rest after a pause, which it gives, so that counts and records are
    /// written in between.
    async fn retain(&mut self) -> Duration {
        let limit = before(SystemTime::now(), self.shared.retention);
        match self.shared.store.expire(Some(limit), REMOVED.0).await {
            Ok(count) => {
                self.removed += count;
                if count >= REMOVED.0.into() {
                    return REMOVED.1;
                }
            }
            Err(error) => tracing::debug!(%error, "retention goes on in an hour"),
        }
        let removed = std::mem::take(&mut self.removed);
        if removed > 0 {
            tracing::info!(sources = removed, "sources that were not seen for long are forgotten");
        }
        RETENTION
    }

    /// Forgets some of what was not seen for longest, where there is more than may be; gives the pause, as
    /// [`Self::retain`].
    async fn make_room(&mut self) -> Duration {
        let removed = async {
            let extent = self.shared.store.extent().await?;
            self.enough = self.enough.or_else(|| enough(extent, self.shared.max_bytes));
            // Counted again each time: other replicas do the same.
            let excess = self.enough.map_or(0, |enough| extent.sources.saturating_sub(enough));
            let part = excess.min(REMOVED.0.into()) as u32;
            if part == 0 { Ok(0) } else { self.shared.store.expire(None, part).await }
        };
        match removed.await {
            Ok(count) if count > 0 => {
                self.crowded_out += count;
                return REMOVED.1;
            }
            Ok(_) if self.enough.take().is_some() => return COUNTED,
            Ok(_) | Err(Error::Down) => {}
            Err(error) => tracing::debug!(%error, "the size of the metadata store is seen to later"),
        }
        let sources = std::mem::take(&mut self.crowded_out);
        if sources > 0 {
            let max_bytes = self.shared.max_bytes;
            tracing::warn!(sources, max_bytes, "forgotten for room: the metadata store was larger than it may be");
        }
        SIZE
    }
}

/// Sources that take [`KEPT`] of `max` bytes, where there are more than `max`.
fn enough(Extent { bytes, sources }: Extent, max: u64) -> Option<u64> {
    let part = (max / 100 * KEPT) as f64 / bytes as f64;
    (bytes > max).then(|| ((sources as f64 * part) as u64).min(sources.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_goes_and_a_little_more() {
        let enough = |bytes, sources| super::enough(Extent { bytes, sources }, 1_000);
        assert_eq!([enough(0, 0), enough(1_000, 10)], [None, None]);
        assert_eq!([enough(1_001, 100), enough(1_900, 100), enough(1_900, 0)], [Some(89), Some(47), Some(0)]);
    }
}
