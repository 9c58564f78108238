//! Whose word counts for how long a source may be used without asking its origin.
//!
//! Invariant: on our own endpoints the origin's, within what the operator allows (RFC 9111 §4.2.4); on Next.js's path the
//! operator's alone, as in Next.js. What an origin refuses is refused on both.

use std::time::{Duration, SystemTime};

use super::Optimizer;
use crate::record::{Freshness, Lifetime, SourceRecord};
use crate::source::Caching;

/// The part of its lifetime by which a source may be refreshed early.
const SPREAD: f64 = 0.1;
/// Shorter lifetimes are kept to the second.
const SPREAD_FROM: Duration = Duration::from_secs(60);

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Terms {
    /// What the origin says, within the operator's bounds.
    Origin,
    /// What the operator has set, whatever the origin says of use past freshness.
    Operator,
}

impl Optimizer {
    /// How usable a record is by its age.
    pub(super) fn freshness(&self, record: &SourceRecord, terms: Terms, now: SystemTime) -> Freshness {
        match terms {
            Terms::Origin => record.lifetime.at(now),
            Terms::Operator => self.by_operator(&record.lifetime).at(now),
        }
    }

    /// The whole lifetime of a record's freshness.
    pub(super) fn ttl(&self, record: &SourceRecord, terms: Terms) -> Duration {
        match terms {
            Terms::Origin => record.lifetime.ttl,
            Terms::Operator => self.by_operator(&record.lifetime).ttl,
        }
    }

    fn by_operator(&self, lifetime: &Lifetime) -> Lifetime {
        let settings = &self.tuning.load().settings;
        Lifetime {
            ttl: if lifetime.ttl.is_zero() { settings.minimum_ttl } else { lifetime.ttl },
            stale_while_revalidate: settings.stale_while_revalidate,
            stale_if_error: settings.stale_if_error,
            ..*lifetime
        }
    }

    /// The lifetime of what came with `caching`. The operator's floor stands in for a lifetime that the origin names, not
    /// for its wish to be asked each time; the operator's bounds are the most that is used past freshness.
    pub(super) fn lifetime(&self, caching: &Caching) -> Lifetime {
        let settings = &self.tuning.load().settings;
        let told = caching.max_age.filter(|_| !settings.always_revalidate);
        let ttl = if caching.no_cache { Duration::ZERO } else { told.unwrap_or_default().max(settings.minimum_ttl) };
        let within = |told: Option<Duration>, most: Duration| told.map_or(most, |told| told.min(most));
        Lifetime {
            checked_at: SystemTime::now(),
            ttl,
            early: if ttl < SPREAD_FROM { Duration::ZERO } else { ttl.mul_f64(fastrand::f64() * SPREAD) },
            stale_while_revalidate: within(caching.stale_while_revalidate, settings.stale_while_revalidate),
            stale_if_error: within(caching.stale_if_error, settings.stale_if_error),
            // Only for as long as the origin promises it (RFC 8246).
            immutable: caching.immutable && caching.max_age.is_some_and(|told| told >= ttl),
        }
    }
}
