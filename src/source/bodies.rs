//! Memory of the bodies of sources: one budget, from the first byte until nobody makes anything of a body any more.
//!
//! Invariant: **a body is charged for before it is held**, by what has come and not by what was promised, and a download that
//! gets no room within its patience fails instead of waiting with what it has.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Error;

/// What the budget is counted in, in bytes.
const UNIT: u64 = 1_024;

/// Bodies up to this share of the room for small ones are small.
const SMALL: u32 = 8;

/// The budget; cheap to clone. A quarter is for small bodies alone, which would wait behind large ones otherwise.
#[derive(Clone, Debug)]
pub struct Bodies {
    small: Room,
    large: Room,
    patience: Duration,
}

#[derive(Clone, Debug)]
struct Room {
    free: Arc<Semaphore>,
    /// All there is, in units.
    all: u32,
}

/// The share of one body, given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    bodies: Bodies,
    held: Option<OwnedSemaphorePermit>,
    is_large: bool,
}

impl Room {
    fn of(units: u64) -> Self {
        let all = u32::try_from(units).unwrap_or(u32::MAX).min((Semaphore::MAX_PERMITS as u64).min(1 << 31) as u32);
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }
}

impl Bodies {
    /// A budget of `bytes`, for whose room a download waits as long as `patience`.
    pub fn of(bytes: u64, patience: Duration) -> Self {
        let units = bytes / UNIT;
        Self { small: Room::of(units / 4), large: Room::of(units - units / 4), patience }
    }

    /// No share yet.
    pub(super) fn charge(&self) -> Charge {
        Charge { bodies: self.clone(), held: None, is_large: false }
    }
}

impl Charge {
    /// Grows to a body of `bytes`. One that is larger than all room has all of it.
    ///
    /// # Errors
    /// [`Error::Busy`] when there is no room in time.
    pub(super) async fn grow_to(&mut self, bytes: u64) -> Result<(), Error> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let Bodies { small, large, patience } = &self.bodies;
        let moves = !self.is_large && wanted > small.all / SMALL;
        let room = if self.is_large || moves { large } else { small };
        let wanted = wanted.min(room.all);
        let has = if moves { 0 } else { self.held.as_ref().map_or(0, |held| held.num_permits() as u32) };
        if wanted <= has {
            return Ok(());
        }
        let more = Arc::clone(&room.free).acquire_many_owned(wanted - has);
        let more = timeout(*patience, more).await.map_err(|_| Error::Busy)?;
        let more = more.map_err(|closed| Error::Client(closed.to_string()))?;
        match &mut self.held {
            Some(held) if !moves => held.merge(more),
            held => *held = Some(more),
        }
        self.is_large |= moves;
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

    /// Of 60 units 15 are for small bodies, which are of one unit at most.
    fn bodies() -> Bodies {
        Bodies::of(60 * UNIT, Duration::from_secs(5))
    }

    fn free(bodies: &Bodies) -> (usize, usize) {
        (bodies.small.free.available_permits(), bodies.large.free.available_permits())
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_room_in_time_is_told() {
        let bodies = bodies();
        let (mut first, mut second) = (bodies.charge(), bodies.charge());
        first.grow_to(UNIT).await.unwrap();
        assert_eq!(free(&bodies), (14, 45));
        first.grow_to(30 * UNIT).await.unwrap();
        assert_eq!(free(&bodies), (15, 15), "it has moved");
        first.grow_to(20 * UNIT).await.unwrap();
        assert_eq!(second.grow_to(16 * UNIT).await, Err(Error::Busy));
        second.grow_to(15 * UNIT).await.unwrap();
        assert_eq!(free(&bodies), (15, 0));
        drop(second);
        let bytes = Arc::new(first).hold(Bytes::from_static(b"abc"));
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!((free(&bodies), &part[..]), ((15, 15), &b"bc"[..]));
        drop(part);
        assert_eq!(free(&bodies), (15, 45));
        let mut giant = bodies.charge();
        giant.grow_to(1 << 40).await.unwrap();
        assert_eq!(free(&bodies), (15, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn small_ones_do_not_wait_for_large_ones() {
        let bodies = bodies();
        let mut large = bodies.charge();
        large.grow_to(45 * UNIT).await.unwrap();
        let mut waiting = bodies.charge();
        let mut small = bodies.charge();
        let (waited, ()) = tokio::join!(waiting.grow_to(40 * UNIT), async {
            small.grow_to(UNIT).await.unwrap();
            drop(large);
        });
        assert_eq!(waited, Ok(()));
    }
}
