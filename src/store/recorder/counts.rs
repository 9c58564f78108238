//! Counts of requests in memory, by variant and by asked width, and when sources were seen without either.
//!
//! Invariant: counting is a lock of one shard of many, held for an addition; a key that is known costs no allocation; the
//! number of keys is bounded, and those that were not asked for lately make room for others.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::super::rows::{Answered, Asked, Batch, Hits, Seen};
use super::Known;
use crate::record::SourceKey;
use crate::variant::VariantKey;

/// A power of two.
const SHARDS: usize = 64;
/// Keys of each kind in one shard: 65,536 variants, as many widths and as many sources in all.
const KEYS: usize = 1_024;
/// Flushes without a request after which a key makes room: one that comes again is described to the store again.
const IDLE_FLUSHES: u8 = 60;
/// Rows of one transaction.
const BATCH: usize = 2_000;

/// Keys hold hashes already.
#[derive(Default)]
struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(29) ^ number;
    }
}

fn first(hash: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct VariantOf(SourceKey, VariantKey);

impl Hash for VariantOf {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(first(self.0.as_bytes()));
        hasher.write_u64(first(self.1.as_bytes()));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct WidthOf(SourceKey, u32);

impl Hash for WidthOf {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(first(self.0.as_bytes()));
        // Spread over all bits: the table looks at both ends of them.
        hasher.write_u64(u64::from(self.1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct SourceOf(SourceKey);

impl Hash for SourceOf {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(first(self.0.as_bytes()));
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    requests: u64,
    hits: u64,
    last_ms: u64,
    exceeds: bool,
    described: bool,
    idle: u8,
}

type Map<K> = HashMap<K, Slot, BuildHasherDefault<Prefix>>;

#[derive(Default)]
struct Shard {
    variants: Map<VariantOf>,
    widths: Map<WidthOf>,
    seen: Map<SourceOf>,
}

pub(super) struct Counts {
    shards: [Mutex<Shard>; SHARDS],
    answered: [AtomicU64; 6],
}

impl Default for Counts {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), answered: Default::default() }
    }
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The slot of a key, made if there is room; idle ones make room.
fn slot<K: Hash + Eq>(map: &mut Map<K>, key: K) -> Option<&mut Slot> {
    if map.len() >= KEYS && !map.contains_key(&key) {
        map.retain(|_, slot| slot.requests > 0);
        if map.len() >= KEYS {
            return None;
        }
    }
    Some(map.entry(key).or_default())
}

impl Counts {
    fn shard(&self, source: &SourceKey, salt: u8) -> MutexGuard<'_, Shard> {
        // Another octet than those that the tables look at.
        let index = usize::from(source.as_bytes()[31] ^ salt) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the request alone.
    pub(super) fn answered(&self, answered: Answered) {
        self.answered[answered as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing when there is no room for the variant; the request itself is counted in any case.
    pub(super) fn hit(
        &self,
        source: &SourceKey,
        variant: &VariantKey,
        answered: Answered,
        now: SystemTime,
    ) -> Option<Known> {
        self.answered(answered);
        let mut shard = self.shard(source, variant.as_bytes()[31]);
        let slot = slot(&mut shard.variants, VariantOf(*source, *variant))?;
        slot.requests += 1;
        slot.hits += u64::from(answered.is_hit());
        slot.last_ms = slot.last_ms.max(millis(now));
        Some(if std::mem::replace(&mut slot.described, true) { Known::Yes } else { Known::No })
    }

    /// Notes whether the store is being told what this variant is.
    pub(super) fn described(&self, source: &SourceKey, variant: &VariantKey, described: bool) {
        let mut shard = self.shard(source, variant.as_bytes()[31]);
        if let Some(slot) = slot(&mut shard.variants, VariantOf(*source, *variant)) {
            slot.described = described;
        }
    }

    /// Notes that the store was not told what is in `batch`, so that it is said again when it is asked for again.
    pub(super) fn given_up(&self, batch: &Batch) {
        batch.variants.iter().for_each(|variant| self.described(&variant.source, &variant.key, false));
        for lost in &batch.sources {
            // Rare enough to look at all there is.
            for shard in &self.shards {
                let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                let of_it = shard.variants.iter_mut().filter(|(VariantOf(source, _), _)| *source == lost.key);
                of_it.for_each(|(_, slot)| slot.described = false);
            }
        }
    }

    /// Nothing when there is no room.
    pub(super) fn seen(&self, source: &SourceKey, now: SystemTime) -> Option<()> {
        let mut shard = self.shard(source, 0);
        let slot = slot(&mut shard.seen, SourceOf(*source))?;
        slot.requests += 1;
        slot.last_ms = slot.last_ms.max(millis(now));
        Some(())
    }

    /// Nothing when there is no room.
    pub(super) fn asked(&self, source: &SourceKey, width: u32, exceeds: bool) -> Option<()> {
        let mut shard = self.shard(source, width.to_le_bytes()[0]);
        let slot = slot(&mut shard.widths, WidthOf(*source, width))?;
        slot.requests += 1;
        slot.exceeds = exceeds;
        Some(())
    }

    /// Takes what was counted since it was last taken, in batches; keys stay, but for those that are idle for long.
    pub(super) fn take(&self) -> Vec<Batch> {
        let (mut hits, mut asked, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            take(&mut shard.variants, |VariantOf(source, variant), slot| {
                let Slot { requests, hits: found, last_ms, .. } = *slot;
                hits.push(Hits { source: *source, variant: *variant, requests, hits: found, last_ms });
            });
            take(&mut shard.widths, |WidthOf(source, width), slot| {
                let Slot { requests, exceeds, .. } = *slot;
                asked.push(Asked { source: *source, width: *width, requests, exceeds });
            });
            take(&mut shard.seen, |SourceOf(source), slot| seen.push(Seen { source: *source, last_ms: slot.last_ms }));
        }
        // Neighbours in the index are written together.
        hits.sort_unstable_by_key(|row| (*row.source.as_bytes(), *row.variant.as_bytes()));
        asked.sort_unstable_by_key(|row| (*row.source.as_bytes(), row.width));
        seen.sort_unstable_by_key(|row| *row.source.as_bytes());
        let answered = std::array::from_fn(|way| self.answered[way].swap(0, Ordering::Relaxed));
        let mut batches = vec![Batch { answered, ..Batch::default() }];
        batches.extend(hits.chunks(BATCH).map(|rows| Batch { hits: rows.to_vec(), ..Batch::default() }));
        batches.extend(asked.chunks(BATCH).map(|rows| Batch { asked: rows.to_vec(), ..Batch::default() }));
        batches.extend(seen.chunks(BATCH).map(|rows| Batch { seen: rows.to_vec(), ..Batch::default() }));
        batches.retain(|batch| !batch.is_empty());
        batches
    }
}

fn take<K: Hash + Eq>(map: &mut Map<K>, mut each: impl FnMut(&K, &Slot)) {
    map.retain(|key, slot| {
        if slot.requests == 0 {
            slot.idle += 1;
            return slot.idle < IDLE_FLUSHES;
        }
        each(key, slot);
        (slot.requests, slot.hits, slot.idle) = (0, 0, 0);
        true
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn keys(n: u64) -> (SourceKey, VariantKey) {
        let source = SourceKey::of_normalised(&format!("https://a.example/{n}"));
        (source, VariantKey::from_bytes(*SourceKey::of_normalised(&n.to_string()).as_bytes()))
    }

    fn totals(batches: &[Batch]) -> (u64, u64, u64) {
        let hits = || batches.iter().flat_map(|batch| &batch.hits);
        let answered = batches.iter().flat_map(|batch| batch.answered).sum();
        (hits().map(|row| row.requests).sum(), hits().map(|row| row.hits).sum(), answered)
    }

    #[test]
    fn counts_are_taken_once_and_keys_are_known_after_the_first() {
        let counts = Counts::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        let (source, variant) = keys(1);
        assert_eq!(counts.hit(&source, &variant, Answered::Miss, now), Some(Known::No));
        assert_eq!(counts.hit(&source, &variant, Answered::Memory, now), Some(Known::Yes));
        let (other, made) = keys(2);
        counts.described(&other, &made, true);
        assert_eq!(counts.hit(&other, &made, Answered::Miss, now), Some(Known::Yes));
        counts.asked(&source, 640, true).expect("room");
        let batches = counts.take();
        assert_eq!(totals(&batches), (3, 1, 3));
        assert_eq!(batches.iter().flat_map(|batch| &batch.asked).count(), 1);
        assert!(batches.iter().flat_map(|batch| &batch.hits).all(|row| row.last_ms == 5_000));
        assert!(counts.take().is_empty());
        assert_eq!(counts.hit(&source, &variant, Answered::Stale, now), Some(Known::Yes), "still known after a flush");
        assert_eq!(totals(&counts.take()), (1, 1, 1));
        for _ in 0..IDLE_FLUSHES {
            counts.take();
        }
        assert_eq!(counts.hit(&source, &variant, Answered::Memory, now), Some(Known::No), "forgotten when idle");
    }

    #[test]
    fn keys_are_bounded_requests_are_not_and_idle_keys_make_room() {
        let counts = Counts::default();
        let all = 2 * (SHARDS * KEYS) as u64;
        let hit = |n| {
            let (source, variant) = keys(n);
            counts.hit(&source, &variant, Answered::Memory, SystemTime::UNIX_EPOCH)
        };
        let kept = (0..all).filter(|n| hit(*n).is_some()).count() as u64;
        assert!(kept <= (SHARDS * KEYS) as u64 && kept > (SHARDS * KEYS) as u64 * 9 / 10, "{kept}");
        assert_eq!(totals(&counts.take()), (kept, kept, all));
        let kept = (all..all + 1_000).filter(|n| hit(*n).is_some()).count();
        assert_eq!(kept, 1_000, "those without counts made room");
    }

    #[test]
    fn nothing_is_lost_between_threads_and_flushes() {
        let counts = Counts::default();
        let known: Vec<_> = (0..100).map(keys).collect();
        let mut taken = 0;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for (source, variant) in known.iter().cycle().take(50_000) {
                            counts.hit(source, variant, Answered::Memory, SystemTime::UNIX_EPOCH).expect("room");
                        }
                    })
                })
                .collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                taken += totals(&counts.take()).0;
            }
        });
        assert_eq!(taken + totals(&counts.take()).0, 200_000);
    }
}
