//! Decoded sources, for as long as somebody makes something of them.
//!
//! The law: of equal bytes there is one decode at a time and one picture in memory, whose share of the memory budget is
//! given back when the last who uses it is done; nothing is kept for who might come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;

use super::{Error, Optimizer};
use crate::imaging::schedule::Reservation;
use crate::imaging::{self, Decoded, Probe};
use crate::record::SourceRecord;
use crate::variant::ContentHash;

/// A decoded source with its share of the memory budget.
pub(super) struct Held {
    pub(super) decoded: Decoded,
    pub(super) probe: Probe,
    content: ContentHash,
    among: Pictures,
    _memory: Reservation,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut pictures = self.among.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have been decoded since the last use of this one.
        if pictures.get(&self.content).is_some_and(|known| known.strong_count() == 0) {
            pictures.remove(&self.content);
        }
    }
}

/// Those that are in use now.
#[derive(Clone, Default)]
pub(super) struct Pictures(Arc<Mutex<HashMap<ContentHash, Weak<Held>>>>);

impl Pictures {
    fn get(&self, content: &ContentHash) -> Option<Arc<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(content)?.upgrade()
    }

    fn put(&self, held: &Arc<Held>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(held.content, Arc::downgrade(held));
    }
}

impl Optimizer {
    /// The pixels of a source: those that somebody uses already, or those of a decode that all who ask meanwhile share.
    pub(super) async fn decoded(
        self: &Arc<Self>,
        record: &SourceRecord,
        bytes: &Bytes,
        deadline: Instant,
    ) -> Result<Arc<Held>, Arc<Error>> {
        if let Some(held) = self.pictures.get(&record.content) {
            return Ok(held);
        }
        let (this, bytes) = (Arc::clone(self), bytes.clone());
        let (content, cost) = (record.content, record.decode_cost);
        let work = || async move { this.decode(content, bytes, cost, deadline).await.map_err(Arc::new) };
        self.decodes.join(content, work).await.map_err(|lost| Arc::new(Error::from(lost)))?.value
    }

    async fn decode(
        &self,
        content: ContentHash,
        bytes: Bytes,
        cost: u64,
        deadline: Instant,
    ) -> Result<Arc<Held>, Error> {
        // Another may have ended between the caller's look and this one's start.
        if let Some(held) = self.pictures.get(&content) {
            return Ok(held);
        }
        let (settings, among) = (Arc::clone(&self.imaging), self.pictures.clone());
        let job = move |mut memory: Reservation| {
            let probe = imaging::probe(&bytes, &settings.limits)?;
            let decoded = Decoded::of(&bytes, &probe, &settings, deadline)?;
            memory.shrink_to(decoded.bytes());
            Ok::<_, imaging::Error>(Arc::new(Held { decoded, probe, content, among, _memory: memory }))
        };
        let done = self.scheduler.begin(cost, deadline, job).await;
        let held = done.map_err(|error| Error::from_schedule(error, self.scheduler.retry_after()))?.value?;
        self.metrics.observe_stage("decode", held.decoded.took);
        self.pictures.put(&held);
        Ok(held)
    }
}
