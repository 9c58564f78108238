//! The shared tier's part in a request: what another replica has made already, and who makes what nobody has.
//!
//! Invariant: one replica makes a variant while the others wait for it, but nobody waits for a leader longer than its lease
//! lives without it, and without a shared tier that answers each replica leads for itself.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};

use super::sources::named;
use super::{Optimizer, Outcome, RequestTimings, Terms, outcome};
use crate::cache::redis::{Lease, LeaseGuard, Tier};
use crate::cache::{CacheStatus, CacheTier as _};
use crate::record::{Freshness, SourceRecord, WishKey};
use crate::source::SourceUrl;
use crate::variant::{VariantKey, Wish};

/// How long a leader that died is waited for; one that lives renews it.
const LEASE: Duration = Duration::from_secs(3);
/// How long a leader that lives is waited for: a download and a render, both at their limits.
const PATIENCE: Duration = Duration::from_secs(25);
/// Pauses between questions whether the leader is done.
const PAUSES: [Duration; 2] = [Duration::from_millis(15), Duration::from_millis(120)];
/// How long a finished variant may take to lie in the shared tier.
const SETTLE: Duration = Duration::from_secs(5);

/// How a request goes on.
pub(super) enum Turn {
    /// The image was there.
    Found(Outcome),
    /// It is to be made, under this lease or, when there is none to be had, without.
    Lead(Option<LeaseGuard>),
}

impl Optimizer {
    /// Waits for the image, or for the right to make it.
    pub(super) async fn turn(self: &Arc<Self>, source: &SourceUrl, wish: &Wish, terms: Terms, key: WishKey) -> Turn {
        if let Some(found) = self.find_shared(source, wish, terms, key).await {
            return Turn::Found(found);
        }
        let Some(tier) = self.tiers.shared().cloned() else { return Turn::Lead(None) };
        let work = key.since(recent(self.ledger.newest(named(source)), SystemTime::now()));
        let started = Instant::now();
        let deadline = started + PATIENCE;
        let mut waited = false;
        loop {
            match tier.lease(&work, LEASE).await {
                Lease::Unavailable => return Turn::Lead(None),
                Lease::Acquired(lease) => {
                    // Whoever had it before may have ended between the look-up and here.
                    return match self.find_shared(source, wish, terms, key).await {
                        Some(found) => Turn::Found(collapsed(found)),
                        None => Turn::Lead(Some(lease)),
                    };
                }
                // Its holder left nothing, because it failed or may not: whoever waited once does it for itself.
                Lease::Held if waited => return Turn::Lead(None),
                Lease::Held => {
                    waited = true;
                    let released = released(&tier, &work, deadline).await;
                    self.metrics.lease_wait_seconds.observe(started.elapsed().as_secs_f64());
                    if !released {
                        return Turn::Lead(None);
                    }
                    if let Some(found) = self.find_shared(source, wish, terms, key).await {
                        return Turn::Found(collapsed(found));
                    }
                }
            }
        }
    }

    /// An image from the shared tier. A stale one starts its own refresh.
    async fn find_shared(
        self: &Arc<Self>,
        source: &SourceUrl,
        wish: &Wish,
        terms: Terms,
        key: WishKey,
    ) -> Option<Outcome> {
        let now = SystemTime::now();
        let resolve = |record: &SourceRecord| VariantKey::new(&record.content, &wish.resolve(&record.shape()));
        let may_be_used = |record: &SourceRecord| self.usable(source, record, terms, now).is_some();
        let found = self.tiers.look_up_shared(source.key(), key, &resolve, may_be_used).await;
        let (record, entry) = found.record.zip(found.entry)?;
        let status = match self.usable(source, &record, terms, now)? {
            Freshness::Fresh => CacheStatus::Redis,
            Freshness::Stale => {
                self.refresh_behind(source);
                CacheStatus::Stale
            }
            Freshness::Expired | Freshness::Dead => return None,
        };
        let superseded = status == CacheStatus::Stale && self.is_superseded(source, &record);
        let found = outcome(entry, resolve(&record), record, status, RequestTimings::default(), now);
        Some(Outcome { superseded, ..found })
    }

    /// Gives a lease back once what was made under it can be found.
    pub(super) fn release_behind(&self, lease: LeaseGuard) {
        let Some(tier) = self.tiers.connected().cloned() else { return };
        self.runtime.spawn(async move {
            // Past the limit the others make it themselves, which is what they would do without us too.
            let _settled = timeout(SETTLE, tier.settled()).await;
            lease.release().await;
        });
    }
}

/// A purge as far as work that began before it can still be under way. Replicas that were cut off from each other may know
/// different ones of long ago, and have to agree on the name of their work all the same.
fn recent(purge: u64, now: SystemTime) -> u64 {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let ago = now.saturating_sub(u128::from(purge));
    if ago < 2 * PATIENCE.as_millis() { purge } else { 0 }
}

/// By work that another request had begun.
fn collapsed(found: Outcome) -> Outcome {
    match found.status {
        CacheStatus::Redis => Outcome { status: CacheStatus::Collapsed, ..found },
        _ => found,
    }
}

/// Waits until nobody holds the lease; false when that cannot be known or takes too long.
async fn released(tier: &Tier, work: &[u8; 32], deadline: Instant) -> bool {
    let mut pause = PAUSES[0];
    while Instant::now() < deadline {
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES[1]);
        match tier.lease_is_held(work).await {
            Some(true) => {}
            Some(false) => return true,
            None => return false,
        }
    }
    false
}
