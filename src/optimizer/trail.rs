//! Finding an image in memory, and the way to one that was found before, by which a popular one is found without looking
//! its parts up one by one.
//!
//! Invariant: **a trail leads where a look-up would**. It is followed while memory has neither taken nor dropped anything
//! since its last look-up, keeps nothing in memory by itself, and is given up often enough for memory to know what is
//! asked for: what it does not hear of, it lets go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::outcome::{Hint, outcome};
use super::{Optimizer, Outcome, RequestTimings, Terms};
use crate::cache::{CacheStatus, Entry};
use crate::record::{Freshness, SourceRecord};
use crate::source::SourceUrl;
use crate::variant::{VariantKey, Wish};

/// How long a trail is followed between look-ups.
const FOLLOWED: Duration = Duration::from_millis(100);
/// More changes than memory will ever see.
const NEVER: u64 = u64::MAX;

/// See the module's text.
#[derive(Debug)]
pub struct Trail {
    hint: Hint,
    record: Weak<SourceRecord>,
    entry: Weak<Entry>,
    /// Changes of memory before the last look-up that ended where this leads.
    changes: AtomicU64,
    /// When that was, in milliseconds since 1970.
    looked_up: AtomicU64,
}

impl Trail {
    /// The way to what was found; it is first followed after one more look-up.
    pub fn to(found: &Outcome) -> Self {
        Self {
            hint: found.hint,
            record: Arc::downgrade(&found.record),
            entry: Arc::downgrade(&found.entry),
            changes: AtomicU64::new(NEVER),
            looked_up: AtomicU64::new(0),
        }
    }

    /// Whether it ends at this image and this record of its source.
    pub fn leads_to(&self, found: &Outcome) -> bool {
        self.entry.as_ptr() == Arc::as_ptr(&found.entry) && self.record.as_ptr() == Arc::as_ptr(&found.record)
    }

    /// What is at its end, unless a look-up is due because of what has changed in memory or of the time that has passed.
    fn end(&self, changes: u64, now: SystemTime) -> Option<(Arc<SourceRecord>, Arc<Entry>)> {
        let age = millis(now).checked_sub(self.looked_up.load(Ordering::Relaxed))?;
        if self.changes.load(Ordering::Acquire) != changes || u128::from(age) >= FOLLOWED.as_millis() {
            return None;
        }
        Some((self.record.upgrade()?, self.entry.upgrade()?))
    }

    /// Takes note of a look-up that began when memory had seen so many changes.
    fn looked_up(&self, found: &Outcome, changes: u64, now: SystemTime) {
        if found.instead.is_none() && self.leads_to(found) {
            self.looked_up.store(millis(now), Ordering::Relaxed);
            self.changes.store(changes, Ordering::Release);
        }
    }
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() * 1_000 + u64::from(since.subsec_millis())
}

impl Optimizer {
    /// An image from memory, without waiting for anything. A stale one starts its own refresh. `trail` leads
    /// to what an earlier request for the same source and wish found; who finds nothing with it asks again without.
    pub fn look_up(
        self: &Arc<Self>,
        source: &SourceUrl,
        wish: &Wish,
        terms: Terms,
        trail: Option<&Trail>,
        now: SystemTime,
    ) -> Option<Outcome> {
        let found = trail.and_then(|trail| self.follow(trail, source, terms, now));
        let mut found = found.or_else(|| self.find(source, wish, terms, trail, now));
        match &found {
            None if trail.is_some() => 0,
            None => self.memory_miss.inc(),
            Some(outcome) if outcome.status == CacheStatus::Stale => self.memory_stale.inc(),
            Some(_) => self.memory_hit.inc(),
        };
        if let Some(outcome) = &mut found {
            self.settle(wish, terms, outcome);
            self.note(source, wish, outcome, now);
            self.note_interim(source, wish, outcome);
        }
        found
    }

    pub(super) fn find(
        self: &Arc<Self>,
        source: &SourceUrl,
        wish: &Wish,
        terms: Terms,
        trail: Option<&Trail>,
        now: SystemTime,
    ) -> Option<Outcome> {
        let changes = self.tiers.memory.changes();
        let (record, freshness) = self.known(source, terms, now)?;
        let status = match freshness {
            Freshness::Fresh => CacheStatus::Memory,
            Freshness::Stale => CacheStatus::Stale,
            Freshness::Expired | Freshness::Dead => return None,
        };
        if wish.is_undecided(&record.shape()) {
            return None;
        }
        let key = match trail {
            Some(Trail { hint, .. }) if hint.content == record.content => hint.key,
            _ => VariantKey::new(&record.content, &wish.resolve(&record.shape())),
        };
        let (entry, key, instead) = match self.tiers.memory.variant(&key) {
            Some(entry) => (entry, key, None),
            None => self.find_instead(wish, &record)?,
        };
        let mut found = outcome(entry, key, record, status, RequestTimings::default(), now);
        found.instead = instead;
        if status == CacheStatus::Stale {
            self.refresh_behind(source);
            found.superseded = self.is_superseded(source, &found.record);
        }
        if let Some(trail) = trail {
            trail.looked_up(&found, changes, now);
        }
        Some(found)
    }

    /// What the trail leads to, while it may be followed and that is fresh.
    fn follow(&self, trail: &Trail, source: &SourceUrl, terms: Terms, now: SystemTime) -> Option<Outcome> {
        let (record, entry) = trail.end(self.tiers.memory.changes(), now)?;
        if self.usable(source, &record, terms, now)? != Freshness::Fresh {
            return None;
        }
        Some(outcome(entry, trail.hint.key, record, CacheStatus::Memory, RequestTimings::default(), now))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::format::{ImageFormat, Negotiated};
    use crate::record::{Lifetime, Validators};
    use crate::variant::{ContentHash, Fit, FormatWish};

    fn found(now: SystemTime) -> Outcome {
        let entry = Entry::new(Bytes::from_static(b"picture"), ImageFormat::Webp, 2, 1, None);
        let record = SourceRecord {
            content: ContentHash::of(b"source"),
            validators: Validators::default(),
            format: ImageFormat::Jpeg,
            width: 2,
            height: 1,
            has_alpha: false,
            frames: 1,
            bytes: 6,
            decode_cost: 1,
            placeholder: None,
            fair_quality: None,
            lifetime: Lifetime {
                checked_at: now,
                ttl: Duration::from_secs(60),
                early: Duration::ZERO,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                immutable: false,
            },
            storable: true,
            epoch: 0,
        };
        let key = VariantKey::from_bytes([7; 32]);
        outcome(Arc::new(entry), key, Arc::new(record), CacheStatus::Memory, RequestTimings::default(), now)
    }

    #[test]
    fn a_trail_is_followed_after_a_look_up_until_memory_changes_or_time_has_passed() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let found = found(now);
        let trail = Trail::to(&found);
        assert!(trail.leads_to(&found));
        assert!(trail.end(0, now).is_none() && trail.end(5, now).is_none(), "nothing was looked up yet");
        trail.looked_up(&found, 5, now);
        let (record, entry) = trail.end(5, now + FOLLOWED / 2).expect("it is followed");
        assert!(Arc::ptr_eq(&record, &found.record) && Arc::ptr_eq(&entry, &found.entry));
        assert!(trail.end(6, now).is_none(), "something was put or taken out");
        assert!(trail.end(5, now + FOLLOWED).is_none(), "memory is to hear of it");
        assert!(trail.end(5, now - Duration::from_secs(1)).is_none(), "the clock went back");
    }

    #[test]
    fn a_trail_neither_leads_to_another_picture_nor_keeps_its_own() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let found = found(now);
        let trail = Trail::to(&found);
        // As good, but not the same: what took its place.
        let other = self::found(now);
        assert!(!trail.leads_to(&other));
        trail.looked_up(&other, 5, now);
        assert!(trail.end(5, now).is_none());
        let stand_in = Outcome { instead: Some(wish()), ..found.clone() };
        trail.looked_up(&stand_in, 5, now);
        assert!(trail.end(5, now).is_none(), "what stands in for another is looked up each time");
        drop(stand_in);
        trail.looked_up(&found, 5, now);
        assert!(trail.end(5, now).is_some());
        drop(found);
        assert!(trail.end(5, now).is_none(), "memory has let go of it");
    }

    fn wish() -> Wish {
        Wish {
            width: Some(1),
            height: None,
            cap: 10,
            max_pixels: u64::MAX,
            fit: Fit::Inside,
            quality: None,
            format: FormatWish::Negotiated(Negotiated { preferred: None, webp: true }),
            background: None,
        }
    }
}
