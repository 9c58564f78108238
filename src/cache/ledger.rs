//! What was purged, and since when: the rules that make a source record, wherever it is kept, worth nothing.
//!
//! Invariant: **a record carries the epoch at which its download began, and a purge makes a new epoch.** A record older
//! than a rule that names its source is not used, whether it lies in this process, in a shared tier, or is still on its
//! way; so a purge needs to find nothing, and a flight that began before it cannot bring the old image back. Where it
//! cannot be known what was purged, everything older counts as purged.

use std::cmp::Ordering as Order;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::record::SourceKey;

/// Rules held at once; beyond it the oldest are merged into one that names everything.
pub const MAX_RULES: usize = 10_000;
/// Prefixes held at once, because each is compared with; beyond it they become purges of their hosts.
const MAX_PREFIXES: usize = 256;

/// Which sources a purge names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Every source.
    All,
    /// Every source of a host, with any port.
    Host(String),
    /// Every source whose normalised URL begins so.
    Prefix(String),
    /// One source.
    Url(SourceKey),
}

impl Scope {
    /// Metric label and log field.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Host(_) => "host",
            Self::Prefix(_) => "prefix",
            Self::Url(_) => "url",
        }
    }
}

/// The tag of everything.
const TAG: &str = "pixgate";

impl Scope {
    /// The tags that a CDN has to drop for this to be purged there too: of a prefix those of its host.
    pub fn tags(&self) -> Vec<String> {
        vec![match self {
            Self::All => TAG.to_owned(),
            Self::Host(host) => host_tag(host),
            Self::Prefix(prefix) => host_of(prefix).map_or_else(|| TAG.to_owned(), host_tag),
            Self::Url(key) => source_tag(key),
        }]
    }
}

fn host_tag(host: &str) -> String {
    format!("{TAG}-host-{host}")
}

/// Half of the hash, in digits that no CDN folds into each other.
fn source_tag(key: &SourceKey) -> String {
    format!("{TAG}-source-{}", hex::encode(&key.as_bytes()[..16]))
}

impl Named<'_> {
    /// The tags by which a CDN can drop what was made of this source: its own, its host's and that of everything.
    pub fn tags(&self) -> [String; 3] {
        [source_tag(self.key), host_tag(self.host), TAG.to_owned()]
    }
}

/// One purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// What is purged.
    pub scope: Scope,
    /// Whether the old image may be served while it is refreshed.
    pub soft: bool,
}

/// What the rules say of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No rule names it.
    Valid,
    /// To be served at once and refreshed behind.
    Stale,
    /// Not to be served.
    Purged,
}

/// A source as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its key.
    pub key: &'a SourceKey,
    /// Its normalised URL.
    pub url: &'a str,
    /// The host of that URL.
    pub host: &'a str,
}

/// The newest epochs of a scope's hard and soft purges.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    hard: u64,
    soft: u64,
}

impl Mark {
    fn raise(&mut self, epoch: u64, soft: bool) {
        let place = if soft { &mut self.soft } else { &mut self.hard };
        *place = epoch.max(*place);
    }

    fn join(self, other: Self) -> Self {
        Self { hard: self.hard.max(other.hard), soft: self.soft.max(other.soft) }
    }
}

#[derive(Default)]
struct Rules {
    all: Mark,
    hosts: HashMap<String, Mark>,
    prefixes: Vec<(String, Mark)>,
    urls: HashMap<SourceKey, Mark>,
}

impl Rules {
    /// Every prefix becomes a purge of its host: more is purged than was asked, nothing less.
    fn widen_prefixes(&mut self) {
        for (prefix, mark) in std::mem::take(&mut self.prefixes) {
            match host_of(&prefix) {
                Some(host) => {
                    let wider = self.hosts.entry(host.to_owned()).or_default();
                    *wider = wider.join(mark);
                }
                None => self.all = self.all.join(mark),
            }
        }
    }
}

impl Rules {
    /// The oldest tenth becomes a purge of everything as old as they: it costs downloads, and serves nothing old.
    fn merge_oldest(&mut self) {
        let newest = |mark: &Mark| mark.hard.max(mark.soft);
        let marks = self.hosts.values().chain(self.urls.values()).chain(self.prefixes.iter().map(|(_, mark)| mark));
        let mut epochs: Vec<u64> = marks.map(newest).collect();
        epochs.sort_unstable();
        let Some(last) = epochs.get(MAX_RULES / 10).copied() else { return };
        self.hosts.retain(|_, mark| newest(mark) > last);
        self.urls.retain(|_, mark| newest(mark) > last);
        self.prefixes.retain(|(_, mark)| newest(mark) > last);
        self.all.raise(last, false);
    }
}

/// The host of a URL's beginning, if it is all there.
fn host_of(prefix: &str) -> Option<&str> {
    let (authority, _) = prefix.split_once("://")?.1.split_once('/')?;
    // Userinfo was refused; what is left behind a colon is a port, save inside the brackets of an IPv6 address.
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(host),
        _ => Some(authority),
    }
}

/// Whether an epoch, which is about the milliseconds since 1970, is more than a day ahead of our clock.
pub fn is_far_ahead(epoch: u64) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(epoch).saturating_sub(now) > Duration::from_secs(24 * 60 * 60)
}

/// The rules of one process.
#[derive(Default)]
pub struct Ledger {
    /// The newest epoch heard of; what begins now is as new as that.
    epoch: AtomicU64,
    rules: RwLock<Rules>,
}

impl Ledger {
    /// The epoch of what begins now.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// An epoch newer than all that were heard of, for a purge that is in force here alone. No clock is asked: shared
    /// epochs follow Redis's, and one of ours that ran ahead of it would make what is downloaded here immune to them.
    pub fn next_epoch(&self) -> u64 {
        self.epoch() + 1
    }

    /// Writes a purge down; from now on records that are older than `epoch` are judged by it.
    pub fn apply(&self, purge: &Purge, epoch: u64) {
        let mut rules = self.write();
        match &purge.scope {
            Scope::All => rules.all.raise(epoch, purge.soft),
            Scope::Host(host) => rules.hosts.entry(host.clone()).or_default().raise(epoch, purge.soft),
            Scope::Url(key) => rules.urls.entry(*key).or_default().raise(epoch, purge.soft),
            Scope::Prefix(prefix) => match rules.prefixes.iter_mut().find(|(known, _)| known == prefix) {
                Some((_, mark)) => mark.raise(epoch, purge.soft),
                None => {
                    let mut mark = Mark::default();
                    mark.raise(epoch, purge.soft);
                    rules.prefixes.push((prefix.clone(), mark));
                }
            },
        }
        if rules.prefixes.len() > MAX_PREFIXES {
            rules.widen_prefixes();
        }
        if rules.hosts.len() + rules.prefixes.len() + rules.urls.len() > MAX_RULES {
            rules.merge_oldest();
        }
        // Told last, under the lock: whoever sees the new epoch finds the rule.
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    /// Epochs begin again at one that is lower than was heard of: all that was kept is purged.
    pub fn begin_again(&self, epoch: u64) {
        let mut rules = self.write();
        *rules = Rules::default();
        rules.all.raise(epoch, false);
        self.epoch.store(epoch, Ordering::Release);
    }

    /// What the rules say of a record whose download began at `epoch`.
    pub fn judge(&self, source: Named<'_>, epoch: u64) -> Verdict {
        match epoch.cmp(&self.epoch()) {
            // Of a clock that was far ahead: no purge would ever be newer.
            Order::Greater if is_far_ahead(epoch) => return Verdict::Purged,
            Order::Greater | Order::Equal => return Verdict::Valid,
            Order::Less => {}
        }
        let mark = self.mark(source);
        if epoch < mark.hard {
            Verdict::Purged
        } else if epoch < mark.soft {
            Verdict::Stale
        } else {
            Verdict::Valid
        }
    }

    /// The epoch of the newest purge that names this source, 0 when there is none: work for it that was asked for
    /// before and after are two different things.
    pub fn newest(&self, source: Named<'_>) -> u64 {
        if self.epoch() == 0 {
            return 0;
        }
        let mark = self.mark(source);
        mark.hard.max(mark.soft)
    }

    fn mark(&self, source: Named<'_>) -> Mark {
        let rules = self.read();
        let host = rules.hosts.get(source.host).copied().unwrap_or_default();
        let url = rules.urls.get(source.key).copied().unwrap_or_default();
        let prefixes = rules.prefixes.iter().filter(|(prefix, _)| source.url.starts_with(prefix.as_str()));
        prefixes.fold(rules.all.join(host).join(url), |mark, (_, more)| mark.join(*more))
    }

    /// The rules are plain maps, valid after every statement, so a poisoned lock is still good.
    fn read(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rules> {
        self.rules.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
