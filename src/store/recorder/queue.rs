//! Records, variants and purges on their way to the store, in order where it matters.
//!
//! Invariant: of one source only the newest record waits, and a purge takes those that waited before it away; beyond the
//! bound what is new is refused.

use std::collections::HashMap;

use url::Url;

use super::super::rows::{Batch, NewSource, NewVariant, Purge, Scope};
use crate::record::SourceKey;
use crate::variant::VariantKey;

/// Rows that wait at once.
const MAX_ROWS: usize = 16_384;
/// Purges that wait at once; beyond it they become one of everything, which is safe and rare.
const MAX_PURGES: usize = 1_024;
/// Rows of one transaction.
const BATCH: usize = 500;

#[derive(Default)]
pub(super) struct Queue {
    sources: HashMap<SourceKey, NewSource>,
    variants: HashMap<(SourceKey, VariantKey), NewVariant>,
    purges: Vec<Purge>,
    /// Counts what was put.
    ticket: u64,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.sources.len() + self.variants.len() >= MAX_ROWS
    }

    /// False when there is no room.
    pub(super) fn source(&mut self, new: NewSource) -> bool {
        self.ticket += 1;
        if self.is_full() && !self.sources.contains_key(&new.key) {
            return false;
        }
        self.sources.insert(new.key, new);
        true
    }

    /// False when there is no room.
    pub(super) fn variant(&mut self, mut new: NewVariant) -> bool {
        self.ticket += 1;
        let key = (new.source, new.key);
        if let Some(waiting) = self.variants.get(&key) {
            new.meta.render_us = new.meta.render_us.or(waiting.meta.render_us);
            new.meta.effort = new.meta.effort.or(waiting.meta.effort);
        } else if self.is_full() {
            return false;
        }
        self.variants.insert(key, new);
        true
    }

    /// There is always room for a purge.
    pub(super) fn purge(&mut self, mut purge: Purge) -> bool {
        self.ticket += 1;
        if self.purges.len() >= MAX_PURGES {
            let soft = purge.soft && self.purges.iter().all(|waiting| waiting.soft);
            self.purges.clear();
            purge = Purge { scope: Scope::All, soft, at: purge.at };
        }
        // A soft purge is written behind the records that it names, any other before those that it does not name.
        if !purge.soft {
            match &purge.scope {
                Scope::All => self.sources.clear(),
                Scope::Source(key) => drop(self.sources.remove(key)),
                Scope::Prefix(prefix) => self.sources.retain(|_, new| !new.url.starts_with(prefix.as_str())),
                Scope::Host(host) => self.sources.retain(|_, new| !is_of(&new.url, host)),
            }
        }
        self.purges.push(purge);
        true
    }

    pub(super) const fn ticket(&self) -> u64 {
        self.ticket
    }

    /// All that waits, in batches, and the ticket that is reached with them.
    pub(super) fn take(&mut self) -> (Vec<Batch>, u64) {
        let mut batches = Vec::new();
        let (soft, hard): (Vec<_>, Vec<_>) = std::mem::take(&mut self.purges).into_iter().partition(|purge| purge.soft);
        batches.extend(together(hard));
        let mut sources: Vec<_> = std::mem::take(&mut self.sources).into_values().collect();
        let mut variants: Vec<_> = std::mem::take(&mut self.variants).into_values().collect();
        while !sources.is_empty() || !variants.is_empty() {
            let first = sources.split_off(sources.len().saturating_sub(BATCH));
            let room = BATCH - first.len();
            let second = variants.split_off(variants.len().saturating_sub(room));
            batches.push(Batch { sources: first, variants: second, ..Batch::default() });
        }
        batches.extend(together(soft));
        (batches, self.ticket)
    }
}

/// Purges in their order, of one source each many in a batch, and any other alone: it may name very many.
fn together(purges: Vec<Purge>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let is_one = |purge: &Purge| matches!(purge.scope, Scope::Source(_));
    for purge in purges {
        match batches.last_mut().filter(|batch| batch.purges.len() < BATCH && batch.purges.iter().all(is_one)) {
            Some(batch) if is_one(&purge) => batch.purges.push(purge),
            _ => batches.push(Batch { purges: vec![purge], ..Batch::default() }),
        }
    }
    batches
}

fn is_of(url: &str, host: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host_str() == Some(host))
}
