//! Decoded sources, for as long as somebody makes something of them.
//!
//! Invariant: of equal bytes there is one decode at a time and one image in memory, whose share of the memory budget is
//! given back when the last who uses it is done. Only what a placeholder was made of is kept for who is about to come,
//! for a moment and within a small budget of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::error::is_anew;
use super::{Error, Optimizer};
use crate::imaging::schedule::{Reservation, Whose};
use crate::imaging::{self, Decoded, Probe};
use crate::record::SourceRecord;
use crate::variant::ContentHash;

/// A page that was told a placeholder asks for the image as soon as the browser has read it.
const MOMENT: Duration = Duration::from_secs(2);

/// A decoded source with its share of the memory budget.
pub(super) struct Held {
    pub(super) decoded: Decoded,
    pub(super) probe: Probe,
    content: ContentHash,
    among: Pictures,
    share: Mutex<Share>,
    /// Its room, once it is kept, for as long as anybody uses it: what was kept is not in the budget of renders any more.
    kept: OnceLock<OwnedSemaphorePermit>,
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

/// What is reserved for a decoded image and for the first output that is made of it, in bytes.
struct Share {
    memory: Reservation,
    image: u64,
    /// Of the output, until it is lent to whoever makes it first.
    spare: u64,
    lent: u64,
}

impl Held {
    fn share(&self) -> MutexGuard<'_, Share> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one more output of it has to reserve, of `cost` bytes: nothing for the first, to which the spare is lent.
    pub(super) fn unreserved(&self, cost: u64) -> u64 {
        let mut share = self.share();
        if share.spare == 0 || share.spare < cost {
            return cost;
        }
        share.lent = std::mem::take(&mut share.spare);
        0
    }

    /// Gives back what was lent.
    pub(super) fn take_back(&self) {
        let mut share = self.share();
        (share.lent, share.spare) = (0, 0);
        let image = share.image;
        share.memory.shrink_to(image);
    }

    /// Gives back what is not lent: the image has room elsewhere.
    fn hand_over(&self) {
        let mut share = self.share();
        (share.image, share.spare) = (0, 0);
        let lent = share.lent;
        share.memory.shrink_to(lent);
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

/// Room for images that are kept, in kB.
#[derive(Clone)]
pub(super) struct Keep(Arc<Semaphore>);

impl Keep {
    /// Room for `bytes`.
    pub(super) fn of(bytes: u64) -> Self {
        let kilobytes = usize::try_from(bytes / 1_000).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(kilobytes.min(Semaphore::MAX_PERMITS))))
    }
}

impl Optimizer {
    /// Keeps the pixels for the page that is about to ask for the image, where there is room.
    pub(super) fn keep_for_a_moment(&self, held: Arc<Held>) {
        let kilobytes = u32::try_from(held.decoded.bytes().div_ceil(1_000)).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.keep.0).try_acquire_many_owned(kilobytes) else { return };
        if held.kept.set(room).is_err() {
            return;
        }
        // Renders that wait for memory do not wait for this.
        held.hand_over();
        self.runtime.spawn(async move {
            sleep(MOMENT).await;
            drop(held);
        });
    }

    /// The pixels of a source: those that somebody uses already, or those of a decode that all who ask meanwhile share.
    pub(super) async fn decoded(
        self: &Arc<Self>,
        record: &SourceRecord,
        bytes: &Bytes,
        after: u64,
        whose: &Whose,
        deadline: Instant,
    ) -> Result<Arc<Held>, Arc<Error>> {
        // The decode, or the image with what is made of it: none is decoded that could not be gone on with.
        let channels = if record.has_alpha { 4 } else { 3 };
        let image = u64::from(record.width) * u64::from(record.height) * channels;
        let decode = record.decode_cost.min(self.imaging().limits.max_memory);
        let (content, cost) = (record.content, (decode.max(image + after), after));
        loop {
            if let Some(held) = self.pictures.get(&content) {
                return Ok(held);
            }
            let (this, bytes, for_whom) = (Arc::clone(self), bytes.clone(), whose.clone());
            let work =
                |_| async move { this.decode(content, bytes, cost, &for_whom, deadline).await.map_err(Arc::new) };
            let landed = self.decodes.join(content, work).await.map_err(|lost| Arc::new(Error::from(lost)))?;
            if !is_anew(&landed.value, whose.is_deserted()) {
                return landed.value;
            }
        }
    }

    async fn decode(
        &self,
        content: ContentHash,
        bytes: Bytes,
        (cost, after): (u64, u64),
        whose: &Whose,
        deadline: Instant,
    ) -> Result<Arc<Held>, Error> {
        // Another may have ended between the caller's look and this one's start.
        if let Some(held) = self.pictures.get(&content) {
            return Ok(held);
        }
        let (settings, among) = (self.imaging(), self.pictures.clone());
        let job = move |mut memory: Reservation| {
            let probe = imaging::probe(&bytes, &settings.limits)?;
            let decoded = Decoded::of(&bytes, &probe, &settings, deadline)?;
            let image = decoded.bytes();
            memory.shrink_to(image + after);
            let share = Share { memory, image, spare: after, lent: 0 };
            Ok::<_, imaging::Error>(Arc::new(Held {
                decoded,
                probe,
                content,
                among,
                share: Mutex::new(share),
                kept: OnceLock::new(),
            }))
        };
        let done = self.scheduler.begin(whose, cost, deadline, job).await;
        let held = done.map_err(|error| Error::from_schedule(error, self.scheduler.retry_after()))?.value?;
        self.metrics.observe_stage("decode", held.decoded.took);
        self.pictures.put(&held);
        Ok(held)
    }
}
