//! Memory of the bodies of sources: one budget, from the first byte until nobody makes anything of a body any more.
//!
//! The law: **a body is charged for before it is held**, by what has come and not by what was promised, and a download that
//! gets no room within its patience fails instead of waiting with what it has.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Error;

/// What the budget is counted in, in bytes.
const UNIT: u64 = 1_024;

/// The budget; cheap to clone.
#[derive(Clone, Debug)]
pub struct Bodies {
    room: Arc<Semaphore>,
    /// All there is, in units.
    all: u32,
    patience: Duration,
}

/// The share of one body, given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    bodies: Bodies,
    held: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// A budget of `bytes`, for whose room a download waits as long as `patience`.
    pub fn of(bytes: u64, patience: Duration) -> Self {
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
        Self { room: Arc::new(Semaphore::new(all as usize)), all, patience }
    }

    /// No share yet.
    pub(super) fn charge(&self) -> Charge {
        Charge { bodies: self.clone(), held: None }
    }
}

impl Charge {
    /// Grows to a body of `bytes`. One that is larger than the whole budget has all of it.
    ///
    /// # Errors
    /// [`Error::Busy`] when there is no room in time.
    pub(super) async fn grow_to(&mut self, bytes: u64) -> Result<(), Error> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.bodies.all);
        let has = self.held.as_ref().map_or(0, |held| held.num_permits() as u32);
        if wanted <= has {
            return Ok(());
        }
        let more = Arc::clone(&self.bodies.room).acquire_many_owned(wanted - has);
        let more = timeout(self.bodies.patience, more).await.map_err(|_| Error::Busy)?;
        let more = more.map_err(|closed| Error::Client(closed.to_string()))?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// `bytes`, which hold this for as long as any clone of them is there.
    pub fn hold(self: Arc<Self>, bytes: Bytes) -> Bytes {
        struct Held(Bytes, #[expect(dead_code, reason = "given back with the bytes")] Arc<Charge>);
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Held(bytes, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_room_in_time_is_told() {
        let bodies = Bodies::of(10 * UNIT, Duration::from_secs(5));
        let (mut first, mut second) = (bodies.charge(), bodies.charge());
        first.grow_to(UNIT).await.unwrap();
        first.grow_to(6 * UNIT).await.unwrap();
        first.grow_to(2 * UNIT).await.unwrap();
        assert_eq!(second.grow_to(5 * UNIT).await, Err(Error::Busy));
        second.grow_to(4 * UNIT).await.unwrap();
        assert_eq!(bodies.room.available_permits(), 0);
        drop(second);
        let bytes = Arc::new(first).hold(Bytes::from_static(b"abc"));
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!((bodies.room.available_permits(), &part[..]), (4, &b"bc"[..]));
        drop(part);
        assert_eq!(bodies.room.available_permits(), 10);
        let mut giant = bodies.charge();
        giant.grow_to(1 << 40).await.unwrap();
        assert_eq!(bodies.room.available_permits(), 0);
    }
}
